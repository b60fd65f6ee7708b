"""Names of classes, as file systems and other formats can hold them."""

import re
import unicodedata
from collections.abc import Callable, Iterable

LONGEST = 60
"""Characters of a folder's name: no file system takes more than 255 bytes."""
DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that Windows keeps for itself."""


def folder_names(class_names: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """Return a name for each class that every file system takes and that no other class and none of `taken` has.

    Letters of any script, digits, spaces and `._+-` are kept, all else becomes `_`.
    """
    return distinct((_folder_name(*entry) for entry in enumerate(class_names)), taken, key=str.casefold)


def _folder_name(label: int, class_name: str) -> str:
    kept = re.sub(r"[^\w .+-]", "_", unicodedata.normalize("NFC", class_name)).strip(" .")[:LONGEST].strip(" .")
    return f"class {label}" if not kept.strip("_ ") else f"_{kept}" if DEVICES.fullmatch(kept) else kept


def label_names(class_names: tuple[str, ...]) -> list[str]:
    """Return the names as TFDS and the Hub store them, each on a line: without line breaks, not empty, none twice."""
    lines = (" ".join(name.encode("utf-8", "backslashreplace").decode().split()) for name in class_names)
    return distinct(line or f"class {label}" for label, line in enumerate(lines))


def distinct(wanted: Iterable[str], taken: Iterable[str] = (), key: Callable[[str], str] = str) -> list[str]:
    """Return the names, numbered from 2 on where one before, or one of `taken`, is the same by `key`."""
    used = {key(name) for name in taken}
    names: list[str] = []
    for base in wanted:
        name, number = base, 1
        while key(name) in used:
            number += 1
            name = f"{base} {number}"
        used.add(key(name))
        names.append(name)
    return names
