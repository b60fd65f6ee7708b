"""Files of torch.save put together operation by operation: sound ones, and ones that lie or attack."""

import io
import pickle
import struct
import time
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frepo.errors import FrepoError
from frepo.exchange.imports.interpret import interpret
from frepo.exchange.imports.read import Foreign, read_arrays

CLASSES, IPC, SHAPE = 3, 2, (4, 5, 3)
CHANCES = settings(derandomize=True, deadline=None, max_examples=150)
FLOATS = np.arange(12, dtype="<f4").tobytes()


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
