"""The kinds of stages: one object per kind holds everything that the rest of the program needs to know of it."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

DISTILLED = "distilled.npz"
NETWORK = "network"
TUNING = "tuning.json"
EVALUATIONS = "evaluations.jsonl"
CONFUSIONS = "confusions.jsonl"
SCORES = "scores.jsonl"
CONTINUAL = "continual.jsonl"
EXPOSED = "exposed.npz"
ATTACKS = "attacks.jsonl"


@dataclass(frozen=True)
class RowTable:
    """Rows of results: a file of JSON lines in a stage's directory, and the database table for them."""

    name: str
    """Name of the table."""
    file: str
    columns: tuple[str, ...]
    """Columns after `run` and `stage`."""


@dataclass(frozen=True)
class StageKind:
    """One kind of stage.

    Attributes:
        name: `kind` in the work of its stages.
        version: of its numerics; raised when the code changes the results of its stages, so that earlier results are
            not taken for new ones.
        result: the file or folder in a stage's directory whose absence means that the stage is not done.
        code: module and class of its `StageCode`, imported at first use: planning, ingesting and reporting start no
            JAX.
        tables: its rows, except metrics.
    """

    name: str
    version: int
    result: str
    code: str
    tables: tuple[RowTable, ...] = ()

    def load(self) -> Any:
        """Return a `frepo.data.context.StageCode`."""
        module, _, name = self.code.partition(":")
        return getattr(import_module(module), name)()


EVALUATION_ROWS = RowTable(
    "evaluations",
    EVALUATIONS,
    (
        *("model", "architecture", "normalization", "pooling", "width", "depth", "source", "predictor", "labels"),
        *("loss", "optimizer", "learning_rate", "augmentation", "augmentation_mode"),
        *("seed", "steps", "top1", "top5", "n_test"),
    ),
)
CONFUSION_ROWS = RowTable("confusions", CONFUSIONS, ("model", "predictor", "label", "predicted", "count"))
SCORE_ROWS = RowTable("scores", SCORES, ("name", "value", "standard_error"))
CONTINUAL_ROWS = RowTable(
    "continual",
    CONTINUAL,
    ("seed", "source", "predictor", "model", "step", "num_steps", "task", "steps", "correct", "n_test"),
)
ATTACK_ROWS = RowTable(
    "attacks",
    ATTACKS,
    (
        *("chunk_index", "source", "train_steps", "model", "attack", "test_accuracy"),
        *("auc", "auc_low", "auc_high", "advantage", "tpr_at_1_in_100", "tpr_at_1_in_1000"),
        *("members", "non_members"),
    ),
)

DISTILL = StageKind("distill", 4, DISTILLED, "frepo.methods.code:Distill")
KINDS = {
    kind.name: kind
    for kind in (
        DISTILL,
        StageKind("features", 2, NETWORK, "frepo.methods.code:Features"),
        StageKind("tune", 2, TUNING, "frepo.applications.code:Tune"),
        StageKind("evaluate", 4, EVALUATIONS, "frepo.applications.code:Evaluate", (EVALUATION_ROWS, CONFUSION_ROWS)),
        StageKind("fair_scores", 1, SCORES, "frepo.applications.code:FairScores", (SCORE_ROWS,)),
        StageKind("continual", 3, CONTINUAL, "frepo.applications.code:Continual", (CONTINUAL_ROWS,)),
        StageKind("expose", 2, EXPOSED, "frepo.applications.code:Expose"),
        StageKind("attack", 2, ATTACKS, "frepo.applications.code:Attack", (ATTACK_ROWS,)),
    )
}
"""The kinds by name."""

ROW_TABLES = tuple(table for kind in KINDS.values() for table in kind.tables)
