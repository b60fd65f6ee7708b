"""Publishers' files in a folder or an archive, found by their names whatever folders they lie in."""

import gzip
import io
import re
import tarfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from frepo.data.sources.unpack import InParts
from frepo.errors import FrepoError
from frepo.reading import read_regular

ARCHIVES = (".tar.gz", ".tgz", ".tar")
GZIP = b"\x1f\x8b"
AT_ONCE = 2**20
LARGEST = 2**28
"""Bytes of a file, and of all files that are taken from an archive, unpacked; the largest, SVHN's, has 225 MB."""
DAMAGED = (tarfile.TarError, EOFError, OSError, zlib.error, ValueError, OverflowError)


@dataclass(frozen=True)
class Found:
    """All files of one layout, in one folder or archive."""

    where: str
    files: dict[str, Callable[[], bytes]]
    """By plain name: without folders and without `.gz`."""


def find(paths: Iterable[Path], wanted: re.Pattern[str], enough: int) -> list[Found]:
    """Return folders and archives among `paths`, or below folders of them, with `enough` files whose names match.

    Raises:
        FrepoError: an archive is damaged.
    """
    places: dict[str, dict[str, Callable[[], bytes]]] = {}
    for path in files_below(paths):
        if path.name.endswith(ARCHIVES):
            for member, content in _read_archive(path, wanted).items():
                _add(places, f"{path}/{Path(member).parent}", Path(member).name, wanted, partial(bytes, content))
        else:
            _add(places, str(path.parent), path.name, wanted, partial(_read_file, path))
    return [Found(where, files) for where, files in places.items() if len(files) >= enough]


def files_below(paths: Iterable[Path]) -> list[Path]:
    """Return the files among `paths` and, sorted, below the folders among them."""
    found: list[Path] = []
    for path in paths:
        found += sorted(inner for inner in path.rglob("*") if inner.is_file()) if path.is_dir() else [path]
    return found


def _add(
    places: dict[str, dict[str, Callable[[], bytes]]],
    where: str,
    name: str,
    wanted: re.Pattern[str],
    read: Callable[[], bytes],
) -> None:
    plain = _plain(name)
    if wanted.fullmatch(plain):
        places.setdefault(where, {}).setdefault(plain, read if plain == name else _unzipped(where, name, read))


def _read_archive(archive: Path, wanted: re.Pattern[str]) -> dict[str, bytes]:
    """Return the content of members whose plain names match.

    All of the archive is read, as its checksum is last, and only once: to go back would unpack it again.
    """
    try:
        with archive.open("rb") as file:
            zipped = file.read(2) == GZIP
            file.seek(0)
            stream: Any = gzip.GzipFile(fileobj=file) if zipped else file
            contents: dict[str, bytes] = {}
            left = LARGEST
            with tarfile.open(fileobj=cast("IO[bytes]", InParts(stream)), mode="r:") as opened:
                for member in opened:
                    if member.isfile() and wanted.fullmatch(_plain(member.name)):
                        contents[member.name] = _read(cast("IO[bytes]", opened.extractfile(member)), left)
                        left -= len(contents[member.name])
                    opened.members.clear()  # pyright: ignore[reportAttributeAccessIssue] (a million take a GB; links need it)
            while stream.read(AT_ONCE):
                pass
            return contents
    except DAMAGED as error:
        raise FrepoError(f"{archive} cannot be read ({error}); an intact tar archive is needed") from None


def _read(file: IO[bytes] | gzip.GzipFile, most: int) -> bytes:
    """Return what a file holds, piece by piece.

    Raises:
        ValueError: it is more than `most` bytes.
    """
    parts: list[bytes] = []
    while part := file.read(AT_ONCE):
        parts.append(part)
        most -= len(part)
        if most < 0:
            raise ValueError("it is too large")
    return b"".join(parts)


def _read_file(path: Path) -> bytes:
    try:
        return read_regular(path, LARGEST)
    except OSError as error:
        raise FrepoError(f"{path} cannot be read: {error.strerror}") from None


def _plain(name: str) -> str:
    return Path(name).name.removesuffix(".gz")


def _unzipped(where: str, name: str, read: Callable[[], bytes]) -> Callable[[], bytes]:
    def unzip() -> bytes:
        try:
            return _read(gzip.GzipFile(fileobj=io.BytesIO(read())), LARGEST)
        except DAMAGED as error:
            raise FrepoError(f"{where}/{name} cannot be unpacked ({error})") from None

    return unzip
