"""Outputs of networks for images, and how many of their predictions are right."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from frepo.data.residency import ToInputs
from frepo.engine.devices import compiled, in_shares, place
from frepo.engine.shared import shared
from frepo.networks.training import Network
from frepo.signals import raise_if_stopping

Predict = Callable[[Any, jax.Array], jax.Array]
"""(network, inputs [n, h, w, c]) -> outputs [n, ...]."""

SCORED_AT_ONCE = 1000


def parts(count: int) -> Iterator[slice]:
    """Yield slices of `count` images, each small enough to go through a network at once.

    Raises:
        Interrupted: a signal came and this is the only process; one of several must not leave the others waiting.
    """
    for start in range(0, count, SCORED_AT_ONCE):
        if jax.process_count() == 1:
            raise_if_stopping()
        yield slice(start, start + SCORED_AT_ONCE)


class Outputs:
    """Outputs of networks of one kind for images.

    `output` maps a network and its inputs [n, h, w, c] to [n, ...]; `to_inputs` maps stored images to inputs.
    """

    def __init__(self, output: Predict, to_inputs: ToInputs) -> None:
        self._apply = compiled(_applied(output, to_inputs))

    def __call__(self, network: Network, images: Iterable[np.ndarray]) -> np.ndarray:
        """Return the outputs [sum of n, ...] for images [n, h, w, c], host arrays that arrive part by part."""
        return np.concatenate([np.asarray(jax.device_get(self._apply(network, place(part)))) for part in images])


@dataclass(frozen=True)
class Score:
    """Accuracy of a network on labelled images."""

    top5: float
    """Fraction of images whose class is among the five most likely, in 0..1."""
    confusion: np.ndarray
    """Counts int64 [C, C]: true class, predicted class."""

    @property
    def top1(self) -> float:
        """Fraction of images whose class is the most likely, in 0..1."""
        return float(np.trace(self.confusion) / self.confusion.sum())


class Scorer:
    """Counts the correct predictions of networks of one kind.

    `predict` maps a network and its inputs [n, h, w, c] to scores [n, C]; `to_inputs` maps stored images to
    inputs.
    """

    def __init__(
        self,
        predict: Predict,
        to_inputs: ToInputs,
        num_classes: int,
    ) -> None:
        self._hits, self._num_classes = compiled(_hits(predict, to_inputs, num_classes)), num_classes

    def __call__(self, network: Any, images: np.ndarray, labels: np.ndarray) -> Score:
        """Score a network on images [n, h, w, c] with labels int [n], host arrays."""
        confusion, top5 = np.zeros((self._num_classes, self._num_classes), np.int64), 0
        for part in parts(len(images)):
            best, among = jax.device_get(self._hits(network, *place((images[part], labels[part]))))
            np.add.at(confusion, (labels[part], best), 1)
            top5 += int(among.sum())
        return Score(top5 / len(images), confusion)


@shared
def _applied(output: Predict, to_inputs: ToInputs) -> Predict:
    return lambda network, images: in_shares(lambda share: output(network, to_inputs(share)), images)


@shared
def _hits(predict: Predict, to_inputs: ToInputs, num_classes: int) -> Callable[..., tuple[jax.Array, jax.Array]]:
    def hits(network: Any, images: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
        scores = in_shares(lambda share: predict(network, to_inputs(share)), images)
        best = jax.lax.top_k(scores, min(5, num_classes))[1]
        return best[:, 0], jnp.any(best == labels[:, None], axis=1)

    return hits
