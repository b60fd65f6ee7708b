"""Images and labels in what other methods save with torch.save.

Layouts are those of the methods' own code: MTT, DATM and DD-Ranking save two tensors in two files; DC, DSA and DM a
dictionary whose `data` is a list of [images, labels], one for each experiment; IDC, DREAM and NCFM [images, labels];
RaT-BPTT the parameters of a module whose `data.weight` is [n, channels * height * width].
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from frepo.data.pickles.arrays import NumpyArray
from frepo.data.pickles.header import Stored
from frepo.errors import FrepoError
from frepo.exchange.imports.stored import PAIRS, Found, listed
from frepo.exchange.imports.torch_file import open_saved

WHOLE = "images are taken whole: where IDC, DREAM and NCFM train on parts of each (their factor), that is not done here"


@contextmanager
def open_torch(path: Path) -> Generator[Found]:
    """Yield the headers of images and labels, which are loaded while the file is open.

    Raises:
        FrepoError: the file has none of the layouts, or several.
        Exception: of any kind, for bytes that are no such file.
    """
    with open_saved(path) as saved:
        if image := _array(saved, "the tensor"):
            yield Found(
                image, None, notes=("it is one tensor, as MTT, DATM and DD-Ranking save images",), from_torch=True
            )
            return
        if pair := _pair(saved, ""):
            yield Found(
                *pair, notes=("it is [images, labels], as IDC, DREAM and NCFM save them", WHOLE), from_torch=True
            )
            return
        found = [found for rule in RULES if type(saved) is dict and (found := rule(saved))]
        if len(found) != 1:
            raise _unknown(path, saved, several=bool(found))
        yield found[0]._replace(from_torch=True)


@contextmanager
def open_labels(path: Path) -> Generator[Stored]:
    """Yield the header of a file of one tensor or array, the labels.

    Raises:
        FrepoError: it is not.
        Exception: of any kind, for bytes that are no such file.
    """
    with open_saved(path) as saved:
        labels = _array(saved, f"the tensor in {path.name}")
        if labels is None:
            raise FrepoError(f"{path} holds {_contents(saved)}, not labels: one tensor [n] or [n, classes]")
        yield labels


def labels_beside(path: Path) -> Path | None:
    """Return the file of labels that belongs to a file of images by its name: images_best.pt, labels_best.pt."""
    if "images" not in path.name:
        return None
    beside = path.with_name(path.name.replace("images", "labels"))
    return beside if beside.is_file() else None


def _array(value: Any, name: str) -> Stored | None:
    """Return a tensor or an array by a name; None for other values."""
    array = value.array if isinstance(value, NumpyArray) else value
    return array._replace(name=name) if isinstance(array, Stored) else None


def _pair(value: Any, name: str) -> tuple[Stored, Stored] | None:
    if type(value) not in (list, tuple) or len(value) != 2:
        return None
    images, labels = (_array(entry, f"{name}[{place}]") for place, entry in enumerate(value))
    return (images, labels) if images and labels else None


def _named(saved: dict[Any, Any]) -> Found | None:
    """Return images and labels that stand under names; labels may be missing."""
    arrays = {name: array for name, value in saved.items() if (array := _array(value, str(name)))}
    pairs = [pair for pair in PAIRS if set(pair) <= set(arrays)]
    alone = [images for images in dict.fromkeys(images for images, _ in PAIRS) if images in arrays]
    if len(pairs) == 1:
        return Found(arrays[pairs[0][0]], arrays[pairs[0][1]])
    return Found(arrays[alone[0]], None) if not pairs and len(alone) == 1 else None


def _runs(saved: dict[Any, Any]) -> Found | None:
    """Return the last of the sets that DC, DSA and DM save in one file, or the only one as DATM does."""
    data = saved.get("data")
    if pair := _pair(data, "data"):
        return Found(*pair, notes=("it is a dictionary with [images, labels] as its data, as DATM saves them",))
    if type(data) not in (list, tuple) or not data:
        return None
    if not all(_pair(entry, "") for entry in data) or not (pair := _pair(data[-1], f"data[{len(data) - 1}]")):
        return None
    note = f"it is a dictionary with a list of {len(data)} sets as its data, as DC, DSA and DM save them"
    return Found(*pair, notes=(note + (": the last was taken" if len(data) > 1 else ""),))


def _rat_bptt(saved: dict[Any, Any]) -> Found | None:
    """Return the images of a checkpoint of RaT-BPTT, and its labels where they were learned."""
    found = {}
    for table, name in (("model_state_dict", "data.weight"), ("label_state_dict", "label.weight")):
        inner = saved.get(table)
        for key in (f"module.{name}", name):
            if type(inner) is dict and key in inner:
                found.setdefault(name, _array(inner[key], f"{table}/{key}"))
    if not (images := found.get("data.weight")):
        return None
    note = "it is a checkpoint of RaT-BPTT: images of [n, channels * height * width]"
    return Found(images, found.get("label.weight"), "nchw", (note,), in_order="label.weight" not in found)


RULES: tuple[Callable[[dict[Any, Any]], Found | None], ...] = (_named, _runs, _rat_bptt)
"""What recognises a dictionary."""


def _unknown(path: Path, saved: Any, *, several: bool) -> FrepoError:
    fault = "several sets of images and labels" if several else "no images and labels in a layout that is known"
    return FrepoError(
        f"{path} holds {_contents(saved)}: {fault}; save one of them with\n"
        "  torch.save({'images': images, 'labels': labels}, 'distilled.pt')"
    )


def _contents(saved: Any) -> str:
    if type(saved) is dict:
        return f"a dictionary with {listed(map(str, saved))}"
    return (
        f"a {type(saved).__name__} of {len(saved)}" if type(saved) in (list, tuple) else "neither list nor dictionary"
    )
