"""The view of an attacker: a network's outputs for some examples, their labels, and their loss."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Exposed(NamedTuple):
    """The outputs of a network for n examples of C classes, members or non-members; made by `expose`.

    Attributes:
        logits: float [n, C], the network's outputs, finite.
        labels: int [n], the true classes, known to the attacker.
        loss: float64 [n], finite.
    """

    logits: np.ndarray
    labels: np.ndarray
    loss: np.ndarray


def half_squared_errors(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return half the squared error of each example, float64 [n], against one-hot labels minus 1/C.

    `logits` [n, C], `labels` int [n]: the training loss of the networks here, before the mean over examples.
    """
    error = logits.astype(np.float64) + 1 / logits.shape[-1]
    error[np.arange(len(labels)), labels] -= 1
    return 0.5 * np.sum(error**2, axis=-1)


def cross_entropies(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the cross-entropy of each example's softmax, float64 [n]; `logits` [n, C], `labels` int [n]."""
    return np.logaddexp(0, -log_odds(logits, labels))


def log_odds(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return log(p_y / (1 - p_y)) of the softmax, float64 [n]; `logits` [n, C], `labels` int [n].

    The label's logit minus the log-sum-exp of the others: neither p nor 1 - p is formed, so neither rounds to 0 or 1.
    """
    own, others = own_and_others(logits, labels)
    return own - np.logaddexp.reduce(others, axis=-1)


def own_and_others(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the label's logit, float64 [n], and the logits [n, C] with minus infinity in its place."""
    others = logits.astype(np.float64)
    each = np.arange(len(labels))
    own = others[each, labels]
    others[each, labels] = -np.inf
    return own, others


def expose(
    logits: np.ndarray,
    labels: np.ndarray,
    loss: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> Exposed:
    """Return the view of an attacker of examples with `logits` [n, C] and `labels` int [n], with their `loss`.

    Raises ValueError as `refuse_unusable` does, or if a loss is too large for a float.
    """
    refuse_unusable(logits, labels)
    with np.errstate(over="ignore"):  # refused below
        losses = loss(logits, labels)
    if not np.isfinite(losses).all():
        raise ValueError("the outputs are so large that their loss overflows")
    return Exposed(logits, labels, losses)


def refuse_unusable(logits: np.ndarray, labels: np.ndarray) -> None:
    """Raise ValueError unless `logits` are finite [n, C] with two classes or more and `labels` [n] among 0..C-1."""
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise ValueError(f"logits must be [n, C] with at least two classes, not {list(logits.shape)}")
    if labels.shape != logits.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels must be {len(logits)} integers, not {labels.dtype} {list(labels.shape)}")
    if len(labels) and not 0 <= labels.min() <= labels.max() < logits.shape[1]:
        raise ValueError(f"labels must be among 0 to {logits.shape[1] - 1}")
    if not np.isfinite(logits).all():
        raise ValueError("the outputs must be finite: the network has diverged")
