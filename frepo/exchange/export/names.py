"""Names that differ."""

from collections.abc import Callable, Iterable


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
