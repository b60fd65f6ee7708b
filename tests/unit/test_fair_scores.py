"""The scores against their formulas, and their errors against simulation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frepo.apps.fair_scores import fair_scores
from frepo.plan import FairScoresStage

WEIGHTS = FairScoresStage(improvement_weight=0.5, augmented_weight=0.5)
share = st.floats(0, 1)


def scores(accuracies, weights=WEIGHTS):
    return {row["name"]: row["value"] for row in fair_scores(weights, accuracies)}


def robust(x):
    return (math.e**x - math.e**-1) / (math.e - math.e**-1)


def test_each_score_is_its_formula():
    found = scores([[0.9, 0.7], [0.5], [0.6], [0.3], [0.55], [0.2]])
    assert found["hard_label_recovery"] == pytest.approx(0.3)
    assert found["improvement_over_random"] == pytest.approx(0.3)
    assert found["label_robust_score"] == pytest.approx(robust(0.5 * 0.3 - 0.5 * 0.3))
    assert found["augmentation_robust_score"] == pytest.approx(robust(0.5 * 0.3 + 0.5 * 0.35))


def test_the_weights_say_which_part_counts():
    accuracies = [[0.9], [0.5], [0.6], [0.3], [0.5], [0.2]]
    found = scores(accuracies, FairScoresStage(improvement_weight=1.0, augmented_weight=0.0))
    assert found["label_robust_score"] == pytest.approx(robust(0.3))
    assert found["augmentation_robust_score"] == pytest.approx(robust(0.3))


@settings(derandomize=True)
@given(st.lists(share, min_size=6, max_size=6))
def test_the_robust_scores_lie_between_none_and_all(values):
    found = scores([[value] for value in values])
    assert -1e-12 <= found["label_robust_score"] <= 1 + 1e-12
    assert -1e-12 <= found["augmentation_robust_score"] <= 1 + 1e-12
    # Better images never score less.
    more = [values[0], min(1.0, values[1] + 0.1), min(1.0, values[2] + 0.1), *values[3:]]
    assert scores([[value] for value in more])["label_robust_score"] >= found["label_robust_score"] - 1e-12


def test_errors_are_those_of_simulated_networks():
    random = np.random.default_rng(0)
    means = np.array([0.8, 0.5, 0.6, 0.3, 0.55, 0.25])

    def draw():
        return [list(random.normal(mean, 0.02, size=5)) for mean in means]

    worlds = [scores(draw()) for _ in range(4000)]
    told = [{row["name"]: row["standard_error"] for row in fair_scores(WEIGHTS, draw())} for _ in range(400)]
    for name in worlds[0]:
        spread = np.std([world[name] for world in worlds])
        assert math.sqrt(np.mean([one[name] ** 2 for one in told])) == pytest.approx(spread, rel=0.1)
