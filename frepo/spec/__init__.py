"""The experiment spec: the content of a TOML file, one module per table."""

from frepo.spec.application import Application, Continual, CrossArchitecture, Evaluate, FairScores, Membership
from frepo.spec.architecture import AlexNet, Architecture, Conv, DcConv, KipConv, ResNet18, ResNet18Ap, Vgg11
from frepo.spec.dataset import Dataset, Standardize, Zca, without_place
from frepo.spec.distill import Coreset, Distill, Full, Imported, Made, RandomSelection, method_tables
from frepo.spec.experiment import ExperimentSpec
from frepo.spec.learned import Dm, Frepo, RatBptt, Rcig
from frepo.spec.load import LoadedSpec, load_spec, load_specs, load_table, made_specs, read_override
from frepo.spec.pool import Pool
from frepo.spec.recipe import Recipe
from frepo.spec.schema import json_schema

__all__ = [
    "AlexNet",
    "Application",
    "Architecture",
    "Continual",
    "Conv",
    "Coreset",
    "CrossArchitecture",
    "Dataset",
    "DcConv",
    "Distill",
    "Dm",
    "Evaluate",
    "ExperimentSpec",
    "FairScores",
    "Frepo",
    "Full",
    "Imported",
    "KipConv",
    "LoadedSpec",
    "Made",
    "Membership",
    "Pool",
    "RandomSelection",
    "RatBptt",
    "Rcig",
    "Recipe",
    "ResNet18",
    "ResNet18Ap",
    "Standardize",
    "Vgg11",
    "Zca",
    "json_schema",
    "load_spec",
    "load_specs",
    "load_table",
    "made_specs",
    "method_tables",
    "read_override",
    "without_place",
]
