"""Dataset distillation by neural feature regression with pooling (FRePo), run from declarative experiment specs."""

__version__ = "0.1.0"
