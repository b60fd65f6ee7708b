"""Publishers' files in a folder or an archive, found by their names whatever folders they lie in."""

import gzip
import re
import tarfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from frepo.errors import FrepoError

ARCHIVES = (".tar.gz", ".tgz", ".tar")
GZIP = b"\x1f\x8b"
AT_ONCE = 2**20
DAMAGED = (tarfile.TarError, EOFError, OSError, zlib.error)


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
            _add(places, str(path.parent), path.name, wanted, path.read_bytes)
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
            with tarfile.open(fileobj=stream, mode="r|") as opened:
                for member in opened:
                    if member.isfile() and wanted.fullmatch(_plain(member.name)):
                        contents[member.name] = cast("IO[bytes]", opened.extractfile(member)).read()
            while stream.read(AT_ONCE):
                pass
            return contents
    except DAMAGED as error:
        raise FrepoError(f"{archive} cannot be read ({error}); an intact tar archive is needed") from None


def _plain(name: str) -> str:
    return Path(name).name.removesuffix(".gz")


def _unzipped(where: str, name: str, read: Callable[[], bytes]) -> Callable[[], bytes]:
    def unzip() -> bytes:
        try:
            return gzip.decompress(read())
        except DAMAGED as error:
            raise FrepoError(f"{where}/{name} cannot be unpacked ({error})") from None

    return unzip
