"""The scores against their formulas, and their errors against simulation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frepo.applications.fair_scores import fair_scores, read_accuracies
from frepo.errors import SpecError
from frepo.plan import FairScoresStage
from frepo.rundir.record import EVALUATIONS, append_rows
from frepo.spec import load_spec

SPEC = """
name = "s"
dataset.name = "digits"
distill = { method = "random", ipc = 1 }
[[application]]
type = "fair_scores"
"""
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


@pytest.mark.parametrize("order", [("network", "krr"), ("krr", "network"), ("network",)])
def test_the_networks_are_compared_whichever_predictor_comes_first(tmp_path, order):
    directories = [tmp_path / name for name in ("full", "own")]
    for directory, predictors in zip(directories, [("network",), order], strict=True):
        directory.mkdir()
        rows = [
            {"predictor": predictor, "top1": 0.5 + model if predictor == "network" else 9.0}
            for model in (0, 1)
            for predictor in predictors
        ]
        append_rows(directory / EVALUATIONS, rows)
    assert read_accuracies(directories) == [[0.5, 1.5], [0.5, 1.5]]


def test_a_recipe_without_networks_that_predict_is_refused(tmp_path):
    path = tmp_path / "spec.toml"
    path.write_text(SPEC + 'predictors = ["krr"]\n')
    with pytest.raises(SpecError, match=r'spec.toml:5: application.0: predictors = .*krr.* needs "network" too'):
        load_spec(path)
    for predictors in ('["krr", "network"]', '["network"]'):
        path.write_text(f"{SPEC}predictors = {predictors}\n")
        load_spec(path)
