"""Where images come from: examples that can be read one by one, whatever stores them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

AT_ONCE = 1024
"""Examples that are fetched together."""


@dataclass(frozen=True)
class Examples:
    """One split. Reading has two parts: some stores are fast in batches only, and decoding can be shared by threads."""

    count: int
    fetch: Callable[[list[int]], Sequence[Any]]
    """Positions -> what is stored there."""
    decode: Callable[[Any, int], tuple[np.ndarray, int]]
    """What is stored, and its position -> pixels uint8 [height, width, channels] and label.

    Called from several threads. Like `fetch` it raises FrepoError for an example that is damaged.
    """
    describe: Callable[[int], str]
    """Names an example, for messages."""
    labels: np.ndarray | None = None
    """Labels int [count] where they are known without reading."""


@dataclass(frozen=True)
class Source:
    """A data set as it is stored."""

    name: str
    class_names: tuple[str, ...]
    key: Any
    """JSON that changes when the stored files do."""
    where: str
    open: Callable[[], tuple[Examples, Examples | None]]
    """Return the examples for training and for testing; None where a share of the former has to be split off.

    Raises FrepoError where the files are not what they should be.
    """
