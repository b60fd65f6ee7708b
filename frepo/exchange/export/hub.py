"""Distilled images as the Hugging Face Hub and `datasets` read them: one Parquet file, and a Croissant description."""

import hashlib
import json
from pathlib import Path
from typing import Any

import duckdb

from frepo.data.sheet import contact_sheet
from frepo.exchange.export.croissant import croissant
from frepo.exchange.export.exported import Exported
from frepo.exchange.export.names import label_names
from frepo.signals import interruptible

PARQUET = "data/train-00000-of-00001.parquet"
"""The Hub's own name for the only file of the split `train`."""
CROISSANT = "croissant.json"
ROWS_AT_ONCE = 2048
"""Rows of a row group, all of which a viewer reads to show one."""
NULLABLE = "SET disabled_optimizers = 'statistics_propagation'"
"""DuckDB else finds that no value is null and writes `required` columns, which `datasets` takes for other types."""
TABLE = """
    CREATE TABLE train (image STRUCT(bytes BLOB, path VARCHAR), label BIGINT, soft_label FLOAT[], inputs FLOAT[])
"""
INSERT = """
    INSERT INTO train
    SELECT {'bytes': ?, 'path': ?}, ?, (SELECT list(value) FROM soft_label), (SELECT list(value) FROM inputs)
"""


def write_hub(exported: Exported, directory: Path) -> None:
    """Write `data/train-00000-of-00001.parquet` and `croissant.json` into `directory`.

    Row i holds `image`, an 8-bit PNG of the pixels; `label`, its hard label; `soft_label`, float32 [C]; and `inputs`,
    float32 [h * w * c], the network input as it was learned: both bit for bit. Classes are named as by `label_names`.
    """
    path = directory / PARQUET
    path.parent.mkdir()
    with duckdb.connect() as connection, interruptible(connection.interrupt):
        connection.execute("SET threads = 1")  # it keeps the order
        connection.execute(NULLABLE)
        connection.execute(TABLE)
        for position in range(len(exported.images)):
            _insert(connection, exported, position)
        metadata = json.dumps({"info": {"features": features(exported)}})
        connection.execute(
            f"COPY train TO {_quoted(str(path))} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROWS_AT_ONCE}, "
            f"KV_METADATA {{huggingface: {_quoted(metadata)}}})"
        )
    content = path.read_bytes()
    described = croissant(exported, PARQUET, len(content), hashlib.sha256(content).hexdigest())
    (directory / CROISSANT).write_text(json.dumps(described, indent=1) + "\n")


def features(exported: Exported) -> dict[str, Any]:
    """Return the types of the columns, as `datasets` keeps them in the metadata of a Parquet file."""

    def numbers(length: int) -> dict[str, Any]:
        return {"feature": {"dtype": "float32", "_type": "Value"}, "length": length, "_type": "Sequence"}

    return {
        "image": {"_type": "Image"},
        "label": {"names": label_names(exported.class_names), "_type": "ClassLabel"},
        "soft_label": numbers(len(exported.class_names)),
        "inputs": numbers(exported.images[0].size),
    }


def _insert(connection: duckdb.DuckDBPyConnection, exported: Exported, position: int) -> None:
    """Add a row; DuckDB scans the arrays, in a third of the time that it takes for lists of Python's numbers."""
    connection.register("soft_label", {"value": exported.soft_labels[position]})
    connection.register("inputs", {"value": exported.images[position].ravel()})
    png, label = contact_sheet(exported.pixels[position : position + 1], 1), int(exported.hard_labels[position])
    connection.execute(INSERT, [png, f"{position:05}.png", label])


def _quoted(text: str) -> str:
    """Return a text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"
