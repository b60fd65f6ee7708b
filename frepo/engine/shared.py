"""Functions that stages of one process have in common, so that JAX traces and lowers them once.

JAX keeps what it has traced by the identity of a function. The functions of a stage follow from parts of its spec:
where `shared` makers make them, stages with equal parts have the same ones.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

MOST = 16
"""Results of a maker that are kept: JAX keeps their compiled programs as long."""
_makers: list[Any] = []


def shared(make: Callable[P, R]) -> Callable[P, R]:
    """Let `make` return the same object for equal arguments, which have to be hashable and say all it depends on."""
    kept = lru_cache(MOST)(make)
    _makers.append(kept)
    return kept  # pyright: ignore[reportReturnType]


def forget() -> None:
    """Make everything anew from here on: tests change what makers and programs depend on besides."""
    for maker in _makers:
        maker.cache_clear()
