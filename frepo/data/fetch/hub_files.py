"""The files of a data set of the Hub, fetched into the data directory where they are not there."""

import re
from collections.abc import Mapping
from pathlib import Path

from frepo.data.fetch.hub import NEWEST, TOKEN, index_of, newest_commit, remotes
from frepo.data.fetch.lock import alone
from frepo.data.fetch.obtain import mirrored_first, obtain_from
from frepo.data.sources.hub import HubIndex, choose_files, is_there, read_index
from frepo.data.sources.places import HUB_FOLDER, INDEX, hub_directory
from frepo.errors import FrepoError
from frepo.progress import note, warn
from frepo.rundir.files import rename_damaged
from frepo.signals import stop_on_signals
from frepo.spec import Dataset
from frepo.spec.dataset import COMMIT
from frepo.spec.names import HUB


def prepare_hub(name: str, fields: Mapping[str, str], data_dir: Path) -> Path:
    """Fetch the data set `name` of the Hub and return its directory; without a `revision` the newest commit is taken.

    `fields` are those of the table `[dataset]`, but `revision` may be a branch or a tag. The lines that a spec needs
    for it are said.

    Raises:
        FrepoError: it cannot be fetched.
        Interrupted: a signal came; what arrived is kept.
    """
    with stop_on_signals():
        asked = fields.get("revision", NEWEST)
        revision = asked if re.fullmatch(COMMIT, asked) else newest_commit(name, asked)
        given = {**fields, "name": name, "revision": revision}
        fetch_hub(Dataset.model_validate(given), data_dir)
    note("\n".join(["for a spec:", "[dataset]", *(f'{field} = "{value}"' for field, value in sorted(given.items()))]))
    return hub_directory(name, revision, data_dir)


def fetch_hub(table: Dataset, data_dir: Path) -> None:
    """Fetch those files that `table` names which are not there.

    Raises:
        FrepoError: the Hub has no such data set, commit, config or split, or does not give the files.
        Interrupted: a signal came; inside `stop_on_signals` only, which is the caller's.
    """
    assert table.revision is not None
    directory = hub_directory(table.name, table.revision, data_dir)
    index = _intact_index(directory)
    if index is not None and all(is_there(directory, file) for file in choose_files(table, index)[1]):
        return
    short = table.name.removeprefix(HUB)
    try:
        with alone(data_dir / "downloads" / "frepo" / HUB_FOLDER / f"{short}.lease"):
            _fetch(table, directory)
    except OSError as error:
        raise FrepoError(f"'{table.name}' could not be fetched into {directory}: {error}") from None


def _intact_index(directory: Path) -> HubIndex | None:
    """Return the index in `directory`, or None; one that is damaged is set aside, with a warning."""
    try:
        return read_index(directory)
    except FrepoError as error:
        aside = rename_damaged(directory / INDEX)
        warn(f"{error}: set aside as {aside.name}")
        return None


def _fetch(table: Dataset, directory: Path) -> None:
    index = read_index(directory)
    if index is None:
        assert table.revision is not None
        note(f"{table.name} is not in {directory} and is fetched now, once (--offline forbids it)")
        index = index_of(table.name, table.revision)
        choose_files(table, index)
        index.write(directory)
    _obtain(table, index, directory)


def _obtain(table: Dataset, index: HubIndex, directory: Path) -> None:
    missing = [file for file in choose_files(table, index)[1] if not is_there(directory, file)]
    if not missing:  # another process has fetched them in the meantime
        return
    assert table.revision is not None
    note(f"{table.name}: licence: {index.licence or 'none stated'}; to cite: {index.citation or 'nothing stated'}")
    folder = f"{HUB_FOLDER}/{table.name.removeprefix(HUB)}/{table.revision}"
    sources = mirrored_first([remotes(table.name, table.revision, missing)], folder)
    obtain_from(sources, table.name, directory, f"set {TOKEN}, which files of private and gated data sets need")
