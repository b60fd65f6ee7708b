"""How well scores separate members from non-members: exact figures of the ROC curve."""

import math
from dataclasses import dataclass

import numpy as np

NORMAL_95 = 1.959963984540054
"""A standard normal number lies within plus and minus this value with probability 95%."""


@dataclass(frozen=True)
class Scores:
    """The success of an attack.

    Attributes:
        auc: area under the ROC curve: the share of pairs of a member and a non-member in which the member scores
            higher, ties counted half. 0.5 is chance.
        auc_low: lower end of the 95% confidence interval of `auc`.
        auc_high: upper end of it.
        advantage: the largest of TPR - FPR over all thresholds; at least 0, and above it by chance in any finite
            sample: about 0.9 / sqrt(n) with n examples on each side.
        tpr_at_1_in_100: the largest true positive rate of a threshold whose false positive rate is at most 1 in 100.
            The threshold is chosen on the non-members themselves, so the expected rate on others is
            (false positives + 1) / (n + 1), and this rate is bounded: without any signal, the value is at most
            1 in 100 on average. Nothing is interpolated: with fewer than 199 non-members no false positive is allowed
            at all, and the value is the fraction of members that score higher than every non-member. With fewer than
            99, even that exceeds 1 in 100 by chance: 1 / (n + 1).
        tpr_at_1_in_1000: the same at 1 in 1000, with limits of 1999 and 999 non-members. Both rest on the few highest
            non-members, so with small n they vary much from sample to sample.
        members: number of members.
        non_members: number of non-members.
    """

    auc: float
    auc_low: float
    auc_high: float
    advantage: float
    tpr_at_1_in_100: float
    tpr_at_1_in_1000: float
    members: int
    non_members: int


def roc_scores(member_scores: np.ndarray, non_member_scores: np.ndarray, variance_times: float = 1.0) -> Scores:
    """Return how well scores [members] and [non_members] separate the two; higher should mean member.

    The interval is that of DeLong et al. 1988: normal, cut off at 0 and 1, with variances over members and over
    non-members of the fraction of the other side that each beats. It assumes independent scores; `variance_times`
    corrects for dependence. If every member scores higher than every non-member it has no width.

    ValueError for NaN, for anything but vectors, and for fewer than two on either side. Infinite scores are allowed.
    """
    members, non_members = (np.sort(np.asarray(x, np.float64)) for x in (member_scores, non_member_scores))
    if members.ndim != 1 or non_members.ndim != 1 or min(len(members), len(non_members)) < 2:
        raise ValueError("scores must be vectors of at least two members and two non-members")
    if np.isnan(members).any() or np.isnan(non_members).any():
        raise ValueError("a score is not a number")

    twice = _twice_beaten(members, non_members)
    auc = int(twice.sum()) / (2 * len(members) * len(non_members))
    variance = _variance_of_mean(twice / (2 * len(non_members)))
    variance += _variance_of_mean(_twice_beaten(non_members, members) / (2 * len(members)))
    half_width = NORMAL_95 * math.sqrt(variance_times * variance)

    thresholds = np.unique(np.concatenate([members, non_members]))
    true_positives = len(members) - np.searchsorted(members, thresholds, "left")
    false_positives = len(non_members) - np.searchsorted(non_members, thresholds, "left")

    def tpr_at(one_in: int) -> float:
        allowed = false_positives <= max((len(non_members) + 1) // one_in - 1, 0)
        return float(true_positives[allowed].max(initial=0) / len(members))

    return Scores(
        auc=auc,
        auc_low=max(auc - half_width, 0.0),
        auc_high=min(auc + half_width, 1.0),
        advantage=float((true_positives / len(members) - false_positives / len(non_members)).max()),
        tpr_at_1_in_100=tpr_at(100),
        tpr_at_1_in_1000=tpr_at(1000),
        members=len(members),
        non_members=len(non_members),
    )


def _twice_beaten(scores: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return for each score [n] twice the number of sorted `others` below it plus the number equal to it, int [n]."""
    return np.searchsorted(others, scores, "left") + np.searchsorted(others, scores, "right")


def _variance_of_mean(x: np.ndarray) -> float:
    return float(np.var(x, ddof=1)) / len(x)
