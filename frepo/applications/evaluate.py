"""Fresh networks trained on one source of data and tested on the whole test set, or scored for a choice."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from frepo.applications.regression import regression, regression_weights
from frepo.data.dataset import Dataset, DatasetInfo
from frepo.data.residency import input_maker
from frepo.data.split import split
from frepo.engine.journal import Journal
from frepo.engine.loop import Milestone, every
from frepo.engine.run import run_steps
from frepo.methods.base import DistilledData
from frepo.networks import recipe as recipes
from frepo.networks.augmentation import both_sides
from frepo.networks.prepare import Prepared, prepare
from frepo.networks.scoring import Score, Scorer
from frepo.networks.training import Network, Trainer, one_by_one
from frepo.plan import Evaluation
from frepo.rundir.record import Row, network_columns
from frepo.runtime import Residency, RuntimeOptions
from frepo.spec.recipe import Predictor


class Images(NamedTuple):
    """Labelled images in stored form, on the host."""

    images: np.ndarray
    labels: np.ndarray


@dataclass
class Curve:
    """Accuracy against training steps: the scores of all networks at each point; those of the last point are kept."""

    score: Scorer
    images: Images
    name: str
    last: list[Score] = field(default_factory=list)

    def __call__(self, networks: Any, step: int) -> tuple[Any, Mapping[str, float]]:  # noqa: ARG002
        """Score the networks of a loop's state; return it and their mean accuracy."""
        self.last = [self.score(network, *self.images) for network in one_by_one(networks)]
        return networks, {self.name: float(np.mean([score.top1 for score in self.last]))}


class Results(NamedTuple):
    """The results of an evaluation."""

    evaluations: list[Row]
    """One for each network and predictor."""
    confusions: list[Row]
    """Nonzero counts of true and predicted class."""


def tune(
    work: Evaluation, data: DistilledData | None, dataset: Dataset, residency: Residency, journal: Journal
) -> float:
    """Train networks as `evaluate` does and return their mean accuracy on held-out training images.

    Raises:
        Interrupted: a signal came; the state is saved.
        DivergedError: the training diverged.
    """
    _, held_out = split(work.validation_fraction, dataset.train_labels)
    images = Images(dataset.train_images[held_out], np.asarray(dataset.train_labels)[held_out])
    curve, _, _ = _train(work, data, dataset, residency, journal, images, "validation_accuracy")
    return float(np.mean([score.top1 for score in curve.last]))


def evaluate(
    work: Evaluation, data: DistilledData | None, dataset: Dataset, options: RuntimeOptions, journal: Journal
) -> Results:
    """Train `num_models` networks on `data`, or on all real images if it is None, and test them.

    Raises:
        Interrupted: a signal came; the state is saved.
        FrepoError: the training diverged, or the regression from `data` has no solution.
    """
    scores, steps = train_and_score(work, data, dataset, options, journal)
    results = Results([], [])
    for predictor, networks in scores.items():
        for number, score in enumerate(networks):
            _add(results, work, dataset.info, number, predictor, steps, score)
    return results


def train_and_score(
    work: Evaluation, data: DistilledData | None, dataset: Dataset, options: RuntimeOptions, journal: Journal
) -> tuple[dict[Predictor, list[Score]], int]:
    """Train networks as `evaluate` does; return for each predictor the scores of all networks, and the training steps.

    Raises:
        Interrupted, FrepoError: as `evaluate`.
    """
    test = Images(dataset.test_images, np.asarray(dataset.test_labels))
    curve, networks, prepared = _train(work, data, dataset, options.residency, journal, test, "test_accuracy")
    scores: dict[Predictor, list[Score]] = {}
    for predictor in work.recipe.predictors:
        if predictor == "network":
            scores[predictor] = curve.last
        else:
            assert data is not None
            scores[predictor] = _by_regression(work, data, prepared.trainer, networks, dataset, options.chunk)
    return scores, prepared.loop.steps


def _train(
    work: Evaluation,
    data: DistilledData | None,
    dataset: Dataset,
    residency: Residency,
    journal: Journal,
    images: Images,
    name: str,
) -> tuple[Curve, list[Network], Prepared]:
    prepared = prepare(work, data, dataset, residency)
    loop, curve = prepared.loop, Curve(prepared.scorer(dataset), images, name)
    points = every(-(-loop.steps // work.recipe.accuracy_points), loop.steps)
    networks = run_steps(replace(loop, milestones=(Milestone(points, curve),)), journal)
    return curve, one_by_one(networks), prepared


def _by_regression(
    work: Evaluation, data: DistilledData, trainer: Trainer, networks: list[Network], dataset: Dataset, chunk: int
) -> list[Score]:
    recipe = work.recipe
    images, centered = both_sides(jnp.asarray(data.images), jnp.asarray(data.labels), flip=recipe.mirrored)
    labels = recipes.targets(recipe.model_copy(update={"loss": "mse"}), centered)
    score = Scorer(regression(trainer), input_maker(dataset.preprocess), dataset.info.num_classes)
    weights = [regression_weights(trainer, n, images, labels, recipe.krr_reg, chunk) for n in networks]
    return [
        score((network, found), dataset.test_images, np.asarray(dataset.test_labels))
        for network, found in zip(networks, weights, strict=True)
    ]


def _add(
    results: Results, work: Evaluation, info: DatasetInfo, number: int, predictor: str, steps: int, score: Score
) -> None:
    recipe = work.recipe
    results.evaluations.append(
        {
            "model": number,
            **network_columns(work.architecture),
            "source": work.source,
            "predictor": predictor,
            "labels": recipe.labels,
            "loss": recipe.loss,
            "optimizer": recipe.optimizer,
            "learning_rate": recipe.learning_rate,
            "augmentation": recipes.augmentation_text(recipe),
            "augmentation_mode": recipe.augmentation_mode,
            "seed": work.seed,
            "steps": steps,
            "top1": score.top1,
            "top5": score.top5,
            "n_test": info.num_test,
        }
    )
    results.confusions.extend(
        {
            "model": number,
            "predictor": predictor,
            "label": int(label),
            "predicted": int(predicted),
            "count": int(score.confusion[label, predicted]),
        }
        for label, predicted in np.argwhere(score.confusion)
    )
