"""Files of torch.save: those that PyTorch writes, the layouts of other methods, and files that lie or attack."""

import io
import pickle
import struct
import time
import tracemalloc
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frepo.errors import FrepoError
from frepo.exchange.imports.interpret import interpret
from frepo.exchange.imports.read import Foreign, read_arrays

CLASSES, IPC, SHAPE = 3, 2, (4, 5, 3)
NUMBERS = np.repeat(np.arange(CLASSES), IPC)
CHANCES = settings(derandomize=True, deadline=None, max_examples=150)
FLOATS = np.arange(12, dtype="<f4").tobytes()


def images() -> np.ndarray:
    """Return images with channels first, as PyTorch has them."""
    return np.random.default_rng(0).normal(size=(CLASSES * IPC, 3, 4, 5)).astype(np.float32)


# files without PyTorch, put together operation by operation


def plain(value: Any) -> bytes:
    """Return the operations that make a plain value."""
    return pickle.dumps(value, 2)[2:-1]


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def called(function: bytes, *arguments: bytes) -> bytes:
    return function + b"(" + b"".join(arguments) + b"tR"


def numbers(count: Any = 12, key: Any = "0", kind: bytes = named("torch", "FloatStorage")) -> bytes:
    """Return the operations that make a storage."""
    return b"(" + plain("storage") + kind + plain(key) + plain("cpu") + plain(count) + b"tQ"


ORDERED = named("collections", "OrderedDict") + b")R"
REBUILD = named("torch._utils", "_rebuild_tensor_v2")


def tensor(shape: Any = (12,), steps: Any = (1,), offset: Any = 0, storage: bytes | None = None) -> bytes:
    return called(REBUILD, storage or numbers(), plain(offset), plain(shape), plain(steps), plain(False), ORDERED)


def both(first: bytes, second: bytes | None = None) -> bytes:
    """Return the operations that make a dictionary of images and labels."""
    return b"}(" + plain("images") + first + plain("labels") + (second or tensor()) + b"u"


def archive(operations: bytes, members: dict[str, bytes] | None = None, compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        file.writestr("set/data.pkl", b"\x80\x02" + operations + b".")
        for name, data in ({"data/0": FLOATS} if members is None else members).items():
            file.writestr(f"set/{name}", data)
        file.writestr("set/version", "3\n")
    return buffer.getvalue()


def old(operations: bytes, keys: Any = ("0",), data: bytes = struct.pack("<q", 12) + FLOATS) -> bytes:
    """Return a file as PyTorch wrote them before 1.6."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    heads = b"".join(pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, system))
    return heads + b"\x80\x02" + operations.replace(b"tQ", b"NtQ") + b"." + pickle.dumps(list(keys), 2) + data


INTACT = {"zip": archive(both(tensor((4, 3), (3, 1)))), "old": old(both(tensor((4, 3), (3, 1))))}


def refused(path: Path, message: str, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(FrepoError, match=message) as caught:
        read_arrays(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("form", INTACT)
def test_a_file_is_read_without_pytorch(tmp_path, form):
    path = tmp_path / "set.whatever"
    path.write_bytes(INTACT[form])
    found = read_arrays(path)
    np.testing.assert_array_equal(found.images, np.arange(12, dtype=np.float32).reshape(4, 3), strict=True)
    np.testing.assert_array_equal(found.labels, np.arange(12, dtype=np.float32), strict=True)
    assert (found.names, found.from_torch) == (("images", "labels"), True)


def test_numbers_of_another_byte_order_come_back(tmp_path):
    path = tmp_path / "set.pt"
    big = np.arange(12, dtype=">f4").tobytes()
    path.write_bytes(archive(both(tensor()), {"data/0": big, "byteorder": b"big"}))
    np.testing.assert_array_equal(read_arrays(path).images, np.arange(12, dtype=np.float32), strict=True)


def test_tensors_that_share_their_numbers_are_views_of_them(tmp_path):
    path = tmp_path / "set.pt"
    path.write_bytes(archive(both(tensor((3, 2), (1, 4), 2), tensor((2,), (5,), 1))))
    found = read_arrays(path)
    np.testing.assert_array_equal(found.images, [[2, 6], [3, 7], [4, 8]])
    np.testing.assert_array_equal(found.labels, [1, 6])
    assert found.images.flags.c_contiguous


# attacks


@pytest.fixture
def trap(tmp_path) -> Path:
    return tmp_path / "trap"


def attacks(trap: Path) -> dict[str, bytes]:
    make = f"open({str(trap)!r}, 'w')"
    return {
        "os.system": called(named("os", "system"), plain(f"touch {trap}")),
        "posix.system": called(named("posix", "system"), plain(f"touch {trap}")),
        "eval": called(named("builtins", "eval"), plain(make)),
        "exec of Python 2": called(named("__builtin__", "exec"), plain(make)),
        "getattr": called(named("builtins", "getattr"), named("os", "path"), plain("os")),
        "getattr of an attribute": called(named("builtins", "getattr.__call__"), plain(3)),
        "open": called(named("io", "open"), plain(str(trap)), plain("w")),
        "torch.load": called(named("torch", "load"), plain(str(trap))),
        "torch.hub": called(named("torch.hub", "load"), plain("x"), plain("y")),
        "torch.storage._load_from_bytes": called(named("torch.storage", "_load_from_bytes"), plain("x")),
        "numpy.load": called(named("numpy", "load"), plain(str(trap))),
        "a longer name": called(named("torch._utils", "_rebuild_tensor_v2.__globals__"), plain(3)),
        "a name on the stack": plain("os") + plain("system") + b"\x93" + plain((f"touch {trap}",)) + b"R",
        "an old object": b"(" + plain(f"touch {trap}") + b"ios\nsystem\n",
        "an object": b"(" + named("os", "system") + plain(f"touch {trap}") + b"o",
        "a new object": named("pathlib", "Path") + plain((str(trap),)) + b"\x81",
        "an extension": b"\x82\x01",
    }


@pytest.mark.parametrize("form", ["zip", "old"])
@pytest.mark.parametrize("attack", attacks(Path("x")))
def test_nothing_that_a_file_names_is_run(tmp_path, trap, attack, form):
    operations = both(tensor(), attacks(trap)[attack])
    refused(tmp_path / "set.pt", "may run code|plain values do without", {"zip": archive, "old": old}[form](operations))
    assert not trap.exists()


def test_what_is_refused_is_named_with_a_way_out(tmp_path):
    message = r"set.pt holds 'os system', which is not read.*\n  torch.save\(\{'images': images, 'labels': labels\}, "
    refused(tmp_path / "set.pt", message, archive(called(named("os", "system"), plain("true"))))


RECONSTRUCT = called(named("numpy.core.multiarray", "_reconstruct"), named("numpy", "ndarray"), plain((0,)), plain("b"))
TYPE = called(named("numpy", "dtype"), plain("f4"), plain(False), plain(True)) + plain((3, "<", None)) + b"b"


def array(shape: Any, data: bytes, dtype: bytes = TYPE) -> bytes:
    return RECONSTRUCT + b"(" + plain(1) + plain(shape) + dtype + plain(False) + data + b"tb"


def encoded(text: str) -> bytes:
    return called(named("_codecs", "encode"), plain(text), plain("latin1"))


LIES = {
    "a storage that is not there": archive(both(tensor(storage=numbers(key="7")))),
    "a storage of another folder": archive(both(tensor(storage=numbers(key="../data.pkl")))),
    "a storage without a name": archive(both(tensor(storage=numbers(key=0)))),
    "a storage that is too small": archive(both(tensor((13,), storage=numbers(13)))),
    "a storage that is too large": archive(both(tensor(storage=numbers(11)))),
    "a huge storage": archive(both(tensor((2**40,), storage=numbers(2**40)))),
    "a negative storage": archive(both(tensor(storage=numbers(-12)))),
    "a storage of a real number": archive(both(tensor(storage=numbers(12.0)))),
    "a storage of no type": archive(both(tensor(storage=numbers(kind=plain("float"))))),
    "a storage that is none": archive(both(tensor(storage=plain("0") + b"Q"))),
    "a storage that is a number": archive(both(tensor(storage=plain(12)))),
    "a shape too large": archive(both(tensor((13,)))),
    "a shape of one number again and again": archive(both(tensor((2**30, 2**3), (0, 0)))),
    "a huge step": archive(both(tensor((2,), (2**62,)))),
    "a negative step": archive(both(tensor((12,), (-1,), 11))),
    "a negative shape": archive(both(tensor((-12,)))),
    "a negative offset": archive(both(tensor((12,), (1,), -1))),
    "an offset too large": archive(both(tensor((12,), (1,), 1))),
    "a shape of text": archive(both(tensor("ab", "cd"))),
    "a shape of truths": archive(both(tensor((True,), (True,)))),
    "a shape of real numbers": archive(both(tensor((1.0,), (1,)))),
    "too few steps": archive(both(tensor((3, 4), (1,)))),
    "too many axes": archive(both(tensor((1,) * 40, (1,) * 40))),
    "numbers past all integers": archive(both(tensor((1 << 2**20,), (1 << 2**20,)))),
    "a compressed storage": archive(both(tensor()), {"data/0": FLOATS}, zipfile.ZIP_DEFLATED),
    "a compressed bomb": archive(
        both(tensor((2**20,), storage=numbers(2**20))), {"data/0": bytes(2**22)}, zipfile.ZIP_DEFLATED
    ),
    "a compressed bomb of a pickle": archive(plain("a" * 2**22), {}, zipfile.ZIP_DEFLATED),
    "two pickles": archive(both(tensor()), {"data/0": FLOATS, "more/data.pkl": b"\x80\x02N."}),
    "a program": archive(both(tensor()), {"data/0": FLOATS, "constants.pkl": b""}),
    "deep lists": archive(b"]" * 30000 + b"a" * 29999),
    "deep tuples": archive(b")" + b"\x85" * 30000),
    "a deep tuple as a name": archive(b"})" + b"\x85" * 10**5 + b"Ns"),
    "a list that holds itself": archive(b"]q\x00h\x00a"),
    "a dictionary that holds itself": archive(b"}q\x00" + plain("images") + b"h\x00s"),
    "too many operations": archive(b"]" + b"Na" * 2**17),
    "a memo of a huge place": archive(b"Nr\xff\xff\xff\xff"),
    "a place that was never filled": archive(b"h\x07"),
    "a text past its end": archive(b"X\xff\xff\xff\x7fab"),
    "bytes past their end": archive(b"\x8e" + b"\xff" * 7 + b"\x7f"),
    "an array of bytes past its end": archive(b"\x96" + b"\xff" * 7 + b"\x7f"),
    "a number past its end": archive(b"\x8b\xff\xff\xff\x7f"),
    "a frame past its end": archive(b"\x95" + b"\xff" * 7 + b"\x7f" + plain("a")),
    "no value": archive(b""),
    "two values": archive(b"NN"),
    "a value too few": archive(b"\x86"),
    "a mark too few": archive(b"t"),
    "an entry of a list": archive(b"]NNs"),
    "an element of a dictionary": archive(b"}Na"),
    "an odd number of entries": archive(b"}(NNNu"),
    "a call of a number": archive(plain(3) + b")R"),
    "a call of a type": archive(named("torch", "FloatStorage") + b")R"),
    "a call without arguments": archive(REBUILD + b"NR"),
    "a state of a tensor": archive(both(tensor() + b"}b")),
    "an ordered dictionary of values": archive(called(named("collections", "OrderedDict"), plain([("images", 1)]))),
    "a parameter of nothing": archive(both(called(named("torch._utils", "_rebuild_parameter"), b"N", b"N", b"N"))),
    "an array without a state": archive(both(RECONSTRUCT)),
    "an array with another state": archive(both(RECONSTRUCT + b"}b")),
    "an array of another size": archive(both(array((3,), encoded("abcd")))),
    "an array of a huge shape": archive(both(array((2**62, 2**62), encoded("abcd")))),
    "an array of objects": archive(both(array((1,), plain([3]), called(named("numpy", "dtype"), plain("O8"))))),
    "an array of no type": archive(both(array((1,), encoded("abcd"), plain("f4")))),
    "an array of text that is no bytes": archive(both(array((1,), encoded("\u20ac\u20ac\u20ac\u20ac")))),
    "an encoding of NumPy's": archive(called(named("_codecs", "encode"), plain("a"), plain("utf-7"))),
    "a text made again and again": archive(
        plain("a" * 2**20)
        + b"q\x000]"
        + b"("
        + (named("_codecs", "encode") + b"h\x00" + plain("latin1") + b"\x86R") * 500
    ),
    "a number of another size": archive(
        both(called(named("numpy.core.multiarray", "scalar"), TYPE, encoded("a" * 2**16)))
    ),
    "an old file of another version": old(both(tensor())).replace(pickle.dumps(1001, 2), pickle.dumps(1002, 2)),
    "an old file without its numbers": old(both(tensor()), data=b""),
    "an old file of fewer numbers": old(both(tensor()), data=struct.pack("<q", 11) + FLOATS),
    "an old file of a huge storage": old(both(tensor((2**40,), storage=numbers(2**40))), data=struct.pack("<q", 2**40)),
    "an old file without a key": old(both(tensor()), ()),
    "an old file of another key": old(both(tensor()), ("1",)),
    "an old file of keys that are none": old(both(tensor()), (["0"],)),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_file_that_lies_costs_neither_memory_nor_time(tmp_path, lie):
    start = time.process_time()
    tracemalloc.start()
    try:
        refused(tmp_path / "set.pt", ".", LIES[lie])
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()
    assert time.process_time() - start < 10


def tried(path: Path, damaged: bytes) -> Foreign | None:
    path.write_bytes(damaged)
    try:
        found = read_arrays(path)
        interpret(found, SHAPE, CLASSES, IPC, pixels=None)
    except FrepoError as error:
        assert str(path) in str(error)  # noqa: PT017 (no error is as good)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("scratch") / "set.pt"


@pytest.mark.parametrize("form", INTACT)
def test_a_file_cut_off_anywhere_is_refused(scratch, form):
    for length in range(0, len(INTACT[form]), 3):
        refused(scratch, ".", INTACT[form][:length])


@pytest.mark.parametrize("form", INTACT)
@CHANCES
@given(data=st.data())
def test_changed_bytes_are_refused_or_give_numbers(scratch, form, data):
    damaged = bytearray(INTACT[form])
    places = st.integers(0, len(damaged) - 1)
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=4)):
        damaged[place] = value
    tried(scratch, bytes(damaged))


@CHANCES
@given(data=st.data())
def test_a_changed_pickle_in_a_sound_archive_is_refused_or_gives_numbers(scratch, data):
    """Without this, checksums of the archive catch nearly every change."""
    damaged = bytearray(both(tensor((4, 3), (3, 1)), array((3,), encoded("a" * 12))))
    places = st.integers(0, len(damaged) - 1)
    for place, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=3)):
        damaged[place] = value
    tried(scratch, archive(bytes(damaged)))


@CHANCES
@given(operations=st.binary(max_size=60))
def test_random_operations_are_refused(scratch, operations):
    tried(scratch, archive(operations))


# files of PyTorch


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


def saved(torch: Any, path: Path, value: Any, *, legacy: bool = False) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=not legacy)
    return path


TYPES = ("float16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32")


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("dtype", TYPES)
def test_tensors_of_every_type_come_back(tmp_path, torch, dtype, legacy):
    values = np.arange(24).reshape(2, 3, 4).astype(dtype)
    given_images = torch.from_numpy(values).permute(2, 0, 1)
    path = saved(torch, tmp_path / "set.pt", {"images": given_images, "labels": given_images[1:, 1, 2:]}, legacy=legacy)
    found = read_arrays(path)
    np.testing.assert_array_equal(found.images, values.transpose(2, 0, 1), strict=True)
    np.testing.assert_array_equal(found.labels, values.transpose(2, 0, 1)[1:, 1, 2:], strict=True)


def test_half_numbers_of_google_come_back(tmp_path, torch):
    values = torch.arange(5).to(torch.bfloat16) / 3
    found = read_arrays(saved(torch, tmp_path / "set.pt", [values, values]))
    np.testing.assert_array_equal(found.images, values.float().numpy().astype(ml_dtypes.bfloat16), strict=True)


def test_truths_are_no_numbers(tmp_path, torch):
    path = saved(torch, tmp_path / "set.pt", [torch.zeros(2), torch.zeros(2, dtype=torch.bool)])
    with pytest.raises(FrepoError, match=r"\[1\] has numbers of the kind 'bool'; save them as float32"):
        read_arrays(path)


def test_whatever_is_saved_beside_the_set_is_gone_past(tmp_path, torch):
    network = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    beside = {
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "accuracy": [np.float64(0.3), np.float32(0.4), np.int64(3), np.bool_(True), 2**70, -1, None, "é", b"b", 0.5],
        "curve": np.zeros((0, 3)),
        "names": np.array(["plane"]),
        "size": torch.zeros(2, 3).shape,
        "none": torch.zeros(0),
        "truth": torch.ones(2, dtype=torch.bool),
        "nested": OrderedDict(a=OrderedDict(b=({3: 4},))),
    }
    first = torch.nn.Parameter(torch.arange(12.0).reshape(3, 4))
    found = read_arrays(saved(torch, tmp_path / "set.pt", {**beside, "images": first, "labels": np.arange(3)}))
    np.testing.assert_array_equal(found.images, np.arange(12, dtype=np.float32).reshape(3, 4), strict=True)
    np.testing.assert_array_equal(found.labels, np.arange(3), strict=True)


def test_arrays_of_numpy_come_back(tmp_path, torch):
    values = np.asfortranarray(np.arange(12, dtype=">f4").reshape(3, 4))
    found = read_arrays(saved(torch, tmp_path / "set.pt", [values, values[:, 0].astype(np.int16)]))
    np.testing.assert_array_equal(found.images, np.arange(12, dtype=np.float32).reshape(3, 4), strict=True)
    np.testing.assert_array_equal(found.labels, np.array([0, 4, 8], np.int16), strict=True)


# layouts


def fit(path: Path, labels: Path | None = None, **said: Any) -> tuple[np.ndarray, np.ndarray, str]:
    found = interpret(read_arrays(path, labels), SHAPE, CLASSES, IPC, pixels=None, **said)
    return found.images, found.labels, "\n".join(found.notes)


def check(found: tuple[np.ndarray, np.ndarray, str], *said: str) -> None:
    np.testing.assert_array_equal(found[0], images().transpose(0, 2, 3, 1))
    np.testing.assert_allclose(found[1], np.eye(CLASSES)[NUMBERS] - 1 / CLASSES, atol=1e-6)
    for words in said:
        assert words in found[2]
    assert "channels moved to the end" in found[2]


@pytest.fixture
def pair(torch) -> tuple[Any, Any]:
    return torch.from_numpy(images()), torch.from_numpy(NUMBERS)


@pytest.mark.parametrize("stem", ["{}_best", "{}", "{}_DC_CIFAR10_1_best"])
def test_two_tensors_in_two_files(tmp_path, torch, pair, stem):
    path, beside = (tmp_path / f"{stem.format(name)}.pt" for name in ("images", "labels"))
    saved(torch, path, pair[0])
    with pytest.raises(FrepoError, match=r"holds images only; name the file of their labels with --labels FILE"):
        read_arrays(path)
    saved(torch, beside, pair[1])
    saved(torch, tmp_path / "lr_best.pt", 0.02)
    check(fit(path), f"images are the tensor of {path} and labels the tensor in {beside.name} of {beside}", "MTT, DATM")
    assert read_arrays(tmp_path).path == path  # the folder they lie in
    other = saved(torch, tmp_path / "other.pth", pair[1].flip(0))
    assert read_arrays(path, other).labels.tolist() == NUMBERS[::-1].tolist()


def test_a_folder_of_several_sets_has_no_only_one(tmp_path, torch, pair):
    for step in ("100", "best"):
        for name, value in zip(("images", "labels"), pair, strict=True):
            saved(torch, tmp_path / f"{name}_{step}.pt", value)
    with pytest.raises(
        FrepoError, match=r"several files to choose from, name one: 'images_100\.pt', 'images_best\.pt'"
    ):
        read_arrays(tmp_path)


def test_labels_are_one_tensor_in_a_file_of_pytorch(tmp_path, torch, pair):
    path = saved(torch, tmp_path / "set.pt", pair[0])
    with pytest.raises(FrepoError, match=r"there is no file .*nowhere"):
        read_arrays(path, tmp_path / "nowhere")
    np.save(tmp_path / "labels.npy", NUMBERS)
    with pytest.raises(FrepoError, match=r"labels\.npy is no Flax checkpoint and no"):
        read_arrays(path, tmp_path / "labels.npy")
    np.savez(tmp_path / "labels.npz", images=NUMBERS, labels=NUMBERS)
    with pytest.raises(FrepoError, match=r"labels\.npz is no file of torch\.save; save labels with torch\.save"):
        read_arrays(path, tmp_path / "labels.npz")
    saved(torch, tmp_path / "labels.pt", {"a": pair[1]})
    with pytest.raises(FrepoError, match=r"labels\.pt holds a dictionary with 'a', not labels: one tensor"):
        read_arrays(path, tmp_path / "labels.pt")
    (tmp_path / "labels.pt").write_bytes(INTACT["zip"][:-9])
    with pytest.raises(FrepoError, match=r"labels\.pt"):
        read_arrays(path, tmp_path / "labels.pt")


def test_the_last_of_several_experiments(tmp_path, torch, pair):
    worse = [pair[0] * 0, pair[1]]
    accuracies = {"ConvNet": [np.float64(0.3)]}
    path = saved(torch, tmp_path / "res.pt", {"data": [worse, list(pair)], "accs_all_exps": accuracies})
    check(fit(path), "images are data[1][0]", "a list of 2 sets as its data, as DC, DSA and DM save them: the last was")
    path = saved(torch, tmp_path / "res.pt", {"data": [list(pair)], "accs_all_exps": {}})
    check(fit(path), "a list of 1 sets as its data, as DC, DSA and DM save them")
    check(fit(saved(torch, tmp_path / "datm.pt", {"data": tuple(pair)})), "[images, labels] as its data, as DATM")


def test_a_list_of_images_and_labels(tmp_path, torch, pair):
    path = saved(torch, tmp_path / "data_best.pt", list(pair))
    check(fit(path), "images are [0] and labels [1]", "it is [images, labels], as IDC, DREAM and NCFM save them")
    check(fit(saved(torch, tmp_path / "old.pt", pair, legacy=True)))


def rat_bptt(torch: Any, learned: Any = None) -> dict[str, Any]:
    """Return a checkpoint of RaT-BPTT, whose images are rows of numbers."""
    rows = torch.nn.Parameter(torch.from_numpy(images().reshape(len(NUMBERS), -1)))
    checkpoint = {
        "epoch": 3,
        "model_state_dict": {"module.data.weight": rows.detach().clone()},
        "optimizer_state_dict": torch.optim.Adam([rows]).state_dict(),
    }
    return checkpoint if learned is None else checkpoint | {"label_state_dict": {"module.label.weight": learned}}


def test_a_checkpoint_of_rat_bptt(tmp_path, torch):
    found = fit(saved(torch, tmp_path / "set.pth", rat_bptt(torch)))
    check(found, "images are model_state_dict/module.data.weight and labels their places", "a checkpoint of RaT-BPTT")
    learned = torch.nn.functional.one_hot(torch.from_numpy(NUMBERS)).float()
    check(fit(saved(torch, tmp_path / "set.pth", rat_bptt(torch, learned))), "labels label_state_dict/module.label.w")


def test_names_in_a_dictionary(tmp_path, torch, pair):
    check(fit(saved(torch, tmp_path / "set.pt", {"x": pair[0], "y": pair[1], "lr": 0.1})), "images are x and labels y")
    path = saved(torch, tmp_path / "set.pt", {"images": pair[0]})
    with pytest.raises(FrepoError, match="holds images only"):
        read_arrays(path)
    check(fit(path, saved(torch, tmp_path / "numbers.pt", pair[1])))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"net": 3}, "a dictionary with 'net': no images and labels in a layout that is known; save one of them"),
        ({}, "a dictionary with nothing: no images"),
        ([1, 2, 3], "a list of 3: no images"),
        (0.02, "holds neither list nor dictionary: no images"),
        ({"data": [[1, 2]]}, "no images and labels in a layout"),
    ],
)
def test_another_layout_is_refused(tmp_path, torch, value, message):
    with pytest.raises(FrepoError, match=message):
        read_arrays(saved(torch, tmp_path / "set.pt", value))


def test_several_sets_in_one_file_are_refused(tmp_path, torch, pair):
    both_ways = {"images": pair[0], "labels": pair[1], "data": [list(pair)]}
    with pytest.raises(FrepoError, match="several sets of images and labels"):
        read_arrays(saved(torch, tmp_path / "set.pt", both_ways))


def test_labels_of_pytorch_may_be_logits(tmp_path, torch, pair):
    small = torch.nn.functional.one_hot(pair[1]).float() * 1.5
    path = saved(torch, tmp_path / "set.pt", [pair[0], small])
    with pytest.raises(FrepoError, match=r"rows do not sum to 1: say --logits if .*, --no-logits if networks"):
        fit(path)
    for logits, words in ((True, "logits, whose softmax loss = 'soft_xent' trains on"), (False, "centred soft labels")):
        found = fit(path, logits=logits)
        np.testing.assert_array_equal(found[1], small.numpy())
        assert words in found[2]
    large = interpret(read_arrays(saved(torch, path, [pair[0], 9 * small])), SHAPE, CLASSES, IPC, pixels=None)
    assert any("labels are taken as they are: logits" in note for note in large.notes)
    assert "look like logits" in large.doubts[0]
    np.testing.assert_array_equal(large.labels, 9 * small.numpy())
    rows = torch.softmax(small, 1)
    chosen = fit(saved(torch, path, [pair[0], rows]), logits=True)[1]
    np.testing.assert_array_equal(chosen, rows.numpy())  # not centred, as probabilities are
    with pytest.raises(FrepoError, match="class numbers, which --logits does not suit"):
        fit(saved(torch, path, list(pair)), logits=True)
