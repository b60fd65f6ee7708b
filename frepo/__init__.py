"""Dataset distillation by neural feature regression with pooling (FRePo), run from declarative experiment specs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from frepo.api import run
    from frepo.errors import FrepoError, Interrupted, SpecError
    from frepo.exchange.export.exported import load
    from frepo.plan import compile_plan
    from frepo.spec import load_spec, load_specs
    from frepo.store.connect import connect

__all__ = [
    "FrepoError",
    "Interrupted",
    "SpecError",
    "compile_plan",
    "connect",
    "load",
    "load_spec",
    "load_specs",
    "run",
]
__version__ = "0.1.0"

_HOMES = {
    "FrepoError": "frepo.errors",
    "Interrupted": "frepo.errors",
    "SpecError": "frepo.errors",
    "compile_plan": "frepo.plan",
    "connect": "frepo.store.connect",
    "load": "frepo.exchange.export.exported",
    "load_spec": "frepo.spec",
    "load_specs": "frepo.spec",
    "run": "frepo.api",
}
"""Where each name comes from, at its first use: so that `import frepo` takes no time and `run` alone starts JAX."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
