"""Distilled data, saved states, specs: whatever bytes they have, they are read, or refused in words that name them."""

import hashlib
import io
import json
import os
import pickle
import struct
import warnings
import zipfile

import jax.numpy as jnp
import msgpack
import numpy as np
import pytest
from flax import serialization
from hostile_inputs import DEEP, LENGTHS, PATHS, altered, as_json, damaged, json_of
from hypothesis import strategies as st
from safetensors.numpy import save

from frepo.engine.checkpoint import save_state
from frepo.engine.environment import numerics
from frepo.rundir.state import MAGIC

IMAGES = np.arange(2 * 3 * 3, dtype=np.float32).reshape(2, 3, 3, 1)
LABELS = np.eye(2, dtype=np.float32)


def npz(compressed=False):
    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(buffer, images=IMAGES, labels=LABELS)
    return buffer.getvalue()


def flax():
    return serialization.msgpack_serialize({"params": {"x_proto": IMAGES, "y_proto": LABELS}, "ema_average": None})


SOUND = {
    "npz": npz(),
    "deflated npz": npz(compressed=True),
    "safetensors": save({"images": IMAGES, "labels": LABELS}),
    "flax": flax(),
}


@st.composite
def archives(draw):
    """Draw an .npz whose members are what they are called or not, and an archive with sound checksums or not."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two members may have one name
        for array in (IMAGES, LABELS):
            member = io.BytesIO()
            np.save(member, array)
            content = draw(st.one_of(st.just(member.getvalue()), damaged(member.getvalue())))
            name = draw(st.sampled_from(("images.npy", "labels.npy", "data.pkl", "x/data.pkl", *PATHS[:12])))
            kind = draw(st.sampled_from((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)))
            archive.writestr(zipfile.ZipInfo(name.replace("\0", "") or "x"), content, kind)
    return draw(st.one_of(st.just(buffer.getvalue()), damaged(buffer.getvalue())))


@st.composite
def safetensors(draw):
    """Draw a file whose header is JSON, whatever it says."""
    header = {
        "images": {"dtype": "F32", "shape": [2, 3, 3, 1], "data_offsets": [0, 72]},
        "labels": {"dtype": "F32", "shape": [2, 2], "data_offsets": [72, 88]},
        "__metadata__": {"format": "pt"},
    }
    text = draw(json_of(header))
    return struct.pack("<Q", draw(st.sampled_from((len(text), *LENGTHS)))) + text + bytes(88)


OPERATIONS = [
    *(
        b"(",
        b"]",
        b"}",
        b")",
        b"N",
        b"\x88",
        b"t",
        b"l",
        b"d",
        b"a",
        b"e",
        b"s",
        b"u",
        b"\x85",
        b"\x86",
        b"R",
        b"b",
        b"Q",
    ),
    *(
        b"K\x01",
        b"J\xff\xff\xff\x7f",
        b"X\x04\x00\x00\x00data",
        b"X\x06\x00\x00\x00images",
        b"q\x00",
        b"h\x00",
        b"\x94",
    ),
    *(b"ctorch._utils\n_rebuild_tensor_v2\n", b"cbuiltins\neval\n", b"cos\nsystem\n", b"ccollections\nOrderedDict\n"),
    *(b"cnumpy.core.multiarray\n_reconstruct\n", b"cnumpy\nndarray\n", b"cnumpy\ndtype\n", b"c_codecs\nencode\n"),
    *(
        b"\x8a\x09" + b"\xff" * 8 + b"\x00",
        b"\x8b\xff\xff\xff\x7f",
        b"C\x01a",
        b"B\xff\xff\xff\x7f",
        b"\x8e" + b"\xff" * 8,
    ),
]


@st.composite
def pickles(draw):
    """Draw a program for the stack machine of pickles, in a file of torch.save."""
    program = b"\x80\x02" + b"".join(draw(st.lists(st.sampled_from(OPERATIONS), max_size=30))) + b"."
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x/data.pkl", program)
        archive.writestr("x/data/0", bytes(16))
    return buffer.getvalue()


def colliding():
    """Return a pickle of a dictionary whose keys all have the hash 0: to fill it takes hours."""
    prime = 2**61 - 1
    keys = [b"\x8a\x0b" + (prime * number).to_bytes(11, "little", signed=True) + b"N" for number in range(200_000)]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x/data.pkl", b"\x80\x02}(" + b"".join(keys) + b"u.")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def foreign(reader_of, tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "set.npz"
    path.write_bytes(SOUND["npz"])
    return reader_of("foreign", path)


@pytest.fixture
def read_foreign(foreign, tmp_path):
    def read_foreign(content):
        path = tmp_path / "set"
        path.write_bytes(content)
        error = foreign(path)
        assert error is None or "set" in error
        return error

    return read_foreign


@pytest.mark.parametrize("kind", SOUND)
def test_distilled_data_with_changed_bytes(kind, read_foreign, try_all):
    assert read_foreign(SOUND[kind]) is None
    try_all(damaged(SOUND[kind]), read_foreign)


def test_archives_headers_and_pickles_of_distilled_data(read_foreign, try_all):
    try_all(st.one_of(archives(), safetensors(), pickles()), read_foreign)


def test_a_dictionary_that_would_take_hours_is_refused_at_once(read_foreign):
    assert "or under no name" in read_foreign(colliding())


def test_what_calls_something_is_refused(read_foreign):
    class Call:
        def __reduce__(self):
            return eval, ("1",)

    assert read_foreign(pickle.dumps(Call()))


LIKE = {"images": jnp.zeros((4, 8), jnp.float32), "ages": jnp.zeros(3, jnp.int32)}


def state_of(payload, made_under):
    """Return a saved state of any content, its digest right."""
    body = len(made_under).to_bytes(4, "little") + made_under + payload
    return MAGIC + hashlib.sha256(MAGIC + body).digest() + body


@pytest.fixture(scope="module")
def sound_state(tmp_path_factory):
    directory = tmp_path_factory.mktemp("state")
    return save_state(directory, 1, LIKE, numerics())


@pytest.fixture(scope="module")
def state(reader_of, sound_state):
    return reader_of("state", sound_state.parent)


def test_saved_states(state, sound_state, folder_of, try_all):
    content = sound_state.read_bytes()
    payload, made_under = serialization.to_bytes(LIKE), json.dumps(numerics()).encode()

    def check(files):
        name, drawn = files
        error = state(folder_of({name: drawn}))
        assert error is None or "input" in error

    names = st.sampled_from(("000000000001.state", "x.state", "-1.state", "9" * 30 + ".state"))
    numbers = st.recursive(st.none() | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=9), st.lists, max_leaves=9)
    trees = st.dictionaries(st.sampled_from(("images", "ages", "")), numbers).map(msgpack.packb)
    under = st.one_of(st.just(made_under), json_of(numerics()))
    hostile = st.builds(state_of, st.one_of(damaged(payload), trees), under)
    try_all(st.tuples(names, st.one_of(damaged(content), hostile)), check)


SPEC = {
    "name": "x",
    "seed": 0,
    "dataset": {"name": "digits", "preprocess": {"type": "zca", "reg": 0.1}},
    "architecture": {"type": "conv", "width": 8, "depth": 2, "normalization": "batch"},
    "distill": {"method": "frepo", "ipc": 1, "steps": 10, "learn_labels": True},
    "pool": {"size": 2, "max_online_updates": 5},
    "application": [{"type": "evaluate", "num_models": 2, "baselines": ["random"]}],
    "sweep": {"seed": [0, 1], "distill.ipc": [1, 2], "case": [{"label": "a", "distill.steps": 5}]},
}


def toml(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(name))} = {toml(inner)}" for name, inner in value.items()) + "}"
    return f"[{', '.join(map(toml, value))}]" if isinstance(value, list) else json.dumps(value, ensure_ascii=False)


def as_toml(document):
    text = "\n".join(f"{json.dumps(str(name))} = {toml(value)}" for name, value in document.items())
    deep = "[" * 20_000 + "]" * 20_000
    return text.replace(json.dumps(DEEP), deep).encode("utf-8", "replace")


@pytest.fixture(scope="module")
def spec(reader_of, tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "x.toml"
    path.write_bytes(as_toml(SPEC))
    return reader_of("spec", path)


@pytest.fixture
def read_spec(spec, tmp_path):
    def read_spec(content):
        path = tmp_path / "drawn.toml"
        path.write_bytes(content)
        error = spec(path)
        assert error is None or "drawn.toml" in error
        return error

    return read_spec


def test_specs_and_sweeps(read_spec, try_all):
    try_all(
        st.one_of(altered(SPEC).map(as_toml), damaged(as_toml(SPEC)), st.text(max_size=50).map(str.encode)), read_spec
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('extends = "/dev/zero"', "is not a file"),
        ('extends = "pipe"', "is not a file"),
        ("a." * 5000 + "b = 1", ""),
        ("[sweep]\n" + "a." * 5000 + "b = [1]", "nested too deeply"),
        ("[sweep]\n" + "\n".join(f"a{n} = [1]" for n in range(50_000)), "more than 100 axes"),
        ("[sweep]\n" + "\n".join(f"a{n} = {list(range(9000))}" for n in range(2)), "experiments, at most 10,000"),
        ('[[sweep.case]]\nlabel = "a"\n' + "\n".join(f"a{n} = 1" for n in range(50_000)), "more than 100 fields"),
        ("\n".join(f"a{n} = 1" for n in range(20_000)), "unknown field"),
        ("x = [\n" + "\n".join("1," for _ in range(100_000)) + "\n]\ny = 1", "unknown field"),
        ("# " + "x" * 2**20, "larger than"),
        (f'name = "{"a" * 500_000}"', "name"),
    ],
)
def test_a_spec_that_would_take_hours_or_all_memory_is_refused_at_once(read_spec, tmp_path, text, expected):
    os.mkfifo(tmp_path / "pipe")
    assert expected in read_spec(text.encode())


def test_documents_are_drawn_as_they_are_meant():
    assert as_json({"a": DEEP}).count(b"[") == 50_000
