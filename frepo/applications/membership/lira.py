"""The likelihood ratio attack: each example is judged by the outputs of networks that never saw it."""

from typing import Literal

import numpy as np

from frepo.applications.membership.exposed import log_odds, own_and_others, refuse_unusable

Scaling = Literal["margin", "log_odds"]

MANY = 64
"""From this number of networks that never saw it, an example has its own variance."""


def scaled_confidence(logits: np.ndarray, labels: np.ndarray, scaling: Scaling) -> np.ndarray:
    """Return the confidence in the label on a scale on which it is Gaussian over networks, float64 [n].

    `logits` [n, C], `labels` int [n]. Carlini et al. 2022 evaluate both scalings:

    - `log_odds`, log(p_y / (1 - p_y)) of the softmax, for networks trained with cross-entropy.
    - `margin`, z_y - max over the others, for networks trained with half squared error on centred labels. Their
      outputs estimate the labels themselves, between about -1/C and 1 - 1/C: neither log-probabilities nor bounded
      by training, so there is nothing to unfold. Their softmax, with exponents so close together, is nearly z_y
      minus the mean of the others; as all outputs add up to about zero, it depends on z_y alone, while the margin
      also depends on the second class. The margin does not depend on a temperature.
    """
    if scaling == "log_odds":
        return log_odds(logits, labels)
    own, others = own_and_others(logits, labels)
    return own - others.max(axis=-1)


def lira_offline(
    target_logits: np.ndarray,
    labels: np.ndarray,
    shadow_logits: np.ndarray,
    shadow_out: np.ndarray,
    scaling: Scaling = "margin",
    common_variance: bool | None = None,
) -> np.ndarray:
    """Return how far the target network's confidence in each example exceeds that of networks that never saw it.

    The offline attack of Carlini et al. 2022 ("Membership Inference Attacks From First Principles"): a Gaussian is
    fitted to the scaled confidences of the shadow networks trained without an example, and the target is compared
    with it. Their score is the probability 1 - Pr[Z > confidence]; this returns its argument, the standard score
    (confidence - mean) / std, which has the same order but does not round to 1 for the most exposed members.

    Members and non-members go into one call: a variance, or its choice, from one side alone would depend on the
    answer.

    Args:
        target_logits: float [n, C], outputs of the network under attack.
        labels: int [n], true classes.
        shadow_logits: float [k, n, C], outputs of k networks for the same examples.
        shadow_out: bool [k, n], true where the network was not trained on the example.
        scaling: see `scaled_confidence`.
        common_variance: use one variance, about the examples' own means, for all examples; an example's own variance
            is too uncertain if few networks left it out. Default: true for fewer than MANY networks.

    Returns:
        float64 [n]; higher means member.

    Raises:
        ValueError: shapes do not fit; outputs are not finite; an example was in every network, or in all but one
            without a common variance; the variance is zero.
    """
    if shadow_logits.shape[1:] != target_logits.shape or shadow_out.shape != shadow_logits.shape[:2]:
        shapes = ", ".join(str(list(x.shape)) for x in (target_logits, shadow_logits, shadow_out))
        raise ValueError(f"target [n, C], shadow networks [k, n, C] and shadow_out [k, n] do not fit: {shapes}")
    if shadow_out.dtype != np.bool_:
        raise ValueError(f"shadow_out must be bool, not {shadow_out.dtype}")
    count = shadow_out.sum(axis=0)
    if common_variance is None:
        common_variance = bool((count < MANY).any())
    needed = 1 if common_variance else 2
    if (count < needed).any():
        example = int(np.argmax(count < needed))
        raise ValueError(
            f"example {example} was left out by {count[example]} shadow networks; at least {needed} are needed"
        )

    confidence = _checked_confidence(target_logits, labels, scaling)
    # One network at a time: float64 copies of all outputs would be large.
    shadow = np.stack([_checked_confidence(one, labels, scaling) for one in shadow_logits])
    largest = shadow.max(axis=0, where=shadow_out, initial=-np.inf)
    differ = largest > shadow.min(axis=0, where=shadow_out, initial=np.inf)
    if not (differ.any() if common_variance else differ.all()):
        raise ValueError("the shadow networks do not differ, so they give no variance")
    mean = shadow.mean(axis=0, where=shadow_out)
    squares = ((shadow - mean) ** 2).sum(axis=0, where=shadow_out)
    freedom = count - 1
    if common_variance:
        squares, freedom = squares.sum(), freedom.sum()
    return (confidence - mean) / np.sqrt(squares / freedom)


def _checked_confidence(logits: np.ndarray, labels: np.ndarray, scaling: Scaling) -> np.ndarray:
    refuse_unusable(logits, labels)
    return scaled_confidence(logits, labels, scaling)
