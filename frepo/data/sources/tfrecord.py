"""TFRecord files, read without TensorFlow and verified by their checksums."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from frepo.data.sources.crc32c import crc32c
from frepo.errors import FrepoError

HEADER = struct.Struct("<QI")
"""Length of the payload and checksum of the length; the payload and its checksum follow."""
FOOTER = struct.Struct("<I")
LENGTH_BYTES = 8

Place = tuple[Path, int, int]
"""File of a record, and offset and length of its payload."""


@dataclass(frozen=True)
class Records:
    """Locations of the records of several files."""

    places: tuple[Place, ...]

    def __len__(self) -> int:
        return len(self.places)

    def __getitems__(self, indices: list[int]) -> list[bytes]:
        """Return the payloads of some records; verifying many at once is a hundred times faster than one by one.

        Raises:
            FrepoError: a record does not match its checksum.
        """
        read = [self._read(index) for index in indices]
        _must_be_intact(
            [payload for payload, _ in read],
            [checksum for _, checksum in read],
            [self.places[index][:2] for index in indices],
        )
        return [payload for payload, _ in read]

    def _read(self, index: int) -> tuple[bytes, int]:
        path, start, length = self.places[index]
        with path.open("rb") as file:
            file.seek(start)
            content = file.read(length + FOOTER.size)
        return content[:length], FOOTER.unpack(content[length:])[0]


def find_records(path: Path) -> list[Place]:
    """Return the records of a file, in order.

    Raises:
        FrepoError: the file ends in the middle of a record, a length does not match its checksum, or the file is not a
            TFRecord file.
    """
    places: list[Place] = []
    lengths: list[bytes] = []
    checksums: list[int] = []
    size, position = path.stat().st_size, 0
    with path.open("rb") as file:
        while position < size:
            file.seek(position)
            header = file.read(HEADER.size)
            length, checksum = HEADER.unpack(header) if len(header) == HEADER.size else (size, 0)
            end = position + HEADER.size + length + FOOTER.size
            if end > size:
                raise FrepoError(f"{path} ends in the middle of a record at byte {position}; prepare it again")
            places.append((path, position + HEADER.size, length))
            lengths.append(header[:LENGTH_BYTES])
            checksums.append(checksum)
            position = end
    _must_be_intact(lengths, checksums, [place[:2] for place in places])
    return places


def _must_be_intact(contents: Sequence[bytes], stored: Sequence[int], places: Sequence[tuple[Path, int]]) -> None:
    found = crc32c(contents)
    masked = (found >> 15 | found << 17) + np.uint32(0xA282EAD8)  # TFRecord's mask of checksums
    wrong = np.flatnonzero(masked != np.array(stored, np.uint32))
    if len(wrong):
        path, start = places[int(wrong[0])]
        raise FrepoError(
            f"{path} is damaged: the record at byte {start - HEADER.size} does not match its checksum; prepare the "
            "data set again"
        )
