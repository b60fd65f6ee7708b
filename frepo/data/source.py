"""Where images come from: examples that can be read one by one, whatever stores them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Read = Callable[[int], tuple[np.ndarray, int]]
"""Position -> pixels uint8 [height, width, channels] and label."""


@dataclass(frozen=True)
class Examples:
    """One split."""

    count: int
    read: Read
    """Raises FrepoError for an example that is damaged; may be called from several threads where `parallel`."""
    describe: Callable[[int], str]
    """Names an example, for messages."""
    parallel: bool = False
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
