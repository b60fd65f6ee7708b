"""Configurations and splits of parquet files, by their names.

The Hub has `CONFIG/SPLIT-00000-of-00002.parquet`, `data/SPLIT-00000-of-00002-0123456789abcdef.parquet` and, of its own
conversion, `CONFIG/SPLIT/0000.parquet`; people also have `train.parquet`, `test_1.parquet` and `train/any.parquet`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from frepo.data.sources.layout import split_of
from frepo.errors import FrepoError, near_text
from frepo.spec import Dataset

SHARD = re.compile(r"(?P<split>\w+(?:\.\w+)*)-\d+-of-\d+(?:-[0-9a-f]+)?")
DEFAULT = "default"
"""Configuration of files that lie in no folder, or in `data/`."""
TRAIN = "train"
TESTS = ("test", "validation", "valid", "val")

ByConfig = dict[str, dict[str, list[str]]]
"""Configuration -> split -> sorted paths."""


@dataclass(frozen=True)
class Chosen:
    """Paths of the parquet files of a data set."""

    train: tuple[str, ...]
    test: tuple[str, ...] | None
    """None where there is no split for testing."""

    @property
    def paths(self) -> tuple[str, ...]:
        """All of them, each once: both splits may be one."""
        return tuple(dict.fromkeys((*self.train, *(self.test or ()))))


def by_config(paths: Iterable[str]) -> ByConfig:
    """Return relative paths, with slashes, of parquet files by configuration and split; others are left out."""
    found: ByConfig = {}
    for path in sorted(paths):
        if path.endswith(".parquet"):
            config, split = _place(PurePosixPath(path))
            found.setdefault(config, {}).setdefault(split, []).append(path)
    return found


def _place(path: PurePosixPath) -> tuple[str, str]:
    """Return configuration and split of a file."""
    folders, stem = [part for part in path.parts[:-1] if part != "data"], path.stem
    shard = SHARD.fullmatch(stem)
    word = re.match("[A-Za-z]*", stem)
    by_name = shard["split"] if shard else word[0] if word and split_of(word[0]) else stem
    if folders and split_of(by_name) is None and (split_of(folders[-1]) or stem.isdigit()):
        return "/".join(folders[:-1]) or DEFAULT, folders[-1]
    return "/".join(folders) or DEFAULT, by_name


def choose(paths: Iterable[str], table: Dataset, where: object) -> Chosen:
    """Return the files that `table` names by its config and splits among relative `paths`.

    Raises:
        FrepoError: there are none, or not these; the message, which calls their place `where`, lists what is there.
    """
    configs = by_config(paths)
    if not configs:
        raise FrepoError(f"{where} has no parquet files")
    config = _config(configs, table.config, where)
    splits = configs[config]
    beside = "" if len(configs) == 1 else f" of config '{config}'"
    train = _split(splits, "train_split", table.train_split or TRAIN, f"{where}{beside}")
    if table.test_split is not None:
        return Chosen(tuple(train), tuple(_split(splits, "test_split", table.test_split, f"{where}{beside}")))
    name = next((name for name in TESTS if name in splits), None)
    return Chosen(tuple(train), None if name is None else tuple(splits[name]))


def _config(configs: ByConfig, asked: str | None, where: object) -> str:
    if asked in configs:
        return asked
    there = ", ".join(configs)
    if asked is not None:
        raise FrepoError(f"dataset.config: {where} has no config '{asked}'{near_text(asked, configs)}; it has {there}")
    if len(configs) == 1 or DEFAULT in configs:
        return DEFAULT if DEFAULT in configs else next(iter(configs))
    raise FrepoError(f"{where} has several configs: set dataset.config to one of {there}")


def _split(splits: dict[str, list[str]], field: str, asked: str, where: str) -> list[str]:
    if asked not in splits:
        raise FrepoError(
            f"dataset.{field}: {where} has no split '{asked}'{near_text(asked, splits)}; it has {', '.join(splits)}"
        )
    return splits[asked]
