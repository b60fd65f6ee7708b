"""Files of distilled data to arrays: Flax checkpoints, .npz, .safetensors and files of torch.save.

The files come from strangers. Nothing is unpickled, a file that lies about its sizes costs no memory, and whatever is
wrong with it becomes a FrepoError.
"""

import re
import stat
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np

from frepo.data.pickles.header import Stored
from frepo.errors import FrepoError
from frepo.exchange.export.exported import EVOLUTIONS, NPZ, PROVENANCE, RECIPE, SAFETENSORS
from frepo.exchange.imports.flax import open_flax
from frepo.exchange.imports.npz import open_npz
from frepo.exchange.imports.stored import PAIRS, Found, Layout, check, listed, refuse_pickled
from frepo.exchange.imports.tensors import open_safetensors
from frepo.exchange.imports.torch_file import is_saved_by_torch
from frepo.exchange.imports.torch_layouts import labels_beside, open_labels, open_torch

ORBAX = ("_CHECKPOINT_METADATA", "_METADATA", "_sharding", "manifest.ocdbt")
"""What lies in the directory of an Orbax checkpoint, among other things."""
OTHER_EXPORTS = ({RECIPE, PROVENANCE}, *({name} for name in EVOLUTIONS.values()))
"""What lies in an export of frepo that has no file with images and labels, among other things: png and tfds, or one to
look at."""
DATA_OF_EXPORTS = {NPZ, SAFETENSORS}
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
PAGE = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype html|html|head|!--|\?xml)", re.IGNORECASE)


@dataclass(frozen=True)
class Foreign:
    """What a file holds, as it is there.

    Attributes:
        images: numbers of any kind and shape.
        labels: numbers of any kind and shape; None where images are as many of each class, class by class.
        path: the file that was read.
        names: what images and labels are called in it.
        labels_path: the file of the labels, where it is another one.
        layout: how images are laid out, where the layout of the file says it.
        from_torch: whether PyTorch wrote it: soft labels may be logits then, or be centred as FRePo's are.
        notes: a sentence for the user about each thing that was recognised.
    """

    images: np.ndarray
    labels: np.ndarray | None
    path: Path
    names: tuple[str, str] = PAIRS[0]
    labels_path: Path | None = None
    layout: Layout | None = None
    from_torch: bool = False
    notes: tuple[str, ...] = ()


def read_arrays(path: Path, labels_path: Path | None = None) -> Foreign:
    """Return images and labels of a file, or of the newest or best checkpoint in a directory.

    What kind of file it is follows from its content. Numbers and their types come back as they are. Labels are those of
    `labels_path` where it is given, a file of torch.save.

    Raises:
        FrepoError: it cannot be read, does not have both arrays, or is of a kind that may run code.
    """
    with _told(path):
        if not path.exists():
            raise FrepoError(f"there is no file {path}")
        if path.is_dir():
            path = _file_of(path)
    with ExitStack() as files, _told(path):
        found = files.enter_context(_opener(path)(path))
        if labels_path is None and found.labels is None and not found.in_order:
            labels_path = labels_beside(path)
        if labels_path is None and found.labels is None and not found.in_order:
            raise FrepoError(f"{path} holds images only; name the file of their labels with --labels FILE")
        labels = found.labels
        if labels_path is None:
            check(path, [found.images] if labels is None else [found.images, labels])
            numbers = None if labels is None else labels.load()
        else:
            check(path, [found.images])
            labels, numbers = _labels(labels_path)
        return Foreign(
            images=found.images.load(),
            labels=numbers,
            path=path,
            names=(found.images.name, labels.name if labels else "their places"),
            labels_path=labels_path,
            layout=found.layout,
            from_torch=found.from_torch or labels_path is not None,
            notes=found.notes,
        )


def _labels(path: Path) -> tuple[Stored, np.ndarray]:
    """Return the labels that a file of its own holds."""
    with _told(path):
        if not path.exists():
            raise FrepoError(f"there is no file {path}")
        if _opener(path) is not open_torch:
            raise FrepoError(
                f"{path} is no file of torch.save, or is cut off; save labels with torch.save(labels, 'labels.pt')"
            )
        with open_labels(path) as labels:
            check(path, [labels])
            return labels, labels.load()


@contextmanager
def _told(path: Path) -> Generator[None]:
    """Say for the user what is wrong with a file, whatever its reader raises."""
    try:
        yield
    except FrepoError:
        raise
    except OSError as error:
        raise FrepoError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # the readers raise many kinds for bytes that are not theirs
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        reason = "".join(character if character.isprintable() else "?" for character in reason)
        raise FrepoError(f"{path} cannot be read ({reason}); copy it again, or save it again as .npz") from None


def _opener(path: Path) -> Callable[[Path], AbstractContextManager[Found]]:
    kind = _kind_of(path)
    if kind is not None:
        return kind
    if other := _other_kind(path):
        raise FrepoError(f"{path} {other}")
    raise FrepoError(
        f"{path} is no Flax checkpoint and no .npz, .safetensors or .pt file; save images and labels with "
        "numpy.savez(FILE, images=IMAGES, labels=LABELS)"
    )


def _file_of(directory: Path) -> Path:
    """Return the checkpoint of `directory` with the largest number, a step or an accuracy, or its only data file."""
    entries = sorted(directory.iterdir())
    _refuse_orbax(directory, entries)
    _refuse_other_exports(directory, {entry.name for entry in entries})
    numbers = {entry: number for entry in entries if (number := _number(entry.name)) is not None}
    last = max(numbers.values(), default=None)
    largest = [entry for entry, number in numbers.items() if number == last]
    if not largest:
        files = [entry for entry in entries if entry.is_file() and entry.stat().st_size]
        largest = [entry for entry in files if _kind_of(entry) is not None]
        largest = largest or [entry for entry in files if _other_kind(entry)]  # it is refused for what it is
    images = [entry for entry in largest if labels_beside(entry)]
    largest = images if len(images) == 1 else largest  # its labels, and what else was saved with it, lie beside
    if not largest:
        folders = [entry.name for entry in entries if entry.is_dir()]
        hint = f"; name one of its folders: {listed(folders)}" if folders else ""
        raise FrepoError(f"{directory} has no file checkpoint_NUMBER, .npz, .safetensors or .pt{hint}")
    if len(largest) > 1:
        raise FrepoError(f"{directory} has several files to choose from, name one: {listed(p.name for p in largest)}")
    if largest[0].is_dir():
        _refuse_orbax(largest[0], largest[0].iterdir())
        raise FrepoError(f"{largest[0]} is a folder, not a checkpoint; name a file")
    return largest[0]


def _number(name: str) -> Decimal | None:
    match = re.fullmatch(r"checkpoint_(?:([0-9]+(?:\.[0-9]+)?)|final)", name)
    if match is None:
        return None
    return Decimal(match[1] or "Infinity")  # RCIG's name for the last step


def _refuse_orbax(directory: Path, entries: Iterable[Path]) -> None:
    if any(entry.name in ORBAX or entry.name.startswith("ocdbt") for entry in entries):
        raise FrepoError(
            f"{directory} is an Orbax checkpoint, which is not read here; restore it with orbax.checkpoint and save "
            "its images and labels with numpy.savez(FILE, images=IMAGES, labels=LABELS)"
        )


def _refuse_other_exports(directory: Path, names: set[str]) -> None:
    if any(marks <= names for marks in OTHER_EXPORTS) and not names & DATA_OF_EXPORTS:
        raise FrepoError(
            f"{directory} is an export of frepo in a format that is not read here; exports as npz, safetensors and "
            "torch can be imported: frepo export RUN --format npz --out DIR"
        )


def _other_kind(path: Path) -> str | None:
    """Return what a file is that is often taken for the one it stands for, and what to do; None for other files."""
    with path.open("rb") as file:
        start = file.read(512)
    if start.startswith(LFS_POINTER):
        return "is a Git LFS pointer, not the file that it points to; fetch that with `git lfs pull` where it is"
    if PAGE.match(start):
        page = "an HTML page" if b"html" in start.lower() else "an XML page"
        return f"is {page}, as servers send in place of a file that needs another address or a login; download it again"
    return None


def _kind_of(path: Path) -> Callable[[Path], AbstractContextManager[Found]] | None:
    """Return what opens the file, by its first bytes; None for none of the known kinds."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise FrepoError(f"{path} is not a regular file; copy what it gives into one")
    if not status.st_size:
        raise FrepoError(f"{path} is empty; copy it again")
    with path.open("rb") as file:
        start = file.read(16)
    if is_saved_by_torch(path, start):
        return open_torch
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return open_npz
    if start[5:9] == b"\0\0\0{":  # after a length of 8 bytes
        return open_safetensors
    if re.match(rb"\x80[\x02-\x0f]", start):
        return refuse_pickled
    if re.match(rb"([\x81-\x8f]|\xde..|\xdf....)[\xa0-\xbf\xd9]", start, re.DOTALL):  # a table, its first key a string
        return open_flax
    return None
