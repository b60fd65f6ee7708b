"""What describes a prepared data set of TFDS, looked through before TFDS reads it, which imports modules by name."""

import json
import re
from pathlib import Path
from typing import Any, cast

from frepo.reading import read_regular

FILES = ("dataset_info.json", "features.json")
LARGEST = 2**26
"""Bytes of a file."""
NAMING = ("pythonClassName", "python_class_name", "type")
"""Fields with the kind of a feature."""
KNOWN = re.compile(r"tensorflow_datasets\.core\.features\.[a-z0-9_.]+\.[A-Za-z0-9_]+")
TEMPLATES = ("filepathTemplate", "filepath_template")
PLAIN = re.compile(r"([^{}]|\{(DATASET|SPLIT|FILEFORMAT|SHARD_INDEX|NUM_SHARDS|SHARD_X_OF_Y)\})*")
"""A template of file names. TFDS formats it, and a width in a field would have it make a name of gigabytes."""


def must_be_of_tfds(directory: Path) -> None:
    """Refuse a data set one of whose features or templates of file names is of a kind that is not TFDS's own.

    Raises:
        ValueError: it has one, or is not described in JSON.
        OSError: a file of its description cannot be read.
        RecursionError: it goes too deep.
    """
    for name in FILES:
        if (directory / name).exists():
            _check(json.loads(read_regular(directory / name, LARGEST)), name)


def _check(node: Any, where: str) -> None:
    if isinstance(node, list):
        for inner in cast("list[Any]", node):
            _check(inner, where)
    if not isinstance(node, dict):
        return
    for key, value in cast("dict[str, Any]", node).items():
        if key in NAMING and isinstance(value, str) and "." in value and not KNOWN.fullmatch(value):
            raise ValueError(f"{where} names {value[:100]!a}, which is not of TFDS")
        if key in TEMPLATES and isinstance(value, str) and not PLAIN.fullmatch(value):
            raise ValueError(f"{where} names files by {value[:100]!a}, which is no template of TFDS")
        # features of earlier versions are JSON in a text
        _check(json.loads(value) if key == "json" and isinstance(value, str) else value, where)
