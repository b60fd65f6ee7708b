"""TFRecord files, read without TensorFlow."""

import struct
from dataclasses import dataclass
from pathlib import Path

from frepo.errors import FrepoError

HEADER = struct.Struct("<QI")
"""Length of the payload and the checksum of the length; the payload and its checksum follow."""
FOOTER_BYTES = 4


@dataclass(frozen=True)
class Records:
    """Where the records of some files start and how long they are."""

    places: tuple[tuple[Path, int, int], ...]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> bytes:
        path, start, length = self.places[index]
        with path.open("rb") as file:
            file.seek(start)
            return file.read(length)

    def __getitems__(self, indices: list[int]) -> list[bytes]:
        return [self[index] for index in indices]


def find_records(paths: list[Path]) -> Records:
    """Return the records of `paths`, in order.

    Raises:
        FrepoError: a file ends in the middle of a record, or is none of TFRecords.
    """
    places: list[tuple[Path, int, int]] = []
    for path in paths:
        size, position = path.stat().st_size, 0
        with path.open("rb") as file:
            while position < size:
                file.seek(position)
                header = file.read(HEADER.size)
                length = HEADER.unpack(header)[0] if len(header) == HEADER.size else size
                end = position + HEADER.size + length + FOOTER_BYTES
                if end > size:
                    raise FrepoError(f"{path} ends in the middle of a record at byte {position}; prepare it again")
                places.append((path, position + HEADER.size, length))
                position = end
    return Records(tuple(places))
