"""What every format of distilled data carries."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from frepo.data.preprocess import FittedPreprocess


@dataclass(frozen=True, eq=False)
class Exported:
    """Distilled data with all that is needed to train on it and to test what was trained.

    Attributes:
        images: float32 [n, h, w, c], network inputs as they were learned.
        pixels: float32 [n, h, w, c], the images with the preprocessing undone; nominally 0..1, not clipped.
        soft_labels: float32 [n, C], centred as they were learned: one-hot labels minus 1/C are their like.
        hard_labels: int32 [n], the class at which a soft label is largest.
        class_names: C names.
        preprocess: from pixels, test images' for one, to network inputs.
        recipe: JSON of the evaluation's `frepo.spec.Recipe`, `steps` and `learning_rate` resolved, and `architecture`,
            the table of the network that it trains.
        provenance: JSON: `run_id`, `name`, `fingerprint`, `spec`, `frepo` (version), `code` (of frepo: sha256,
            commit, dirty), `dataset` (facts) and `accuracies`, a row for each finished evaluation of this data.
    """

    images: np.ndarray
    pixels: np.ndarray
    soft_labels: np.ndarray
    hard_labels: np.ndarray
    class_names: tuple[str, ...]
    preprocess: FittedPreprocess
    recipe: dict[str, Any]
    provenance: dict[str, Any]

    @property
    def accuracy(self) -> dict[str, Any] | None:
        """The row of `accuracies` of networks trained by the exported recipe; None where it was not evaluated."""
        rows = self.provenance.get("accuracies", [])
        return next((row for row in rows if row["exported_recipe"] and row["predictor"] == "network"), None)
