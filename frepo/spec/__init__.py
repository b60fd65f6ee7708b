"""The experiment spec: what a TOML file may say, one module per table."""

from frepo.spec.application import Evaluate
from frepo.spec.architecture import Conv
from frepo.spec.dataset import Dataset, Standardize, Zca
from frepo.spec.distill import Distill, Frepo, RandomSelection
from frepo.spec.experiment import ExperimentSpec
from frepo.spec.load import LoadedSpec, load_spec
from frepo.spec.pool import Pool
from frepo.spec.schema import json_schema

__all__ = [
    "Conv",
    "Dataset",
    "Distill",
    "Evaluate",
    "ExperimentSpec",
    "Frepo",
    "LoadedSpec",
    "Pool",
    "RandomSelection",
    "Standardize",
    "Zca",
    "json_schema",
    "load_spec",
]
