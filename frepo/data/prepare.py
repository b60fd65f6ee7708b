"""Preparing data sets: from the publisher's files, fetched or at hand, from the Hub, or through TFDS."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from frepo.data.fetch.lock import alone
from frepo.data.fetch.publishers import ARCHIVES, PUBLISHED
from frepo.data.sources.arrays import write_arrays
from frepo.data.sources.known import KNOWN, comes_from
from frepo.data.sources.places import INDEX, elsewhere, misplaced_version, own_directory, prepared_in
from frepo.data.sources.prepared import prepare_own
from frepo.errors import FrepoError, SpecError
from frepo.progress import note, warn
from frepo.rundir.files import rename_damaged
from frepo.signals import stop_on_signals
from frepo.spec import Dataset
from frepo.spec.names import must_be_known

OWN = ("publisher", "archive")
"""Where data sets come from that are prepared here, without TFDS."""


def prepare(name: str, origin: Path | None, data_dir: Path, fields: Mapping[str, str] = MappingProxyType({})) -> Path:
    """Prepare the data set `name` in `data_dir`, from the publisher's files or by download, and return its directory.

    `origin` is a file, an archive or a folder of them. `fields` of the table `[dataset]` say what of a data set of the
    Hub is fetched.

    Raises:
        FrepoError: it cannot be prepared; the message says why.
        SpecError: there is no such data set.
        Interrupted: a signal came; nothing is half prepared, and what was downloaded is kept.
    """
    if name in ("digits", "image_folder", "parquet"):
        raise FrepoError(f"'{name}' needs no preparation")
    if advice := misplaced_version(name):
        raise SpecError(f"there is no data set '{name}'. {advice}")
    try:
        must_be_known(name)
    except ValueError as error:
        raise SpecError(str(error)) from None
    if comes_from(name) == "Hub":
        return _prepare_of_hub(name, origin, data_dir, fields)
    if fields:
        options = ", ".join(f"--{field.replace('_', '-')}" for field in fields)
        raise SpecError(f"{options}: for data sets of the Hugging Face Hub only, hf://OWNER/NAME")
    if comes_from(name) in OWN:
        if there := prepared_in(name, data_dir):
            raise FrepoError(f"data set '{name}' is prepared already in {there}; remove that to prepare it again")
        with stop_on_signals():
            return _prepare_own(name, origin, data_dir)
    if origin is not None:
        ours = ", ".join(known for known in KNOWN if comes_from(known) in OWN)
        raise FrepoError(f"--from is for {ours}; TFDS downloads '{name}' itself")
    from frepo.data.sources.tfds import prepare_tfds

    return prepare_tfds(name, data_dir)


def _prepare_of_hub(name: str, origin: Path | None, data_dir: Path, fields: Mapping[str, str]) -> Path:
    from frepo.data.fetch.hub_files import prepare_hub

    if origin is not None:
        raise SpecError("--from: parquet files at hand need no preparation: name = 'parquet' with path = 'FOLDER'")
    return prepare_hub(name, fields, data_dir)


def fetch_missing(table: Dataset, data_dir: Path) -> None:
    """Fetch and prepare the data set that `table` names if it can be fetched and is not there.

    One that is prepared in a directory nearby is left to the error that names this directory.

    Raises:
        FrepoError: it cannot be fetched.
        Interrupted: a signal came; inside `stop_on_signals` only, which is the caller's.
    """
    if comes_from(table.name) == "Hub":
        from frepo.data.fetch.hub_files import fetch_hub

        fetch_hub(table, data_dir)
        return
    name = table.name
    unusable = data_dir.exists() and not data_dir.is_dir()
    if name in PUBLISHED and not unusable and not prepared_in(name, data_dir) and elsewhere(data_dir, [name]) is None:
        note(f"{name} is not in {data_dir} and is fetched now, once (--offline forbids it)")
        _prepare_own(name, None, data_dir)


def _prepare_own(name: str, origin: Path | None, data_dir: Path) -> Path:
    """Return the directory of the data set, which another process may have prepared in the meantime."""
    directory = own_directory(name, data_dir)
    if directory.exists() and not (directory / INDEX).is_file():  # it comes into being with all that it holds
        aside = rename_damaged(directory)
        warn(f"{directory} is damaged: it has no {INDEX}; set aside as {aside.name}, to be prepared again")
    if origin is not None and not origin.exists():
        raise FrepoError(f"--from {origin}: there is no such file or folder")
    known = KNOWN[name]
    note(f"{name}: licence: {known.licence}; to cite: {known.citation}")
    if origin is None and name not in PUBLISHED:
        raise FrepoError(
            f"'{name}' has no published digest and is not fetched: get {ARCHIVES[name]}, then: frepo data prepare "
            f"{name} --from ARCHIVE"
        )
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        return _fetched(name, data_dir) if origin is None else _from_files(name, [origin], data_dir)
    except OSError as error:
        raise FrepoError(f"'{name}' could not be prepared in {data_dir}: {error}; the attempt left nothing") from None


def _from_files(name: str, paths: list[Path], data_dir: Path) -> Path:
    if comes_from(name) == "archive":
        return prepare_own(name, paths[0], data_dir)
    from frepo.data.fetch.readers import read_published  # not before: SciPy and DuckDB take half a second

    note(f"reading {name}")
    return write_arrays(name, read_published(name, paths), data_dir)


def _fetched(name: str, data_dir: Path) -> Path:
    """Download into a folder of `data_dir`, which is removed once the data set is prepared."""
    from frepo.data.fetch.obtain import obtain

    folder = data_dir / "downloads" / "frepo" / name
    with alone(folder.with_name(f"{name}.lease")):
        there = own_directory(name, data_dir).exists()  # by another process, in the meantime
        if not there and not _taken_from_a_cache(name, data_dir):
            _from_files(name, obtain(name, folder), data_dir)
        shutil.rmtree(folder, ignore_errors=True)
    return own_directory(name, data_dir)


def _taken_from_a_cache(name: str, data_dir: Path) -> bool:
    """Prepare the data set from files that Keras or torchvision has downloaded, if they are there and whole."""
    from frepo.data.fetch.caches import downloaded
    from frepo.data.fetch.readers import read_published

    known = KNOWN[name]
    for place in downloaded(name):
        try:
            found = read_published(name, [place])
        except FrepoError as error:
            note(f"{place} is passed over: {error}")
            continue
        if (len(found.train_labels), len(found.test_labels)) == (known.train, known.test):
            note(f"{name} is taken from {place}, where it was downloaded before")
            write_arrays(name, found, data_dir)
            return True
        note(f"{place} is passed over: it has not the {known.train:,} and {known.test:,} images of {name}")
    return False
