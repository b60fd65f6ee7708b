"""Arrays of .safetensors files."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from safetensors import safe_open

from frepo.data.pickles.header import Stored
from frepo.exchange.imports.stored import Found, pair_of

SAFETENSORS_DTYPES = {
    **{f"F{bits}": f"float{bits}" for bits in (16, 32, 64)},
    **{f"{sign}{bits}": f"{name}{bits}" for sign, name in (("I", "int"), ("U", "uint")) for bits in (8, 16, 32, 64)},
    "BF16": "bfloat16",
}


@contextmanager
def open_safetensors(path: Path) -> Generator[Found]:
    """Yield the headers of images and labels, which are loaded while the file is open.

    Raises:
        Exception: of any kind, for bytes that are no such file.
    """
    with safe_open(path, framework="numpy") as file:

        def stored(name: str) -> Stored:
            header = file.get_slice(name)
            dtype = str(header.get_dtype())
            shape = tuple(header.get_shape())
            return Stored(name, SAFETENSORS_DTYPES.get(dtype, dtype), shape, lambda: file.get_tensor(name))

        first, second = pair_of(path, file.keys())
        yield Found(stored(first), stored(second))
