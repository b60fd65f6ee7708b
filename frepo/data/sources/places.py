"""Locations of prepared data sets below a data directory, and suggestions if one is missing."""

import difflib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from frepo.data.sources.known import KNOWN, comes_from
from frepo.errors import FrepoError
from frepo.reading import read_regular
from frepo.spec.names import HUB

INDEX = "index.json"
"""Written last when a data set is prepared from its publisher's files."""
LARGEST_INDEX = 2**27
"""Bytes; that of Tiny ImageNet names 110,000 files."""
HUB_FOLDER = "hf"
VERSION = re.compile(r"\d+\.\d+\.\d+")


def index_content(directory: Path) -> Any:
    """Return the JSON of the index of a prepared data set.

    Raises:
        FileNotFoundError, NotADirectoryError: there is none.
        ValueError: it is damaged.
        FrepoError: it cannot be read.
    """
    try:
        return json.loads(read_regular(directory / INDEX, LARGEST_INDEX))
    except RecursionError:
        raise ValueError("it goes too deep") from None
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise FrepoError(f"{directory / INDEX} cannot be read ({error.strerror})") from None


def own_directory(name: str, data_dir: Path) -> Path:
    """Return the directory of the data set `name` when it is prepared from its publisher's files."""
    return data_dir / name / "frepo"


def hub_directory(name: str, revision: str, data_dir: Path) -> Path:
    """Return the directory of a data set `hf://OWNER/NAME` at a commit."""
    return data_dir.joinpath(HUB_FOLDER, *name.removeprefix(HUB).split("/"), revision)


def prepared_in(name: str, data_dir: Path) -> Path | None:
    """Return the directory that the data set `name` is read from; None if it is not prepared in `data_dir`.

    What TFDS has prepared comes first, its newest version; data sets that come as an archive are not read from it.
    """
    if comes_from(name) != "archive" and (there := versions(data_dir / name)):
        return there[-1]
    own = own_directory(name, data_dir)
    return own if (own / INDEX).is_file() else None


def versions(directory: Path) -> list[Path]:
    """Return the versions of a data set or configuration that TFDS has prepared in `directory`; the newest is last."""
    found = [path.parent for path in directory.glob("*.*.*/dataset_info.json") if VERSION.fullmatch(path.parent.name)]
    return sorted(found, key=lambda path: [int(part) for part in path.name.split(".")])


def must_be_readable(data_dir: Path, advice: str) -> None:
    """Raise an error if the data directory is none.

    Raises:
        FrepoError: it does not exist or cannot be read; the message ends with `advice`.
    """
    if not (data_dir.is_dir() and os.access(data_dir, os.R_OK | os.X_OK)):
        reason = "is not a directory that can be read" if data_dir.exists() else "does not exist"
        raise FrepoError(f"the data directory {data_dir} {reason}; name another with --data-dir.\n{advice}")


def names_in(data_dir: Path) -> list[str]:
    """Return the names of all data sets prepared in `data_dir`, sorted, with their configurations."""
    infos = [*data_dir.glob("*/*.*.*/dataset_info.json")]
    infos += [info for info in data_dir.glob("*/*/*.*.*/dataset_info.json") if _is_of_configuration(info)]
    names = {str(info.parents[1].relative_to(data_dir)) for info in infos if VERSION.fullmatch(info.parent.name)}
    return sorted(names | {index.parents[1].name for index in data_dir.glob(f"*/frepo/{INDEX}")})


def _is_of_configuration(info: Path) -> bool:
    """Return whether a file two levels down belongs to a configuration, not to a data set in another data directory."""
    try:
        return json.loads(info.read_text())["name"] == info.parents[2].name
    except (OSError, ValueError, TypeError, KeyError):
        return False


def not_there(name: str, data_dir: Path) -> str:
    """Return sentences that say that a data set is not prepared in `data_dir`, and what is there instead."""
    return " ".join([f"data set '{name}' is not prepared in {data_dir}.", *_near(name, data_dir)])


def elsewhere(data_dir: Path, names: Iterable[str] = KNOWN) -> tuple[Path, list[str]] | None:
    """Return a directory one or two levels above `data_dir`, or one below, with those of `names` prepared in it."""
    places = [*data_dir.absolute().parents[:2], *sorted(data_dir.glob("*/"))]
    found = ((place, [name for name in names if _holds(place, name)]) for place in places)
    return next((there for there in found if there[1]), None)


def _holds(place: Path, name: str) -> bool:
    try:
        return prepared_in(name, place) is not None
    except OSError:  # without permission to read it
        return False


def near_name(name: str, known: Iterable[str]) -> str:
    """Return a question for the name in `known` that is similar to `name`, or an empty text."""
    near = difflib.get_close_matches(name.lower(), sorted(known), n=1, cutoff=0.6)
    return f"Did you mean '{near[0]}'?" if near else ""


def misplaced_version(name: str) -> str:
    """Return advice if `name` has a version in place of a configuration, else an empty text."""
    head, _, tail = name.partition("/")
    return f"A version comes after a colon: '{head}:{tail}'." if VERSION.fullmatch(tail) else ""


def _near(name: str, data_dir: Path) -> list[str]:
    family = name.partition(":")[0]
    if advice := misplaced_version(name):
        return [advice]
    if there := versions(data_dir / family):
        return [f"There is version {', '.join(path.name for path in there)} of it."]
    if configurations := [known for known in names_in(data_dir) if known.startswith(f"{family}/")]:
        return [f"There is {', '.join(configurations)}."]
    if other := elsewhere(data_dir, [family]):
        return [f"It is in {other[0]}: --data-dir {other[0]}."]
    return list(filter(None, [near_name(family, {*KNOWN, *names_in(data_dir)} - {family})]))
