"""Class-incremental learning: networks trained on the memories of the tasks so far, tested on all classes seen."""

from collections.abc import Sequence

import numpy as np

from frepo.applications.evaluate import train_and_score
from frepo.data.dataset import Dataset
from frepo.engine.journal import Journal
from frepo.methods.base import DistilledData
from frepo.plan import ContinualStage
from frepo.rundir.record import Row
from frepo.runtime import RuntimeOptions


def united(memories: Sequence[DistilledData], label_classes: int) -> DistilledData | None:
    """Return the memories of several tasks as one set over all their classes, or None without memories.

    A memory's labels [n, c] cover its own c classes among C, `label_classes`: s * (one-hot - 1/C), or learned
    from there, with s = 1 for real images and 1/sqrt(C/10) for learned ones. They are kept, and the classes of the
    other tasks get -s/C.
    """
    if not memories:
        return None
    size = memories[0].labels.shape[1]
    total = size * len(memories)
    parts: list[np.ndarray] = []
    for number, memory in enumerate(memories):
        labels = np.full((len(memory.labels), total), -_scale(memory.labels, label_classes) / label_classes, np.float32)
        labels[:, number * size : (number + 1) * size] = memory.labels
        parts.append(labels)
    return DistilledData(np.concatenate([memory.images for memory in memories]), np.concatenate(parts))


def _scale(labels: np.ndarray, label_classes: int) -> float:
    """Return s of labels that are, or were learned from, s * (one-hot - 1/C): by the mean of the largest entries."""
    return float(np.mean(labels.max(axis=1)) / (1 - 1 / label_classes))


def continual(
    work: ContinualStage, memories: Sequence[DistilledData], dataset: Dataset, options: RuntimeOptions, journal: Journal
) -> list[Row]:
    """Return, for each network and each task so far, the accuracy on the test images of the task's classes.

    Networks choose among all classes seen. `dataset` holds these classes in order of arrival.

    Raises:
        Interrupted: a signal came; the state is saved.
        FrepoError: the training diverged.
    """
    data = united(memories, dataset.info.label_classes)
    scores, steps = train_and_score(work, data, dataset, options, journal)
    size = dataset.info.num_classes // work.step
    rows: list[Row] = []
    for predictor, networks in scores.items():
        for number, score in enumerate(networks):
            for task in range(1, work.step + 1):
                part = score.confusion[size * (task - 1) : size * task]
                right = int(np.trace(part[:, size * (task - 1) : size * task]))
                rows.append(
                    {
                        "seed": work.seed,
                        "source": work.source,
                        "predictor": predictor,
                        "model": number,
                        "step": work.step,
                        "num_steps": work.num_steps,
                        "task": task,
                        "steps": steps,
                        "correct": right,
                        "n_test": int(part.sum()),
                    }
                )
    return rows
