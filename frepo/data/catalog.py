"""`frepo data`: listing known and prepared data sets, and preparing them."""

from pathlib import Path

from frepo.data.sources.known import KNOWN
from frepo.data.sources.places import elsewhere, misplaced_version, names_in, own_directory, versions
from frepo.data.sources.prepared import is_own, prepare_own
from frepo.errors import FrepoError, SpecError
from frepo.progress import note
from frepo.signals import stop_on_signals
from frepo.spec.names import must_be_known

COLUMNS = ("name", "classes", "train", "test", "pixels", "comes from", "prepared in")


def catalog(data_dir: Path) -> list[tuple[object, ...]]:
    """Return a row of `COLUMNS` for each known data set, and for each other one that TFDS has prepared in `data_dir`.

    If nothing is prepared there, a note names a directory nearby that may be meant.
    """
    rows: list[tuple[object, ...]] = []
    for name, known in KNOWN.items():
        rows.append(
            (name, known.classes, known.train, known.test, known.pixels, known.comes_from, _place(name, data_dir))
        )
    families = {name.partition("/")[0] for name in KNOWN}
    there = names_in(data_dir)
    for name in there:
        if name.partition("/")[0] not in families:
            rows.append((name, None, None, None, "", "TFDS", _place(name, data_dir)))
    other = None if there else elsewhere(data_dir)
    if other is not None:
        note(f"nothing is prepared in {data_dir}, but {', '.join(other[1])} in {other[0]}: --data-dir {other[0]}")
    return rows


def _place(name: str, data_dir: Path) -> str:
    """Return the directory of the newest prepared version of a data set, or an empty text."""
    own = [own_directory(name, data_dir)] if is_own(name) else versions(data_dir / name)
    return str(own[-1]) if own and own[-1].is_dir() else ""


def prepare(name: str, origin: Path | None, data_dir: Path) -> Path:
    """Prepare the data set `name` in `data_dir`, from its archive or by download, and return its directory.

    Raises:
        FrepoError: it cannot be prepared; the message says why.
        SpecError: there is no such data set.
        Interrupted: a signal came; the attempt leaves nothing.
    """
    if name in ("digits", "image_folder"):
        raise FrepoError(f"'{name}' needs no preparation")
    if advice := misplaced_version(name):
        raise SpecError(f"there is no data set '{name}'. {advice}")
    try:
        must_be_known(name)
    except ValueError as error:
        raise SpecError(str(error)) from None
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with stop_on_signals():
            if is_own(name):
                if origin is None:
                    raise FrepoError(
                        f"'{name}' is prepared from its archive: get {KNOWN[name].archive}, then frepo data prepare "
                        f"{name} --from ARCHIVE"
                    )
                return prepare_own(name, origin, data_dir)
            if origin is not None:
                raise FrepoError(f"--from is for {', '.join(filter(is_own, KNOWN))}; TFDS downloads '{name}' itself")
    except OSError as error:
        raise FrepoError(f"'{name}' could not be prepared in {data_dir}: {error}; the attempt left nothing") from None
    from frepo.data.sources.tfds import prepare_tfds

    return prepare_tfds(name, data_dir)
