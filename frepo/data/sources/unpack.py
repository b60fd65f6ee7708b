"""Archives of strangers, unpacked: nothing outside of the folder, and no more than data sets have."""

import bz2
import errno
import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, cast

from frepo.errors import FrepoError
from frepo.progress import note
from frepo.signals import raise_if_stopping

LARGEST_RATIO = 20
"""Of the bytes of all members to those of the archive: images are compressed already."""
ALWAYS = 2**28
"""Bytes that members may have whatever the archive has."""
MOST_MEMBERS = 2**21
MOST_AT_ONCE = 2**22
"""Bytes that are read of an archive together: names and attributes of a member are no longer."""
COMPRESSED: dict[bytes, Callable[[Any], Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
"""What reads a compressed file, by how it begins."""
DAMAGED = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    *(EOFError, ValueError, RuntimeError, LookupError, OverflowError),
)
"""Exceptions of damaged and encrypted archives."""


def unpack(archive: Path, into: Path) -> Path:
    """Unpack a zip or tar archive and return the folder `into`.

    Raises:
        FrepoError: it is damaged, encrypted or too large, or has a member that would lie elsewhere.
        Interrupted: a signal came.
    """
    note(f"unpacking {archive}")
    try:
        (_unzip if zipfile.is_zipfile(archive) else _untar)(archive, into)
    except DAMAGED as error:
        raise _unusable(archive, error) from None
    except OSError as error:  # names that no file system takes, among others
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise _unusable(archive, error) from None
    return into


def _unusable(archive: Path, error: Exception) -> FrepoError:
    return FrepoError(f"{archive} cannot be unpacked ({error}); an intact zip or tar archive is needed")


def _unzip(archive: Path, into: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        members = opened.infolist()
        _must_be_few(archive, len(members), sum(member.file_size for member in members))
        for member in members:
            raise_if_stopping()
            opened.extract(member, into)  # zipfile keeps names inside the folder, and to the stated size


def _untar(archive: Path, into: Path) -> None:
    with archive.open("rb") as file:
        start = file.read(len(max(COMPRESSED, key=len)))
        file.seek(0)
        unpacked = next((opener(file) for magic, opener in COMPRESSED.items() if start.startswith(magic)), file)
        with unpacked, tarfile.open(fileobj=cast("IO[bytes]", InParts(unpacked)), mode="r:") as opened:
            count = size = 0
            for member in opened:
                raise_if_stopping()
                count, size = count + 1, size + member.size
                _must_be_few(archive, count, size)
                if not member.isfile() and not member.isdir():
                    raise ValueError(f"{member.name[:100]!a} is neither a file nor a folder")
                opened.extract(member, into, filter="data")
                opened.members.clear()  # pyright: ignore[reportAttributeAccessIssue] (a million take a GB; links need it)


def _must_be_few(archive: Path, count: int, size: int) -> None:
    most = ALWAYS + LARGEST_RATIO * archive.stat().st_size
    if count > MOST_MEMBERS or size > most:
        raise ValueError(f"it has more than {MOST_MEMBERS:,} members, or unpacked more than {most:,} bytes")


class InParts:
    """A tar archive of which nobody reads much at once: a header may say that its name has gigabytes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        if not 0 <= size <= MOST_AT_ONCE:
            raise ValueError("a member has a header of too many bytes")
        return self._file.read(size)
