"""`frepo data`: what is known, what is prepared, and preparing it."""

from pathlib import Path

from frepo.data.known import KNOWN
from frepo.data.prepared import is_own, own_directory, prepare_own
from frepo.errors import FrepoError, SpecError
from frepo.signals import stop_on_signals
from frepo.spec.names import must_be_known

COLUMNS = ("name", "classes", "train", "test", "pixels", "comes from", "prepared in")


def catalog(data_dir: Path) -> list[tuple[object, ...]]:
    """Return a row of `COLUMNS` for each known data set, and for any other that TFDS has prepared in `data_dir`."""
    rows: list[tuple[object, ...]] = []
    for name, known in KNOWN.items():
        where = own_directory(name, data_dir) if is_own(name) else _tfds_directory(name, data_dir)
        ready = str(where) if where and where.is_dir() else ""
        rows.append((name, known.classes, known.train, known.test, known.pixels, known.comes_from, ready))
    families = {name.partition("/")[0] for name in KNOWN}
    for info in sorted(path for depth in ("*", "*/*") for path in data_dir.glob(f"{depth}/*.*.*/dataset_info.json")):
        name = str(info.parent.parent.relative_to(data_dir))
        if name not in KNOWN and name.partition("/")[0] not in families:
            rows.append((name, None, None, None, "", "TFDS", str(info.parent)))
    return rows


def prepare(name: str, origin: Path | None, data_dir: Path) -> Path:
    """Prepare the data set `name` in `data_dir`, from its archive or by downloading it, and return where it is.

    Raises:
        FrepoError: it cannot be prepared, and why.
        SpecError: there is no such data set.
        Interrupted: a signal came; nothing is left of the attempt.
    """
    if name in ("digits", "image_folder"):
        raise FrepoError(f"'{name}' needs no preparation")
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
        raise FrepoError(f"'{name}' could not be prepared in {data_dir}: {error}; nothing is left of it") from None
    from frepo.data.tfds import prepare_tfds

    return prepare_tfds(name, data_dir)


def _tfds_directory(name: str, data_dir: Path) -> Path | None:
    found = sorted((data_dir / name).glob("*.*.*/dataset_info.json"))
    return found[-1].parent if found else None
