"""What the readers of all formats share: what can be images and labels."""

import math
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal, NamedTuple

from frepo.data.pickles.header import DTYPES, Stored
from frepo.errors import FrepoError

PAIRS = (
    *(("images", "labels"), ("image", "label"), ("x_proto", "y_proto")),
    *(("x_syn", "y_syn"), ("x", "y"), ("data", "targets")),
)
"""Names of images and labels in .npz and .safetensors files."""
LARGEST = 2**34
"""Bytes of images and labels together; more is refused as an attack or a mistake."""
Layout = Literal["nchw", "nhwc"]
"""Where images have their channels: before height and width, or behind."""


class Found(NamedTuple):
    """The arrays of a file, before they are loaded, and what else is known from its layout."""

    images: Stored
    labels: Stored | None
    """None where they are not in the file."""
    layout: Layout | None = None
    """How images are laid out, where the layout of the file says it."""
    notes: tuple[str, ...] = ()
    """A sentence for the user about each thing that was recognised."""
    in_order: bool = False
    """Whether images without labels are as many of each class, class by class."""
    from_torch: bool = False
    """Whether PyTorch wrote them: soft labels may be logits then."""


def check(path: Path, pair: Sequence[Stored]) -> None:
    """Hold what the headers say against what can be images and labels."""
    size = 0
    for array in pair:
        if array.dtype not in DTYPES:
            raise FrepoError(f"{path}: {array.name} has numbers of the kind {array.dtype[:40]!r}; save them as float32")
        if min(array.shape, default=0) < 1:
            raise FrepoError(f"{path}: {array.name} has the shape {array.shape}: there is nothing in it")
        size += math.prod(array.shape) * DTYPES[array.dtype].itemsize
    if size > LARGEST:
        raise FrepoError(f"{path} declares images and labels of {size:,} bytes, more than {LARGEST:,}; split it")


def pair_of(path: Path, names: Iterable[str]) -> tuple[str, str]:
    """Return which of `PAIRS` a file has."""
    names = sorted(names)
    found = [pair for pair in PAIRS if set(pair) <= set(names)]
    if len(found) != 1:
        raise FrepoError(
            f"{path} holds {listed(names)}: {'several pairs' if found else 'no pair'} of images and labels; save one, "
            f"called {', '.join(map('/'.join, PAIRS[:-1]))} or {'/'.join(PAIRS[-1])}"
        )
    return found[0]


def listed(names: Iterable[str]) -> str:
    """Return names for a message, not too many of them and none that moves the cursor."""
    shown = [ascii(name[:60]) for name in names]
    return ", ".join(shown[:20]) + (f" and {len(shown) - 20} more" if len(shown) > 20 else "") or "nothing"


def refuse_pickled(path: Path) -> AbstractContextManager[Found]:
    """Refuse a file that holds Python objects.

    Raises:
        FrepoError: always.
    """
    raise FrepoError(
        f"{path} holds pickled objects, not as torch.save writes them; to read those may run code, so it is not done "
        "here. Where you trust who wrote it, convert it (change the names to those that it has):\n"
        f"  saved = pickle.load(open({str(path)!r}, 'rb'))\n"
        "  numpy.savez('distilled.npz', images=saved['images'], labels=saved['labels'])"
    )
