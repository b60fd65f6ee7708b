"""Distilled data of other programs: every format, every guess, and files that lie."""

import io
import os
import pickle
import socket
import struct
import subprocess
import sys
import time
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import flax
import jax.numpy as jnp
import ml_dtypes
import msgpack
import numpy as np
import optax
import pytest
from flax import serialization
from flax.training import checkpoints, train_state
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from frepo.errors import FrepoError
from frepo.exchange.imports import stored
from frepo.exchange.imports.interpret import interpret
from frepo.exchange.imports.read import Foreign, read_arrays
from frepo.exchange.imports.stored import DTYPES, PAIRS

CLASSES, IPC, SHAPE = 3, 2, (4, 5, 3)
KINDS = ("flax", "npz", "safetensors")
CHANCES = settings(derandomize=True, deadline=None, max_examples=200)


def make(seed: int = 0, dtype: Any = np.float32) -> dict[str, np.ndarray]:
    """Return images with floats of awkward bits and learned labels, class by class."""
    random = np.random.default_rng(seed)
    images = random.normal(size=(CLASSES * IPC, *SHAPE)).astype(np.float32)
    images[0, 0, 0] = [-0.0, 1e-45, 6e4]
    labels = np.eye(CLASSES)[np.repeat(np.arange(CLASSES), IPC)] - 1 / CLASSES + 0.1 * random.normal(size=(6, CLASSES))
    return {"x_proto": images.astype(dtype), "y_proto": labels.astype(dtype)}


class ProtoState(train_state.TrainState):
    """The fields of a checkpoint of FRePo and of RCIG."""

    epoch: int
    best_val_acc: float
    ema_hidden: Any = None
    ema_average: Any = None


def frepo_state(seed: int = 0, dtype: Any = np.float32, **fields: Any) -> ProtoState:
    params = {name: jnp.asarray(array) for name, array in make(seed, dtype).items()}
    state = ProtoState.create(apply_fn=None, params=params, tx=optax.lamb(3e-4), epoch=7, best_val_acc=65.13, **fields)
    return state.replace(step=500)


def rcig_state(seed: int = 0) -> ProtoState:
    """Return a state whose average is `make(seed + 1)`, with the temperature that RCIG learns too."""
    average = make(seed + 1) | {"log_temp": np.float32(0.5)}
    state = frepo_state(seed, ema_hidden=average, ema_average=average)
    return state.replace(params={**state.params, "log_temp": jnp.float32(0)})


def save_checkpoint(directory: Path, tree: Any, step: int, *, orbax: bool = False) -> None:
    """Have Flax write a checkpoint, as a single file or in the newer way."""
    before = flax.config.flax_use_orbax_checkpointing
    flax.config.update("flax_use_orbax_checkpointing", orbax)
    try:
        with warnings.catch_warnings(action="ignore"):  # that it will be gone one day
            checkpoints.save_checkpoint(directory, tree, step)
    finally:
        flax.config.update("flax_use_orbax_checkpointing", before)


@contextmanager
def peak_below(size: int) -> Generator[None]:
    """Hold the memory that a block takes against `size` bytes."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < size
    finally:
        tracemalloc.stop()


def content(kind: str, arrays: dict[str, np.ndarray]) -> bytes:
    """Return the bytes of a file that holds `arrays`."""
    if kind == "flax":
        return serialization.to_bytes({"step": 3, "opt_state": {"0": {"mu": arrays}}, "params": arrays})
    if kind == "npz":
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        return buffer.getvalue()
    from safetensors.numpy import save

    return save(arrays)


@pytest.fixture(scope="module")
def intact() -> dict[str, bytes]:
    return {kind: content(kind, make()) for kind in KINDS}


def assert_same(found: Foreign, expected: dict[str, np.ndarray]) -> None:
    for array, wanted in zip((found.images, found.labels), expected.values(), strict=True):
        assert (array.dtype, array.shape) == (wanted.dtype, wanted.shape)
        assert array.tobytes() == wanted.tobytes()


def refused(path: Path, message: str) -> None:
    with pytest.raises(FrepoError, match=message) as caught:
        read_arrays(path)
    assert str(path) in str(caught.value)


# files


@pytest.mark.parametrize("dtype", [np.float32, np.float16, jnp.bfloat16])
def test_a_checkpoint_of_frepo_comes_back_bit_for_bit(tmp_path, dtype):
    save_checkpoint(tmp_path, frepo_state(dtype=dtype), 500)
    found = read_arrays(tmp_path / "checkpoint_500")
    assert_same(found, make(dtype=dtype))
    assert (found.path, found.names) == (tmp_path / "checkpoint_500", ("params/x_proto", "params/y_proto"))


def test_the_average_of_a_checkpoint_of_rcig_is_taken(tmp_path):
    save_checkpoint(tmp_path, rcig_state(), 15000)
    found = read_arrays(tmp_path)
    assert_same(found, make(1))
    assert found.names == ("ema_average/x_proto", "ema_average/y_proto")


def test_arrays_may_stand_at_the_top(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(serialization.to_bytes({**make(), "ema_average": {"x_proto": np.float32([1])}, "params": None}))
    assert_same(read_arrays(path), make())


def test_arrays_that_flax_splits_come_back(tmp_path, monkeypatch):
    monkeypatch.setattr(serialization, "MAX_CHUNK_SIZE", 100)
    path = tmp_path / "file"
    path.write_bytes(serialization.to_bytes({"params": make(dtype=jnp.bfloat16)}))
    assert b"__msgpack_chunked_array__" in path.read_bytes()
    assert_same(read_arrays(path), make(dtype=jnp.bfloat16))


@pytest.mark.parametrize("names", PAIRS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.int64])
def test_npz_and_safetensors_come_back_bit_for_bit(tmp_path, names, dtype):
    arrays = dict(zip(names, make(dtype=np.float64).values(), strict=True))
    arrays = {name: (100 * np.abs(array) % 256).astype(dtype) for name, array in arrays.items()}
    np.savez(tmp_path / "plain.npz", **arrays, extra=np.zeros(3))
    np.savez_compressed(tmp_path / "small.npz", **arrays)
    save_file(arrays, tmp_path / "tensors", {"format": "np"})
    for name in ("plain.npz", "small.npz", "tensors"):
        found = read_arrays(tmp_path / name)
        assert_same(found, arrays)
        assert found.names == names


def test_bfloat16_of_safetensors_comes_back(tmp_path):
    save_file(make(dtype=ml_dtypes.bfloat16), tmp_path / "file")
    assert_same(read_arrays(tmp_path / "file"), make(dtype=ml_dtypes.bfloat16))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", ">i2", "u1"])
def test_npz_of_another_layout_comes_back_as_native_numbers(tmp_path, order, dtype):
    images = np.asarray(np.arange(360).reshape(6, 4, 5, 3) % 256, dtype, order)
    np.savez(tmp_path / "file.npz", images=images, labels=np.arange(6))
    found = read_arrays(tmp_path / "file.npz")
    np.testing.assert_array_equal(found.images, images)
    assert found.images.dtype == images.dtype.newbyteorder("=")
    assert found.images.dtype.isnative


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_npy_headers_of_all_versions_are_read(tmp_path, version):
    path = tmp_path / "file.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in make().items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, array, version)
            archive.writestr(f"{name}.npy", buffer.getvalue())
    assert_same(read_arrays(path), make())


@pytest.mark.parametrize("kind", KINDS)
def test_the_name_of_a_file_says_nothing(tmp_path, intact, kind):
    (tmp_path / "there.pt").write_bytes(intact[kind])
    (tmp_path / "here.npz").symlink_to(tmp_path / "there.pt")
    assert_same(read_arrays(tmp_path / "here.npz"), make())


PAGES = {
    "pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        "is a Git LFS pointer",
    ),
    "page": (b"<!DOCTYPE html>\n<html><head><title>Sign in", "is an HTML page"),
    "page with a mark": (b"\xef\xbb\xbf\n  <HTML lang='en'>", "is an HTML page"),
    "page of an object store": (b'<?xml version="1.0"?>\n<Error><Code>AccessDenied', "is an XML page"),
}


@pytest.mark.parametrize(("data", "message"), PAGES.values(), ids=PAGES)
def test_what_is_often_downloaded_in_place_of_a_file_is_named(tmp_path, intact, data, message):
    path = tmp_path / "checkpoint.npz"
    path.write_bytes(data)
    refused(path, f"checkpoint.npz {message}")
    refused(tmp_path, f"checkpoint.npz {message}")
    (tmp_path / "data.npz").write_bytes(intact["npz"])
    assert read_arrays(tmp_path).path == tmp_path / "data.npz"


# directories


@pytest.mark.parametrize(
    ("steps", "chosen"),
    [
        (["9", "10", "500000"], "500000"),
        (["9.5", "65.13", "7", "65.1"], "65.13"),
        (["0", "15000", "final"], "final"),
        (["1", "tmp", "2_gda", "3.orbax-checkpoint-tmp", "-4", "1e9", "5.npz"], "1"),
    ],
)
def test_the_checkpoint_with_the_largest_number_is_taken(tmp_path, intact, steps, chosen):
    for step in steps:
        (tmp_path / f"checkpoint_{step}").write_bytes(intact["flax"])
    (tmp_path / "other.npz").write_bytes(intact["npz"])
    assert read_arrays(tmp_path).path == tmp_path / f"checkpoint_{chosen}"


@pytest.mark.parametrize("kind", KINDS)
def test_the_only_data_file_is_taken(tmp_path, intact, kind):
    (tmp_path / "step000500").write_bytes(intact[kind])
    (tmp_path / "readme.md").write_text("How it was made")
    (tmp_path / "sheet.png").write_bytes(b"\x89PNG\r\n\x1a\n and more than that")
    (tmp_path / "log").touch()
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    assert read_arrays(tmp_path).path == tmp_path / "step000500"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "has no file checkpoint_NUMBER, .npz, .safetensors or .pt$"),
        (["proto/checkpoint_3"], "name one of its folders: 'proto'"),
        (["checkpoint_10", "checkpoint_010"], "several files to choose from, name one: 'checkpoint_010', 'checkpoint_"),
        (["a.npz", "b.npz"], "several files to choose from, name one: 'a.npz', 'b.npz'"),
        (["_METADATA", "ocdbt.process_0/d/x"], "is an Orbax checkpoint.*numpy.savez"),
        (["checkpoint_3/x"], "is a folder, not a checkpoint"),
    ],
)
def test_a_directory_without_a_clear_choice_is_refused(tmp_path, intact, names, message):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(intact["npz"])
    refused(tmp_path, message)


def test_a_directory_that_flax_writes_with_orbax_is_refused(tmp_path):
    save_checkpoint(tmp_path, {"params": make()}, 5, orbax=True)
    assert (tmp_path / "checkpoint_5").is_dir()
    refused(tmp_path, "is an Orbax checkpoint.*numpy.savez")
    refused(tmp_path / "checkpoint_5", "is an Orbax checkpoint")


# what is no file of the three kinds


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        refused(tmp_path / "s", "is not a regular file")
    refused(tmp_path / "pipe", "is not a regular file")
    refused(tmp_path / "link", "is not a regular file")
    refused(tmp_path / "loop", "there is no file|cannot be read")
    refused(tmp_path / "nothing", "there is no file")
    refused(tmp_path / ("n" * 300), "there is no file|cannot be read")
    with pytest.raises(FrepoError, match=r"null byte|no file"):
        read_arrays(Path("a\0b"))


def test_a_file_that_may_not_be_read_is_refused(tmp_path, intact):
    path = tmp_path / "file"
    path.write_bytes(intact["npz"])
    path.chmod(0)
    if os.geteuid() == 0:
        tmp_path.chmod(0o700)
        os.seteuid(65534)
        try:
            refused(path, "there is no file|Permission denied")
        finally:
            os.seteuid(0)
    else:
        refused(path, "Permission denied")


@pytest.mark.parametrize(
    "start", [b"", b"\n", b"\x80", b"\x93NUMPY\x01\0", b"\x89HDF\r\n\x1a\n", b"\x1f\x8b\x08", b"GIF89a", b"\xde\0\0"]
)
def test_other_files_are_refused(tmp_path, start):
    path = tmp_path / "file"
    path.write_bytes(start + bytes(100) * bool(start))
    refused(path, "is no Flax checkpoint and no .npz, .safetensors or .pt" if start else "is empty")


class Payload:
    """Makes a directory where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("form", ["plain", "torch", "object array", "checkpoint directory"])
def test_nothing_is_unpickled(tmp_path, form, protocol):
    trap = tmp_path / "trap"
    payload = pickle.dumps({"images": Payload(trap), "labels": 1}, protocol)
    path = asked = tmp_path / "file.npz"
    if form == "plain":
        path.write_bytes(payload)
    elif form == "torch":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", payload)
            archive.writestr("archive/version", "3\n")
    elif form == "object array":
        images = np.empty(1, object)
        images[0] = Payload(trap)
        np.savez(path, images=images, labels=np.arange(1))
    else:
        asked = tmp_path / "folder"
        path = asked / "checkpoint_1"
        asked.mkdir()
        path.write_bytes(payload)
    with pytest.raises(FrepoError) as caught:
        read_arrays(asked)
    assert not trap.exists()
    assert str(path) in str(caught.value)
    if form == "torch" and protocol >= 2:
        assert "mkdir', which is not read here, as it may run code" in str(caught.value)
    elif form not in ("torch", "object array") and protocol >= 2:
        assert "may run code" in str(caught.value)
        assert f"pickle.load(open('{path}', 'rb'))\n  numpy.savez(" in str(caught.value)
    elif form == "object array":
        assert "images has numbers of the kind '|O'" in str(caught.value)


# what the three kinds may have in them


@pytest.mark.parametrize("kind", ["npz", "safetensors"])
@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["images"],
            "holds 'images': no pair of images and labels; save one, called images/labels, image/label, x_pro",
        ),
        (["images", "y"], "holds 'images', 'y': no pair"),
        (["x", "y", "images", "labels"], "several pairs"),
        ([f"a{i}" for i in range(30)], "and 10 more: no pair"),
        (["\x1b[2J\n", "k" * 500], r"holds '\\x1b\[2J\\n', 'k{60}': no pair"),
    ],
)
def test_a_file_needs_one_pair_of_names(tmp_path, kind, names, message):
    path = tmp_path / "file"
    path.write_bytes(content(kind, {name: np.zeros(2, np.float32) for name in names}))
    refused(path, message)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"step": 1, "params": {"w": np.zeros(2)}}, "holds 'params', 'params/w', 'step': no x_proto and y_proto"),
        ({"params": {"x_proto": np.zeros(2), "y_proto": None}}, "no x_proto and y_proto"),
        ({"params": {"x_proto": np.zeros(2)}, "ema_average": {"y_proto": np.zeros(2)}}, "no x_proto and y_proto"),
        ({"model": {"params": make()}}, "no x_proto and y_proto"),
        ({"x_proto": "text", "y_proto": [1.0, 2.0]}, "no x_proto and y_proto"),
        ({"x_proto": np.zeros(2, np.complex64), "y_proto": np.zeros(2)}, "numbers of the kind 'complex64'"),
        ({"x_proto": np.float32(3), "y_proto": np.zeros(2)}, "x_proto is no array"),
        ({"x_proto": 1 + 2j, "y_proto": np.zeros(2)}, "x_proto is no array"),
        ({"x_proto": np.zeros((0, 4, 4)), "y_proto": np.zeros(2)}, r"the shape \(0, 4, 4\): there is nothing in it"),
        ({"x_proto": np.zeros(()), "y_proto": np.zeros(2)}, r"the shape \(\): there is nothing in it"),
        ({"x_proto": {"a": 1}, "y_proto": np.zeros(2)}, "x_proto has not the size that its shape asks for"),
    ],
)
def test_a_checkpoint_needs_both_arrays(tmp_path, tree, message):
    path = tmp_path / "file"
    path.write_bytes(serialization.msgpack_serialize(tree))
    refused(path, message)


@pytest.mark.parametrize("kind", ["npz", "safetensors"])
@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(2, bool), "numbers of the kind"),
        (np.zeros(2, np.complex64), "numbers of the kind"),
        (np.zeros((2, 0), np.float32), "there is nothing in it"),
        (np.zeros((), np.float32), "there is nothing in it"),
    ],
)
def test_arrays_that_cannot_be_images_are_refused(tmp_path, kind, array, message):
    path = tmp_path / "file"
    path.write_bytes(content(kind, {"images": array, "labels": np.zeros(2)}))
    refused(path, f"images has .*{message}")


@pytest.mark.parametrize("array", [np.array(["a"]), np.zeros(2, "f4,i4"), np.zeros(2, "M8[s]"), np.zeros(2, "V2")])
def test_npz_of_other_things_than_numbers_is_refused(tmp_path, array):
    np.savez(tmp_path / "file.npz", images=array, labels=np.zeros(2))
    refused(tmp_path / "file.npz", "images has numbers of the kind")


# files that lie


def npz_of(header: bytes, data: bytes = b"", compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return an .npz file with both arrays of this header and data."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name in ("images", "labels"):
            archive.writestr(f"{name}.npy", b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header + data)
    return buffer.getvalue()


def header(shape: str, descr: str = "'<f4'") -> bytes:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()


def packed(shape: Any, dtype: Any, buffer: Any) -> msgpack.ExtType:
    return msgpack.ExtType(1, msgpack.packb((shape, dtype, buffer)))


def flax_of(images: Any) -> bytes:
    return msgpack.packb({"params": {"x_proto": images, "y_proto": packed([1], "float32", bytes(4))}})


def safetensors_of(text: str, data: bytes = bytes(16)) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode() + data


def both(dtype: str, shape: str, end: str) -> str:
    entry = f'{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,{end}]}}'
    return f'{{"images":{entry},"labels":{entry}}}'


HUGE = "99999999999999999999"
LIES = {
    "npz of a petabyte": npz_of(header("(1125899906842624,)")),
    "npz past all integers": npz_of(header(f"({HUGE}, {HUGE}, {HUGE})")),
    "npz of more than its member": npz_of(header("(5,)"), bytes(16)),
    "npz of less than its member": npz_of(header("(3,)"), bytes(16)),
    "npz of a negative shape": npz_of(header("(-1,)"), bytes(16)),
    "npz of an overflowing shape": npz_of(header("(4294967296, 4294967296)")),
    "npz of a shape of text": npz_of(header("('a',)")),
    "npz of a number without end": npz_of(header(f"({'9' * 5000},)")),
    "npz of a deep header": npz_of(header("(" * 20000)),
    "npz of code": npz_of(header("(1,)", "__import__('os').abort()")),
    "npz without a header": npz_of(b""),
    "npz without an array": content("npz", {}),
    "npz compressed otherwise": npz_of(header("(4,)"), bytes(16), zipfile.ZIP_LZMA),
    "flax of a huge table": b"\xdf\xff\xff\xff\xff\xa1a" + bytes(40),
    "flax of huge lists": b"\x81\xa1a" + b"\xdd\x7f\xff\xff\xff" * 5000,
    "flax of huge lists as images": b"\x82\xa7x_proto" + b"\xdd\x7f\xff\xff\xff" * 500,
    "flax of huge lists as names": b"\x82\xa1a\xc0" + b"\xdd\x00\x0f\xff\xff" * 100,
    "flax of huge lists as pieces": b"\x81\xa7x_proto\x81\xa6chunks\x81\xa10" + b"\xdd\x00\x0f\xff\xff" * 100,
    "flax of deep lists": b"\x81\xa1a" + b"\x91" * 10**6 + b"\xc0",
    "flax of deep tables": b"\x81\xa6params" * 10**5 + b"\xc0",
    "flax of deep pieces": b"\x81\xa6params\x81\xa7x_proto\x81\xa6chunks" + b"\x81\xa10" * 10**5 + b"\xc0",
    "flax of an extension past its end": b"\x81\xa7x_proto\xc9\xff\xff\xff\xff\x01" + bytes(40),
    "flax of an extension almost past its end": b"\x81\xa7x_proto\xc9\xff\xff\xff\xfe\x01" + bytes(40),
    "flax of a text past its end": b"\x81\xdb\xff\xff\xff\xff" + bytes(40),
    "flax of a name that is no text": msgpack.packb({"a": 1, 3: 4}),
    "flax of bytes that are no text": b"\x81\xa2\xff\xff\xc0",
    "flax that goes on": flax_of(packed([1], "float32", bytes(4))) + b"\xc0",
    "flax of another extension": flax_of(msgpack.ExtType(5, bytes(20))),
    "flax of a time": flax_of(msgpack.Timestamp(1, 2)),
    "flax of a shape too large": flax_of(packed([2], "float32", bytes(4))),
    "flax of a shape too small": flax_of(packed([1], "float32", bytes(8))),
    "flax of a negative shape": flax_of(packed([-1], "float32", bytes(4))),
    "flax of two negative axes": flax_of(packed([-1, -1], "float32", bytes(4))),
    "flax of a huge shape": flax_of(packed([2**63, 2**63], "float32", bytes(4))),
    "flax of a shape of reals": flax_of(packed([1.0], "float32", bytes(4))),
    "flax of a shape of truths": flax_of(packed([True], "float32", bytes(4))),
    "flax of a shape of shapes": flax_of(packed([[1]], "float32", bytes(4))),
    "flax of too many axes": flax_of(packed([1] * 40, "float32", bytes(4))),
    "flax of objects": flax_of(packed([1], "object", bytes(8))),
    "flax of text": flax_of(packed([1], "str32", bytes(4))),
    "flax of no type": flax_of(packed([1], None, bytes(4))),
    "flax of no bytes": flax_of(packed([1], "float32", [1])),
    "flax of text as bytes": flax_of(packed([1], "float32", "abcd")),
    "flax of nothing": flax_of(msgpack.ExtType(1, b"")),
    "flax of a list too short": flax_of(msgpack.ExtType(1, msgpack.packb(([1], "float32")))),
    "flax of pieces of several kinds": flax_of(
        {"shape": {"0": 2}, "chunks": {"0": packed([1], "float32", bytes(4)), "1": packed([1], "int32", bytes(4))}}
    ),
    "flax of pieces too few": flax_of({"shape": {"0": 2}, "chunks": {"0": packed([1], "float32", bytes(4))}}),
    "flax of pieces out of order": flax_of({"shape": {"0": 1}, "chunks": {"1": packed([1], "float32", bytes(4))}}),
    "flax of pieces that are none": flax_of({"shape": {"0": 1}, "chunks": {"0": 1}}),
    "flax of a shape that is none": flax_of({"shape": {"0": None}, "chunks": {"0": packed([1], "float32", bytes(4))}}),
    "safetensors of a header past its end": struct.pack("<Q", 2**24) + b"{" + bytes(40),
    "safetensors past its end": safetensors_of(both("F32", "[1000000000]", "4000000000")),
    "safetensors of overlapping arrays": safetensors_of(both("F32", "[4]", "16")),
    "safetensors of a negative shape": safetensors_of(both("F32", "[-4]", "16")),
    "safetensors of a huge shape": safetensors_of(both("F32", f"[{HUGE}]", "16")),
    "safetensors of text": safetensors_of(both("STR", "[4]", "16")),
    "safetensors of a deep header": safetensors_of('{"a":' * 10**5),
    "safetensors of another header": safetensors_of('{"images": 3}'),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_file_that_lies_costs_neither_memory_nor_time(tmp_path, lie):
    path = tmp_path / "file"
    path.write_bytes(LIES[lie])
    start = time.process_time()
    with peak_below(2**22):
        refused(path, ".")
    assert time.process_time() - start < 2


def test_the_entries_of_a_table_are_bounded(tmp_path):
    (tmp_path / "file").write_bytes(msgpack.packb(dict.fromkeys(map(str, range(2**16 + 1)))))
    refused(tmp_path / "file", "a table of 65,537 entries")


def test_the_sum_of_what_headers_declare_is_bounded(tmp_path, monkeypatch):
    arrays = {"images": np.zeros((2**10, 2**11), np.uint8), "labels": np.zeros(8, np.uint8)}
    np.savez_compressed(tmp_path / "bomb.npz", **arrays)
    assert (tmp_path / "bomb.npz").stat().st_size < 2**13
    save_file(arrays, tmp_path / "tensors")
    (tmp_path / "flax").write_bytes(serialization.to_bytes({"x_proto": arrays["images"], "y_proto": arrays["labels"]}))
    assert_same(read_arrays(tmp_path / "bomb.npz"), arrays)
    monkeypatch.setattr(stored, "LARGEST", 2**21 + 7)
    for name in ("bomb.npz", "tensors", "flax"):
        refused(tmp_path / name, "declares images and labels of 2,097,160 bytes, more than 2,097,159")
    with peak_below(2**20):
        refused(tmp_path / "bomb.npz", "declares")


def test_a_bomb_that_is_not_asked_for_is_not_unpacked(tmp_path):
    np.savez_compressed(tmp_path / "file.npz", **make(), other=np.zeros(2**24, np.uint8))
    with peak_below(2**21):
        assert_same(read_arrays(tmp_path / "file.npz"), make())


@pytest.mark.parametrize("kind", KINDS)
def test_memory_stays_near_the_size_of_the_file_and_the_arrays(tmp_path, kind):
    arrays = {"x_proto": np.ones((64, 2**14), np.float32), "y_proto": np.ones((64, 2**10), np.float32)}
    path = tmp_path / "file"
    path.write_bytes(content(kind, arrays))
    size = sum(array.nbytes for array in arrays.values())
    with peak_below((path.stat().st_size + size) * 5 // 4):
        found = read_arrays(path)
    assert_same(found, arrays)


# damage


def tried(path: Path, damaged: bytes) -> Foreign | None:
    """Return what is made of a damaged file; None where it is refused in the right way."""
    with path.open("r+b" if path.exists() else "wb") as file:  # to cut off all of a file first is slow on some disks
        file.write(damaged)
        file.truncate()
    try:
        found = read_arrays(path)
    except FrepoError as error:
        assert str(path) in str(error)  # noqa: PT017 (no error is as good)
        return None
    for array in (found.images, found.labels):
        assert array.dtype in DTYPES.values()
        assert min(array.shape) > 0
    try:
        fit = interpret(found, SHAPE, CLASSES, IPC, pixels=False)
    except FrepoError:
        return found
    assert (fit.images.shape, fit.labels.shape) == ((CLASSES * IPC, *SHAPE), (CLASSES * IPC, CLASSES))
    assert fit.images.dtype == (np.uint8 if fit.are_pixels else np.float32)
    assert fit.labels.dtype == np.float32
    assert np.isfinite(fit.labels).all()
    return found


@pytest.fixture(scope="module")
def scratch(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("scratch") / "file"


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_cut_off_anywhere_is_refused(scratch, intact, kind):
    assert tried(scratch, intact[kind]) is not None
    for length in range(0, len(intact[kind]), 1 if len(intact[kind]) < 3000 else 3):
        assert tried(scratch, intact[kind][:length]) is None


@pytest.mark.parametrize("kind", KINDS)
@CHANCES
@given(data=st.data())
def test_changed_bytes_are_refused_or_give_numbers(scratch, intact, kind, data):
    damaged = bytearray(intact[kind])
    places = st.integers(0, len(damaged) - 1) | st.integers(0, 250) | st.integers(len(damaged) - 250, len(damaged) - 1)
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=4)):
        damaged[place] = value
    tried(scratch, bytes(damaged))


@pytest.mark.parametrize("kind", KINDS)
@CHANCES
@given(data=st.data())
def test_bytes_lost_or_added_are_refused_or_give_numbers(scratch, intact, kind, data):
    whole = intact[kind]
    start, end = sorted(data.draw(st.tuples(st.integers(0, len(whole)), st.integers(0, len(whole)))))
    tried(scratch, whole[:start] + data.draw(st.binary(max_size=20)) + whole[end:])


@CHANCES
@given(
    start=st.sampled_from(
        [b"", b"PK\x03\x04", b"PK\x05\x06", b"\x82\xa7x_proto", b"\x81\xa6params", b"\x40" + bytes(7)]
    ),
    rest=st.binary(max_size=300),
)
def test_random_bytes_are_refused(scratch, start, rest):
    assert tried(scratch, start + rest) is None


leaves = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=5) | st.binary()
sizes = st.lists(st.integers(-2, 4) | st.integers(-(2**63), 2**64 - 1), max_size=5)
arrays_of_some_kind = st.builds(
    lambda code, shape, dtype, buffer: msgpack.ExtType(code, msgpack.packb((shape, dtype, buffer))),
    st.sampled_from([1, 1, 1, 2, 3, 9]),
    sizes | leaves,
    st.sampled_from([*DTYPES, "bool", "object", "V8"]) | leaves,
    st.integers(0, 64).map(bytes) | leaves,
)
names = st.sampled_from(["params", "ema_average", "x_proto", "y_proto", "shape", "chunks", "0", "1"]) | st.text(
    max_size=3
)
trees = st.recursive(
    leaves | arrays_of_some_kind, lambda inner: st.dictionaries(names, inner, max_size=4) | st.lists(inner, max_size=3)
)


@CHANCES
@given(tree=st.dictionaries(names, trees, min_size=1, max_size=4))
def test_any_msgpack_is_refused_or_gives_numbers(scratch, tree):
    tried(scratch, msgpack.packb(tree))


# what the arrays mean


def foreign(images: np.ndarray, labels: np.ndarray) -> Foreign:
    return Foreign(images=images, labels=labels, path=Path("/data/file.npz"))


def inputs(seed: int = 0) -> np.ndarray:
    """Return images whose rows tell where they came from."""
    return np.random.default_rng(seed).normal(size=(CLASSES * IPC, *SHAPE)).astype(np.float32)


NUMBERS = np.repeat(np.arange(CLASSES), IPC)
CENTRED = (np.eye(CLASSES, dtype=np.float32) - np.float32(1 / CLASSES))[NUMBERS]


def fit(
    images: np.ndarray, labels: np.ndarray, *, pixels: int | None = None, shape: tuple[int, int, int] = SHAPE
) -> Any:
    found = interpret(foreign(images, labels), shape, CLASSES, IPC, pixels=pixels)
    assert found.labels.dtype == np.float32
    assert found.images.flags.c_contiguous
    assert found.notes[0] == "images are images and labels labels of /data/file.npz"
    return found


def test_learned_data_stay_as_they_are_bit_for_bit():
    learned = make()
    found = fit(learned["x_proto"], learned["y_proto"])
    assert found.images.tobytes() == learned["x_proto"].tobytes()
    assert found.labels.tobytes() == learned["y_proto"].tobytes()
    assert not found.are_pixels
    assert any("taken as network inputs" in note for note in found.notes)
    assert any("labels are taken as they are" in note for note in found.notes)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ml_dtypes.bfloat16])
def test_other_floats_become_float32(dtype):
    images, labels = inputs().astype(dtype), make()["y_proto"].astype(dtype)
    found = fit(images, labels)
    np.testing.assert_array_equal(found.images, images.astype(np.float32), strict=True)
    np.testing.assert_array_equal(found.labels, labels.astype(np.float32), strict=True)


def test_channels_may_come_first():
    found = fit(inputs().transpose(0, 3, 1, 2), NUMBERS)
    np.testing.assert_array_equal(found.images, inputs())
    assert any("channels moved to the end" in note for note in found.notes)


def test_grey_images_need_no_channel():
    images = inputs()[..., 0]
    for given_images in (images, images[..., None], images[:, None]):
        found = fit(given_images, NUMBERS, shape=(4, 5, 1))
        np.testing.assert_array_equal(found.images, images[..., None])


def test_the_layout_is_asked_for_where_both_would_do():
    images = np.random.default_rng(0).normal(size=(6, 3, 3, 3)).astype(np.float32)
    with pytest.raises(FrepoError, match="whose channels may come first or last; say so with --layout nchw or --layou"):
        fit(images, NUMBERS, shape=(3, 3, 3))
    last = interpret(foreign(images, NUMBERS), (3, 3, 3), CLASSES, IPC, pixels=None, layout="nhwc")
    np.testing.assert_array_equal(last.images, images)
    first = interpret(foreign(images, NUMBERS), (3, 3, 3), CLASSES, IPC, pixels=None, layout="nchw")
    np.testing.assert_array_equal(first.images, images.transpose(0, 2, 3, 1))
    with pytest.raises(FrepoError, match="which are not nchw"):
        interpret(foreign(inputs(), NUMBERS), SHAPE, CLASSES, IPC, pixels=None, layout="nchw")


def test_rows_of_numbers_are_images_in_the_layout_that_is_said():
    with pytest.raises(FrepoError, match="--layout nchw or --layout nhwc"):
        fit(inputs().reshape(6, -1), NUMBERS)
    last = interpret(foreign(inputs().reshape(6, -1), NUMBERS), SHAPE, CLASSES, IPC, pixels=None, layout="nhwc")
    np.testing.assert_array_equal(last.images, inputs())
    rows = inputs().transpose(0, 3, 1, 2).reshape(6, -1)
    first = interpret(foreign(rows, NUMBERS), SHAPE, CLASSES, IPC, pixels=None, layout="nchw")
    np.testing.assert_array_equal(first.images, inputs())
    grey = inputs()[..., :1]
    np.testing.assert_array_equal(fit(grey.reshape(6, -1), NUMBERS, shape=(4, 5, 1)).images, grey)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (NUMBERS, CENTRED),
        (NUMBERS[:, None].astype(np.uint8), CENTRED),
        (NUMBERS.astype(np.uint64), CENTRED),
        (np.eye(CLASSES)[NUMBERS], CENTRED),
        (np.eye(CLASSES, dtype=np.int64)[NUMBERS], CENTRED),
        (np.eye(CLASSES, dtype=ml_dtypes.bfloat16)[NUMBERS], CENTRED),
        (CENTRED, CENTRED),
        (7 * CENTRED, 7 * CENTRED),
        (0.9 * np.eye(CLASSES, dtype=np.float32)[NUMBERS] + np.float32(0.1 / 3), np.float32(0.9) * CENTRED),
    ],
    ids=["numbers", "column", "uint64", "one-hot", "integers", "half", "centred", "scaled", "probabilities"],
)
def test_labels_are_centred(labels, expected):
    found = fit(inputs(), labels)
    np.testing.assert_allclose(found.labels, expected, rtol=0, atol=1e-7)
    np.testing.assert_array_equal(found.images, inputs())


@pytest.mark.parametrize("what", ["numbers", "one-hot", "learned"])
def test_rows_are_put_in_order_and_keep_their_order_within_a_class(what):
    shuffled = np.array([4, 0, 2, 1, 5, 3])
    labels = {"numbers": NUMBERS, "one-hot": np.eye(CLASSES)[NUMBERS], "learned": make()["y_proto"]}[what][shuffled]
    found = fit(inputs()[shuffled], labels)
    np.testing.assert_array_equal(found.images, inputs()[[0, 1, 2, 3, 4, 5]])
    np.testing.assert_array_equal(found.labels.argmax(1), NUMBERS)
    assert any("class by class, by their labels" in note for note in found.notes)


def test_many_rows_keep_their_order_within_a_class():
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(2), 500))
    images = np.arange(1000, dtype=np.float32).reshape(1000, 1, 1, 1)
    found = interpret(foreign(images, labels), (1, 1, 1), 2, 500, pixels=None)
    expected = np.concatenate([images[labels == 0], images[labels == 1]])
    np.testing.assert_array_equal(found.images, expected)


def test_the_order_given_is_kept_where_learned_labels_have_moved():
    labels = CENTRED.copy()
    labels[1] = CENTRED[5]
    found = fit(inputs(), labels)
    np.testing.assert_array_equal(found.images, inputs())
    np.testing.assert_array_equal(found.labels, labels)
    assert any("1 of 6 labels are largest at another class" in note for note in found.notes)


def test_uint8_images_are_pixels():
    images = (100 * np.abs(inputs())).astype(np.uint8)
    for pixels in (None, 1, 255):
        found = fit(images, NUMBERS, pixels=pixels)
        np.testing.assert_array_equal(found.images, images, strict=True)
        assert found.are_pixels
        assert any("taken as pixels" in note for note in found.notes) != bool(pixels)


def test_pixels_may_be_a_rounding_error_outside():
    images = np.full((6, *SHAPE), 0.5, np.float32)
    images[0, 0, 0] = [1.0005, -0.0005, 0.0]
    np.testing.assert_array_equal(fit(images, NUMBERS, pixels=1).images, images)


def test_floats_are_pixels_where_it_is_said():
    images = np.clip(np.abs(inputs()), 0, 1)
    found = fit(images, NUMBERS, pixels=1)
    assert found.are_pixels
    np.testing.assert_array_equal(found.images, images, strict=True)
    assert fit(images, NUMBERS).doubts == ("no image is negative anywhere: if they are pixels, say so with --pixels",)
    assert fit(inputs(), NUMBERS).doubts == ()


def test_floats_are_pixels_up_to_255_only_where_it_is_said():
    images = np.clip(100 * np.abs(inputs()), 0, 255)
    images[0, 0, 0] = [0, 255, 255.1]
    found = fit(images, NUMBERS, pixels=255)
    assert found.are_pixels
    np.testing.assert_array_equal(found.images, images / np.float32(255), strict=True)
    for pixels in (None, 1):
        with pytest.raises(FrepoError, match="--pixels-255"):
            fit(np.clip(images, 0, 255), NUMBERS, pixels=pixels)


def test_labels_that_look_like_logits_are_said_to():
    (doubt,) = fit(inputs(), 10 * CENTRED).doubts
    assert doubt.startswith("labels are from -3.333 to 6.667 and look like logits")
    assert "loss = 'soft_xent'" in doubt
    assert fit(inputs(), 3 * CENTRED).doubts == fit(inputs(), make()["y_proto"]).doubts == ()


def changed(array: np.ndarray, value: float) -> np.ndarray:
    return np.where(np.arange(array.size).reshape(array.shape) == 5, value, array).astype(array.dtype)


@pytest.mark.parametrize(
    ("images", "labels", "pixels", "message"),
    [
        (np.zeros((6, 61)), NUMBERS, None, "images of 61; those of the spec.s data set are 4x5x3"),
        (np.zeros(6), NUMBERS, None, "reshape them"),
        (np.zeros((6, 8, 8, 3)), NUMBERS, None, "images of 8x8x3; those of the spec's data set are 4x5x3"),
        (np.zeros((6, 4, 5)), NUMBERS, None, "images of 4x5; those of the spec's data set are 4x5x3"),
        (np.zeros((6, 4, 5, 1)), NUMBERS, None, "images of 4x5x1;"),
        (inputs(), NUMBERS[:5], None, r"6 images, but labels of the shape \(5,\)"),
        (inputs(), np.zeros((6, 3, 1)), None, r"6 images, but labels of the shape \(6, 3, 1\)"),
        (inputs(), np.zeros((6, 10)), None, "labels for 10 classes; the spec's data set has 3"),
        (
            inputs()[:3],
            NUMBERS[:3],
            None,
            "3 images for 3 classes; the spec wants ipc = 2, i.e. 6; there are no images of class 2 by their labels",
        ),
        (
            inputs()[[0, 2, 4]],
            NUMBERS[[0, 2, 4]],
            None,
            "wants ipc = 2, i.e. 6; set distill.ipc = 1$",
        ),
        (np.zeros((30, *SHAPE)), np.tile(CENTRED, (5, 1)), None, "set distill.ipc = 10$"),
        (inputs()[:3], NUMBERS[[0, 2, 0]], None, "there are no images of class 2 by their labels"),
        (
            inputs()[:2],
            CENTRED[4:],
            None,
            "no images of class 0, 1 by their labels: if it is a set of some classes",
        ),
        (
            np.zeros((9, *SHAPE)),
            NUMBERS[[0, 0, 0, 0, 0, 2, 2, 2, 4]],
            None,
            "1 images of class 2 and 5 images of class 0",
        ),
        (inputs(), NUMBERS % 2, None, "no images of class 2 by their labels; the spec wants 2 of each"),
        (inputs(), NUMBERS, 255, "no pixels in 0..255; import network inputs without --pixels and --pixels-255"),
        (np.abs(inputs()) * 1e3, NUMBERS, 255, "no pixels in 0..255"),
        (np.clip(np.abs(inputs()), 0, 1), NUMBERS, 255, "look like pixels in 0..1; say so with --pixels in place"),
        (np.clip(np.abs(inputs()) * 60, 0, 255), NUMBERS, None, "look like pixels; say so with --pixels-255"),
        (inputs()[:5], NUMBERS[:5], None, "not the same number for each class"),
        (inputs(), NUMBERS + 1, None, "classes from 1 to 3; those of the spec's data set are 0 to 2"),
        (inputs(), NUMBERS - 1, None, "classes from -1 to 1"),
        (inputs(), NUMBERS.astype(np.uint64) + np.uint64(2**63), None, "classes from 9223372036854775808"),
        (inputs(), NUMBERS.astype(np.float32), None, "one float32 as each label; save class numbers as integers"),
        (inputs(), NUMBERS[:, None] / 2, None, "one float64 as each label"),
        (
            inputs(),
            changed(NUMBERS, 0),
            None,
            "1 images of class 2 and 3 images of class 0 .*wants 2 of each",
        ),
        (inputs(), np.eye(CLASSES)[changed(NUMBERS, 0)], None, "wants 2 of each, class by class"),
        (inputs(), CENTRED[[0, 4, 4, 4, 1, 1]], None, "wants 2 of each, class by class"),
        (changed(inputs(), np.nan), NUMBERS, None, "images that are not finite numbers"),
        (changed(inputs(), -np.inf), NUMBERS, 1, "images that are not finite numbers"),
        (changed(inputs().astype(np.float64), 1e300), NUMBERS, None, "images that are not finite numbers"),
        (inputs(), changed(CENTRED, np.nan), None, "labels that are not finite numbers"),
        (inputs().astype(np.int32), NUMBERS, None, "images of int32; save pixels as uint8, network inputs as float32"),
        (inputs(), NUMBERS, 1, "no pixels in 0..1; import network inputs without --pixels and --pixels-255"),
        (
            np.abs(inputs()) / 3,
            NUMBERS,
            1,
            "no pixels in 0..1; if they are in 0..255, say --pixels-255",
        ),
        (
            np.abs(inputs()) * 60,
            NUMBERS,
            1,
            "no pixels in 0..1; if they are in 0..255, say --pixels-255",
        ),
        (np.abs(inputs()) * 1e9, NUMBERS, 1, "no pixels in 0..1"),
    ],
)
def test_what_does_not_fit_is_refused(images, labels, pixels, message):
    with pytest.raises(FrepoError, match=f"/data/file.npz holds .*{message}"):
        interpret(foreign(images, labels), SHAPE, CLASSES, IPC, pixels=pixels)


def test_labels_too_large_to_add_up_are_no_error():
    fit(inputs(), np.float32(1e38) + np.float32(2e38) * np.eye(CLASSES, dtype=np.float32)[NUMBERS])


def test_importing_the_readers_does_not_import_jax():
    code = "import sys; from frepo.exchange.imports import read, interpret; print({'jax', 'flax'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
