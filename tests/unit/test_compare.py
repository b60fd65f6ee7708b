"""Two runs side by side."""

from datetime import timedelta

import numpy as np
import pytest
from scipy.stats import ttest_ind, ttest_rel

from frepo.errors import FrepoError
from frepo.store.compare import compare, comparison_text
from frepo.store.find import find_runs, newest_runs
from frepo.store.ingest import ingest

BASELINE = [{"type": "evaluate", "baselines": ["random"]}]
FIVE = ((0.80, 0.81, 0.83, 0.82, 0.84), (0.5, 0.5, 0.5, 0.5, 0.5))
THREE = ((0.85, 0.84, 0.89), (0.5, 0.5, 0.5))


@pytest.fixture
def db(fake_runs, tmp_path):
    """Two runs that differ in their seeds, their steps and their scores."""
    steps = [{"type": "evaluate", "baselines": ["random"], "steps": 600}]
    fake_runs("one", scores=FIVE)
    fake_runs("two", seed=3, application=steps, scores=THREE)
    ingest(tmp_path / "x.duckdb", fake_runs.runs_dir)
    return tmp_path / "x.duckdb"


def test_changed_fields_have_paths_and_both_values(db):
    found = compare(db, "one", "two").to_json()
    assert found["changes"] == [
        {"field": "seed", "a": 0, "b": 3},
        {"field": "application.0.steps", "a": None, "b": 600},
    ]


def test_the_interval_is_that_of_welch(db):
    pair, equal = compare(db, "one", "two").accuracies
    expected = ttest_ind(THREE[0], FIVE[0], equal_var=False).confidence_interval(0.95)
    assert pair.difference - pair.half_width == pytest.approx(expected.low, abs=1e-12)
    assert pair.difference + pair.half_width == pytest.approx(expected.high, abs=1e-12)
    assert pair.told_apart is bool(expected.low > 0)
    assert pair.told_apart is False
    assert (equal.half_width, equal.told_apart) == (0.0, False)


def test_networks_that_share_seeds_and_recipe_are_paired(fake_runs, tmp_path):
    better = (0.81, 0.82, 0.84, 0.84, 0.85)
    fake_runs("one", scores=FIVE[::-1])
    fake_runs("two", tables={"distill": {"steps": 7}}, scores=(FIVE[1], better))
    fake_runs("five", tables={"distill": {"steps": 8}}, scores=(FIVE[0], better))
    ingest(tmp_path / "x.duckdb", fake_runs.runs_dir)
    pair, _ = compare(tmp_path / "x.duckdb", "five", "two").accuracies
    assert (pair.test, _.test) == ("paired", "paired")
    expected = ttest_rel(FIVE[1], FIVE[0]).confidence_interval(0.95)
    assert pair.difference - pair.half_width == pytest.approx(expected.low, abs=1e-12)
    assert pair.difference + pair.half_width == pytest.approx(expected.high, abs=1e-12)
    same = compare(tmp_path / "x.duckdb", "two", "two").accuracies
    assert [(p.difference, p.half_width, p.told_apart, p.test) for p in same] == [(0.0, 0.0, False, "paired")] * 2


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"tables": {"architecture": {"width": 16}}}, {"application": [{**BASELINE[0], "weight_decay": 0.1}]}],
    ids=str,
)
def test_networks_of_other_seeds_or_recipes_are_independent(fake_runs, tmp_path, change):
    fake_runs("one", application=BASELINE, scores=FIVE)
    fake_runs("two", **{"application": BASELINE, "scores": FIVE, **change})
    ingest(tmp_path / "x.duckdb", fake_runs.runs_dir)
    pairs = compare(tmp_path / "x.duckdb", "one", "two").accuracies
    assert [pair.test for pair in pairs] == ["Welch", "Welch"]
    assert pairs[0].half_width > 0


def test_a_difference_that_chance_does_not_explain_is_told_apart(fake_runs, tmp_path):
    fake_runs("one", scores=FIVE)
    fake_runs("two", seed=3, scores=(tuple(np.add(FIVE[0], 0.05)), (0.4, 0.4, 0.4, 0.4, 0.4)))
    ingest(tmp_path / "x.duckdb", fake_runs.runs_dir)
    assert [pair.told_apart for pair in compare(tmp_path / "x.duckdb", "one", "two").accuracies] == [True, True]


def test_one_network_has_no_interval_and_what_one_run_lacks_stands_alone(fake_runs, tmp_path):
    fake_runs("one", scores=((0.5,), (0.25,)))
    fake_runs("two", application=[{"type": "evaluate"}], scores=((0.75,),))
    ingest(tmp_path / "x.duckdb", fake_runs.runs_dir)
    found = compare(tmp_path / "x.duckdb", "one", "two")
    assert [(p.difference, p.half_width, p.told_apart) for p in found.accuracies] == [
        (0.25, None, None),
        (None, None, None),
    ]
    assert (
        found.to_json()["accuracies"][1] | {"b_top1_mean": None, "a_top1_mean": 0.25}
        == (found.to_json()["accuracies"][1])
    )
    (alone,) = [line for line in comparison_text(found).splitlines() if line.startswith("random")]
    assert alone.endswith("25.0% (1)")


def test_rows_of_the_same_settings_are_paired_before_those_that_differ(fake_runs, tmp_path):
    def widths(*found):
        networks = [{"type": "conv", "width": width} for width in found]
        return [{"type": "cross_architecture", "architectures": networks, "normalizations": ["identity"]}]

    fake_runs("one", application=widths(16, 32), scores=((0.1, 0.2), (0.3, 0.4)))
    fake_runs("two", application=widths(32, 64), scores=((0.5, 0.6), (0.7, 0.8)))
    ingest(tmp_path / "x.duckdb", fake_runs.runs_dir)
    pairs = compare(tmp_path / "x.duckdb", "one", "two").accuracies
    assert [(pair.a["width"], pair.b["width"]) for pair in pairs] == [(16, 64), (32, 32)]


def test_runs_are_found_by_name_and_by_id_and_the_newest_of_a_name_is_meant(fake_runs, tmp_path):
    _, old = fake_runs("one")
    _, new = fake_runs("one", seed=1, created=old.created + timedelta(days=1))
    database = tmp_path / "x.duckdb"
    ingest(database, fake_runs.runs_dir)
    assert [row["run_id"] for row in find_runs(database, ["one", old.run_id])] == [new.run_id, old.run_id]
    assert [row["run_id"] for row in newest_runs(database)] == [new.run_id]
    found = compare(database, old.run_id, "one")
    assert (found.a, found.b) == (old.run_id, new.run_id)


@pytest.mark.parametrize(("names", "near"), [(("one", "tow"), "`two`"), (("on", "two"), "`one`")])
def test_an_unknown_run_is_named_with_the_one_that_is_near(db, names, near):
    with pytest.raises(FrepoError, match=f"there is no run `.*` in .*x.duckdb, did you mean {near}"):
        compare(db, *names)


def test_the_same_run_twice_has_no_changes(db):
    assert "the specs are the same" in comparison_text(compare(db, "one", "one"))


ALONE = [{"type": "evaluate"}]
OF_A = [(0.50, 0.52), (0.55, 0.56), (0.48, 0.51)]
OF_B = [(0.53, 0.54), (0.57, 0.61), (0.50, 0.55)]
"""Top-1 of two networks for each seed."""


def experiments(fake_runs, database, seeds_b=(0, 1, 2)):
    """Write seeds of two experiments, which differ in their steps, and return their run ids."""
    ids = {}
    for letter, scores, seeds, steps in (("a", OF_A, (0, 1, 2), 700), ("b", OF_B, seeds_b, 800)):
        for seed, top1 in zip(seeds, scores, strict=False):
            tables = {"distill": {"steps": steps}}
            _, run = fake_runs(f"{letter}{seed}", seed=seed, application=ALONE, scores=(top1,), tables=tables)
            ids[run.name] = run.run_id
    ingest(database, fake_runs.runs_dir)
    return ids


def interval(pair):
    return pytest.approx((pair.difference - pair.half_width, pair.difference + pair.half_width), abs=1e-12)


def test_experiments_of_the_same_seeds_are_paired_by_seed(fake_runs, tmp_path):
    ids = experiments(fake_runs, tmp_path / "x.duckdb")
    found = compare(tmp_path / "x.duckdb", "a0", "b1")
    (pair,) = found.accuracies
    expected = ttest_rel(np.mean(OF_B, axis=1), np.mean(OF_A, axis=1)).confidence_interval(0.95)
    assert (expected.low, expected.high) == interval(pair)
    assert (pair.test, found.seeds) == ("paired", ([0, 1, 2], [0, 1, 2]))
    assert found.to_json()["changes"] == [{"field": "distill.steps", "a": 700, "b": 800}], "seeds are no change"
    text = comparison_text(found)
    assert f"a = {ids['a0']}, with 3 seeds: 0, 1, 2\n" in text
    assert "52.0 ± 3.1% (3)" in text
    assert found.to_json()["accuracies"][0]["a_top1_seeds_std"] == pytest.approx(np.std(np.mean(OF_A, axis=1), ddof=1))


def test_experiments_of_other_seeds_are_independent(fake_runs, tmp_path):
    experiments(fake_runs, tmp_path / "x.duckdb", seeds_b=(2, 3, 4))
    found = compare(tmp_path / "x.duckdb", "a0", "b3")
    (pair,) = found.accuracies
    means = np.mean(OF_B, axis=1), np.mean(OF_A, axis=1)
    expected = ttest_ind(*means, equal_var=False).confidence_interval(0.95)
    assert (expected.low, expected.high) == interval(pair)
    assert (pair.test, found.seeds) == ("Welch", ([0, 1, 2], [2, 3, 4]))


def test_seeds_that_one_experiment_lacks_are_left_out_of_pairs(fake_runs, tmp_path):
    experiments(fake_runs, tmp_path / "x.duckdb", seeds_b=(1, 2, 3))
    (pair,) = compare(tmp_path / "x.duckdb", "a0", "b1").accuracies
    a, b = np.mean(OF_A, axis=1)[1:], np.mean(OF_B, axis=1)[:2]
    expected = ttest_rel(b, a).confidence_interval(0.95)
    assert (expected.low, expected.high) == interval(pair)
    assert (pair.a["seeds"], pair.b["seeds"], pair.test) == ([1, 2], [1, 2], "paired")
    assert (pair.a["top1_mean"], pair.a["top1_seeds_std"]) == pytest.approx((np.mean(a), np.std(a, ddof=1)))


def test_ids_are_single_runs_and_so_are_seeds_of_one_experiment(fake_runs, tmp_path):
    database = tmp_path / "x.duckdb"
    ids = experiments(fake_runs, database)
    for a, b in ((ids["a0"], "b0"), ("a0", ids["b0"]), ("a0", "a1")):
        found = compare(database, a, b)
        assert (found.seeds, found.accuracies[0].a["num_models"]) == (None, 2)
        assert (found.a, found.b) == tuple(ids.get(name, name) for name in (a, b))
        assert found.accuracies[0].difference == pytest.approx(
            np.mean(OF_A[1] if b == "a1" else OF_B[0]) - np.mean(OF_A[0])
        )


def test_one_seed_of_either_leaves_the_test_over_networks(fake_runs, tmp_path):
    database = tmp_path / "x.duckdb"
    experiments(fake_runs, database)
    fake_runs("single", application=ALONE, scores=((0.7, 0.8),), tables={"distill": {"steps": 900}})
    ingest(database, fake_runs.runs_dir)
    found = compare(database, "a0", "single")
    expected = ttest_rel((0.7, 0.8), OF_A[0]).confidence_interval(0.95)
    assert (found.seeds, found.accuracies[0].test) == (None, "paired")
    assert (expected.low, expected.high) == interval(found.accuracies[0])


def test_an_evaluation_that_one_seed_alone_has_gets_no_interval(fake_runs, tmp_path):
    for letter, steps in (("a", 700), ("b", 800)):
        for seed in (0, 1):
            tables = {"distill": {"steps": steps}}
            fake_runs(
                f"{letter}{seed}", seed=seed, application=BASELINE, scores=((0.5, 0.6), (0.2, 0.3)), tables=tables
            )
    (stage,) = (fake_runs.runs_dir / "b1").glob("evaluate-random-*")
    (stage / "evaluations.jsonl").write_text("")
    ingest(tmp_path / "x.duckdb", fake_runs.runs_dir)
    distilled, random = compare(tmp_path / "x.duckdb", "a0", "b0").accuracies
    assert (distilled.test, distilled.half_width) == ("paired", 0.0)
    assert (random.test, random.half_width, random.difference) == (None, None, 0.0)
    assert (random.a["num_seeds"], random.b["num_seeds"]) == (2, 1)


def test_seeds_without_accuracies_do_not_count(fake_runs, tmp_path):
    ids = experiments(fake_runs, tmp_path / "x.duckdb", seeds_b=(0, 1))
    (stage,) = (fake_runs.runs_dir / "b1").glob("evaluate-*")
    (stage / "evaluations.jsonl").write_text("")
    ingest(tmp_path / "x.duckdb", fake_runs.runs_dir)
    found = compare(tmp_path / "x.duckdb", "a0", "b0")
    assert (found.seeds, found.a, found.b) == (None, ids["a0"], ids["b0"])
