"""Application `evaluate`: fresh networks trained on distilled data, tested on the whole test set."""

from typing import Any

import numpy as np
import optax

from frepo.data.dataset import Dataset, DatasetInfo
from frepo.data.residency import input_maker
from frepo.devices import place
from frepo.distill.state import DistilledData
from frepo.journal import Journal
from frepo.loop import Loop
from frepo.models.build import build_model
from frepo.plan import EvaluateStage
from frepo.record import Row
from frepo.seeds import Stream
from frepo.spec import Evaluate
from frepo.training import Scorer, Trainer, TrainingData, train_networks, training_loop

DEFAULT_STEPS = ((10, 1000), (100, 2000), (500, 5000), (1000, 10_000))
"""(at most this many images, training steps)."""
MOST_STEPS = 40_000


def training_steps(settings: Evaluate, num_images: int) -> int:
    """Return the training steps of a network: as the spec says, or by the number of distilled images."""
    if settings.steps is not None:
        return settings.steps
    return next((steps for most, steps in DEFAULT_STEPS if num_images <= most), MOST_STEPS)


def prepare(work: EvaluateStage, data: DistilledData, info: DatasetInfo) -> tuple[Trainer, Loop[Any]]:
    """Return how networks are trained on `data`, and the loop that does it."""
    settings = work.evaluate
    steps = training_steps(settings, len(data.images))
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, settings.learning_rate, settings.warmup_steps, steps, end_value=settings.learning_rate / 100
    )
    model = build_model(work.architecture, info.num_classes, info.image_shape)
    trainer = Trainer(model, optax.adam(schedule), info.image_shape)
    loop = training_loop(
        trainer,
        TrainingData(*place((data.images, data.labels))),
        [(work.seed, Stream.EVALUATION, i) for i in range(settings.num_models)],
        steps,
        settings.batch_size,
        settings.augmentation,
    )
    return trainer, loop


def evaluate(work: EvaluateStage, data: DistilledData, dataset: Dataset, journal: Journal) -> list[Row]:
    """Train `num_models` networks on `data` and return a row of test accuracies for each.

    Raises:
        Interrupted: a signal came; the state is saved.
        FrepoError: the training diverged.
    """
    info = dataset.info
    trainer, loop = prepare(work, data, info)
    networks = train_networks(loop, journal)
    score = Scorer(trainer, input_maker(dataset.preprocess))
    rows: list[Row] = []
    for number, network in enumerate(networks):
        top1, top5 = score(network, dataset.test_images, np.asarray(dataset.test_labels))
        rows.append(
            {
                "model": number,
                "architecture": work.architecture.type,
                "normalization": work.architecture.normalization,
                "width": work.architecture.width,
                "depth": work.architecture.depth,
                "source": work.source,
                "predictor": "network",
                "labels": "soft" if work.source == "distilled" else "hard",
                "seed": work.seed,
                "steps": loop.steps,
                "top1": top1,
                "top5": top5,
                "n_test": info.num_test,
            }
        )
    return rows
