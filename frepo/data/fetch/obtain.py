"""The files of a data set from whichever source gives them: the mirror, then the publishers' addresses in turn."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urlsplit

from frepo.data.fetch.download import Remote, SlowSourceError, download
from frepo.data.fetch.publishers import PUBLISHED, Source
from frepo.data.fetch.request import DownloadError
from frepo.errors import FrepoError
from frepo.progress import note

MIRROR = "FREPO_MIRROR"
"""Environment variable: the address of a folder with NAME/FILE for each data set, tried before all others."""


def mirrored_first(published: Sequence[Source], folder: str) -> list[Source]:
    """Return sources in the order in which they are tried: the same files in a `folder` of the mirror before all."""
    mirror = os.environ.get(MIRROR, "").rstrip("/")
    if not mirror:
        return list(published)
    base = f"{mirror}/{folder}"
    return [*(tuple(_mirrored(remote, base) for remote in source) for source in published), *published]


def _mirrored(remote: Remote, base: str) -> Remote:
    return replace(remote, url=f"{base}/{quote(remote.name)}", token="")


def obtain(name: str, into: Path) -> list[Path]:
    """Fetch the published files of the data set `name` into a directory, and return their paths.

    Raises:
        FrepoError: as `obtain_from`.
        Interrupted: likewise.
    """
    elsewhere = f"get the files elsewhere: frepo data prepare {name} --from FILES"
    return obtain_from(mirrored_first(PUBLISHED[name], name), name, into, elsewhere)


def obtain_from(sources: list[Source], name: str, into: Path, advice: str) -> list[Path]:
    """Fetch the files of the data set `name` into a directory, and return their paths.

    A source that fails is followed by the next. One that is slow is left for the others, and taken if these fail.

    Raises:
        FrepoError: no source gives the files, or the disk is full; bytes that arrived are kept. The message ends with
            `advice`.
        Interrupted: a signal came; likewise.
    """
    into.mkdir(parents=True, exist_ok=True)
    left, problems = sources, list[str]()
    hurry = len(left) > 1
    while left:
        slow: list[Source] = []
        for source in left:
            try:
                return _all_of(source, into, hurry)
            except SlowSourceError as error:
                slow.append(source)
                note(f"{error}; trying another source")
            except DownloadError as error:
                problems.append(str(error))
                note(str(error))
        left, hurry = slow, False
    raise FrepoError(
        "\n  ".join([f"'{name}' could not be fetched; what arrived is kept in {into}:", *dict.fromkeys(problems)])
        + f"\nTry again, set {MIRROR} to a mirror, or {advice}"
    )


def _all_of(source: Source, into: Path, hurry: bool) -> list[Path]:
    note(f"fetching {megabytes(source):,.1f} MB from {urlsplit(source[0].url).netloc}")
    return [download(remote, into, hurry=hurry) for remote in source]


def megabytes(source: Sequence[Remote]) -> float:
    """Return the size of a source."""
    return sum(remote.size for remote in source) / 1e6
