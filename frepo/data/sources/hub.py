"""Data sets of the Hugging Face Hub below a data directory: a folder for each commit, with an index of its files.

The index states all parquet files of the commit, the folder holds those that were fetched, each in place only when
whole.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from frepo.data.sources.places import HUB_FOLDER, INDEX, hub_directory, index_content
from frepo.data.sources.source import Examples, Source
from frepo.data.sources.splits import Chosen, choose
from frepo.errors import FrepoError
from frepo.reading import is_inside
from frepo.rundir.files import make_directories, rename_damaged, sha256_of_file, write_atomically
from frepo.spec import Dataset
from frepo.spec.names import HUB


@dataclass(frozen=True)
class HubFile:
    """A file as the Hub states it."""

    path: str
    """Within the data set, with slashes."""
    size: int
    """Bytes."""
    sha256: str


@dataclass(frozen=True)
class HubIndex:
    """What the Hub states of a data set at one commit."""

    licence: str
    citation: str
    files: tuple[HubFile, ...]
    """Its parquet files."""

    def write(self, directory: Path) -> None:
        """Write the index into `directory`, which comes into being.

        Raises:
            OSError: the disk is full.
        """
        make_directories(directory)
        write_atomically(directory / INDEX, json.dumps(asdict(self)).encode())


def read_index(directory: Path) -> HubIndex | None:
    """Return the index in `directory`; None if there is none.

    Raises:
        FrepoError: it is damaged.
    """
    try:
        content = index_content(directory)
        files = tuple(HubFile(str(file["path"]), int(file["size"]), str(file["sha256"])) for file in content["files"])
        if outside := [file.path for file in files if not is_inside(file.path)]:
            raise ValueError(f"{outside[0][:100]!a} is no path inside of it")
        return HubIndex(str(content["licence"]), str(content["citation"]), files)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise FrepoError(
            f"{directory / INDEX} is damaged ({error}); `frepo run` fetches it again unless --offline forbids it"
        ) from None


def choose_files(table: Dataset, index: HubIndex) -> tuple[Chosen, list[HubFile]]:
    """Return the files that `table` names by its config and splits, by split and as the Hub states them.

    Raises:
        FrepoError: there are none, or not these.
    """
    chosen = choose([file.path for file in index.files], table, f"{table.name} at commit {table.revision}")
    wanted = set(chosen.paths)
    return chosen, [file for file in index.files if file.path in wanted]


def is_there(directory: Path, file: HubFile) -> bool:
    """Return whether a file is in the directory of its data set."""
    path = directory / file.path
    return path.is_file() and path.stat().st_size == file.size


def hub_source(table: Dataset, data_dir: Path) -> Source:
    """Return the data set of the Hub that `table` names, from the files that were fetched.

    Raises:
        FrepoError: files are missing or damaged, or the table does not say which to take.
    """
    from frepo.data.sources.parquet import parquet_source  # not before: DuckDB takes a while

    assert table.revision is not None
    directory = hub_directory(table.name, table.revision, data_dir)
    index = read_index(directory)
    advice = f"`frepo run` fetches it unless --offline forbids it; ahead of time: {how_to_prepare(table)}"
    if index is None:
        raise FrepoError(f"{table.name} at commit {table.revision} is not in {data_dir}; {advice}")
    chosen, files = choose_files(table, index)
    missing = [file.path for file in files if not is_there(directory, file)]
    if missing:
        raise FrepoError(f"{directory} lacks {len(missing)} of {len(files)} files, first {missing[0]}; {advice}")
    source = parquet_source(table, directory, chosen, [[file.path, file.sha256] for file in files])

    def checked() -> tuple[Examples, Examples | None]:
        for file in files:
            path = directory / file.path
            if sha256_of_file(path) != file.sha256:
                aside = rename_damaged(path)
                raise FrepoError(
                    f"{path} is damaged: its SHA-256 is not that of the Hub; set aside as {aside.name}: the same "
                    "command again fetches it, unless --offline forbids it"
                )
        return source.open()

    return replace(source, open=checked)


def how_to_prepare(table: Dataset) -> str:
    """Return the command that fetches what `table` names."""
    fields = ("revision", "config", "train_split", "test_split")
    given = ((field, getattr(table, field)) for field in fields)
    options = [f"--{field.replace('_', '-')} {value}" for field, value in given if value is not None]
    return " ".join(["frepo data prepare", table.name, *options])


def hub_sets(data_dir: Path) -> list[tuple[str, str, str, Path]]:
    """Return name, licence, citation and directory of each data set of the Hub in `data_dir`, sorted."""
    found: list[tuple[str, str, str, Path]] = []
    for path in sorted(data_dir.glob(f"{HUB_FOLDER}/*/*/*/{INDEX}")):
        index = read_index(path.parent)
        owner, name, _ = path.parent.relative_to(data_dir / HUB_FOLDER).parts
        licence, citation = (index.licence, index.citation) if index else ("", "")
        found.append((f"{HUB}{owner}/{name}", licence, citation, path.parent))
    return found
