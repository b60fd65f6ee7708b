"""The interface of sources: examples that are read one by one, however they are stored."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

AT_ONCE = 1024
"""Number of examples fetched together."""
MOST_CLASSES = 2**20


@dataclass(frozen=True)
class Examples:
    """One split. Reading has two parts: some stores are fast only in batches, and decoding can be shared by threads."""

    count: int
    fetch: Callable[[list[int]], Sequence[Any]]
    """Positions -> stored records."""
    decode: Callable[[Any, int], tuple[np.ndarray, int]]
    """A stored record and its position -> pixels uint8 [height, width, channels] and label.

    Called from several threads. Like `fetch` it raises FrepoError for an example that is damaged.
    """
    describe: Callable[[int], str]
    """Position -> name of the example, for messages."""
    labels: np.ndarray | None = None
    """Labels int [count], if they are known without reading images."""
    at_once: int = AT_ONCE
    """Number of examples to fetch together: fewer where they are large."""


@dataclass(frozen=True)
class Source:
    """A data set in stored form."""

    name: str
    class_names: tuple[str, ...]
    key: Any
    """JSON that changes when the stored files do."""
    where: str
    open: Callable[[], tuple[Examples, Examples | None]]
    """Return the examples for training and for testing; None in place of the latter if they are to be split off.

    Raises FrepoError if the files are not as they should be.
    """
