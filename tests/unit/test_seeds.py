"""Runs that differ in their seed only, and their sweeps."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from frepo.rundir import record
from frepo.store.fields import short_names
from frepo.store.ingest import ingest
from frepo.store.query import query
from frepo.store.tables import accuracy_text, list_runs, results_json, results_text


@pytest.fixture
def db(tmp_path) -> Path:
    return tmp_path / "results.duckdb"


def test_a_run_says_which_sweep_it_belongs_to(fake_runs, db):
    fake_runs("alone")
    fake_runs("grid-1", seed=1, sweep="grid", swept={"seed": 1, "distill.ipc": 1, "case": "digits"})
    ingest(db, fake_runs.runs_dir)
    rows = query(db, "SELECT name, sweep, swept FROM runs ORDER BY name").rows
    assert [(name, sweep, json.loads(swept)) for name, sweep, swept in rows] == [
        ("alone", None, {}),
        ("grid-1", "grid", {"seed": 1, "distill.ipc": 1, "case": "digits"}),
    ]


def test_records_written_before_there_were_sweeps_are_read(fake_runs, db):
    _, run = fake_runs("old")
    (path,) = record.run_files(fake_runs.runs_dir / "old")
    later = "sha256", "sweep", "swept"
    old = {key: value for key, value in json.loads(path.read_text()).items() if key not in later}
    path.write_text(json.dumps(old))
    assert record.read_run(path) == run
    assert ingest(db, fake_runs.runs_dir).problems == ()


def test_runs_that_differ_in_name_and_seed_share_an_experiment(fake_runs, db):
    fake_runs("one", sweep="grid", swept={"seed": 0})
    fake_runs("two", seed=1)
    fake_runs("three", seed=1, ipc=2)
    ingest(db, fake_runs.runs_dir)
    found = dict(query(db, "SELECT name, experiment FROM runs").rows)
    assert found["one"] == found["two"] != found["three"]


SCORES = [(0.5, 0.75, 0.55), (0.6, 0.65, 0.7), (0.8, 0.7, 0.9)]
"""Top-1 of three networks for each of three seeds."""
ALONE = [{"type": "evaluate"}]


def seed_rows(database: Path, where: str = "true") -> list[dict[str, Any]]:
    return query(database, f"SELECT * FROM seed_table WHERE {where}").dicts()


def run_seeds(fake_runs, scores=SCORES, prefix: str = "s", **settings: Any) -> list[str]:
    """Write a run for each seed and return their ids."""
    settings = {"application": ALONE, **settings}
    return [
        fake_runs(f"{prefix}{seed}", seed=seed, scores=(top1,), **settings)[1].run_id
        for seed, top1 in enumerate(scores)
    ]


def test_mean_std_and_interval_over_seeds_are_those_of_numpy(fake_runs, db):
    run_seeds(fake_runs)
    ingest(db, fake_runs.runs_dir)
    (row,) = seed_rows(db)
    means = np.mean(SCORES, axis=1)
    assert row["seeds"] == [0, 1, 2]
    assert row["top1_each_seed"] == pytest.approx(means)
    assert (row["num_seeds"], row["num_models"], row["most_models"]) == (3, 3, 3)
    assert row["top1_mean"] == pytest.approx(np.mean(means))
    assert row["top1_seeds_std"] == pytest.approx(np.std(means, ddof=1))
    interval = stats.t.interval(0.95, 2, loc=np.mean(means), scale=stats.sem(means))
    assert row["top1_mean"] + row["top1_seeds_ci95"] == pytest.approx(interval[1])
    assert row["names"] == ["s0", "s1", "s2"]


def test_std_over_networks_is_pooled_within_seeds_of_unequal_numbers_of_networks(fake_runs, db):
    scores = [(0.5, 0.75), (0.6, 0.65, 0.7, 0.9)]
    run_seeds(fake_runs, scores, class_names=tuple("abcdef"))
    ingest(db, fake_runs.runs_dir)
    (row,) = seed_rows(db)
    pooled = np.sqrt(sum(np.sum((np.array(top1) - np.mean(top1)) ** 2) for top1 in scores) / (1 + 3))
    assert row["top1_std"] == pytest.approx(pooled)
    error = pooled * np.sqrt(1 / 2 + 1 / 4) / 2
    assert row["top1_ci95"] == pytest.approx(stats.t.ppf(0.975, 4) * error)
    assert (row["num_models"], row["most_models"]) == (2, 4)
    assert row["top1_mean"] == pytest.approx((0.625 + 0.7125) / 2), "seeds weigh the same, whatever their networks"
    assert row["top5_std"] == pytest.approx(pooled / 2)


def test_one_seed_has_the_numbers_over_its_networks_only(fake_runs, db):
    run_seeds(fake_runs, SCORES[:1])
    ingest(db, fake_runs.runs_dir)
    (row,) = seed_rows(db)
    (same,) = query(db, "SELECT * FROM accuracy_table").dicts()
    assert (row["num_seeds"], row["top1_seeds_std"], row["top1_seeds_ci95"]) == (1, None, None)
    for name in ("top1_mean", "top1_std", "top1_ci95"):
        assert row[name] == pytest.approx(same[name])


def test_one_network_a_seed_has_no_numbers_over_networks(fake_runs, db):
    run_seeds(fake_runs, [(0.5,), (0.75,)])
    ingest(db, fake_runs.runs_dir)
    (row,) = seed_rows(db)
    assert (row["top1_std"], row["top1_ci95"], row["num_models"]) == (None, None, 1)
    assert row["top1_seeds_std"] == pytest.approx(np.std([0.5, 0.75], ddof=1))


def test_several_runs_of_one_seed_count_once(fake_runs, db):
    ids = run_seeds(fake_runs)
    _, again = fake_runs("again", seed=1, application=ALONE, scores=(SCORES[1],))
    ingest(db, fake_runs.runs_dir)
    (row,) = seed_rows(db)
    assert (row["num_seeds"], row["top1_each_seed"]) == (3, pytest.approx(np.mean(SCORES, axis=1)))
    assert row["run_ids"] == sorted([*ids, again.run_id])


def test_a_stage_that_two_runs_of_one_name_share_counts_once(fake_runs, db):
    more = [*ALONE, {"type": "evaluate", "steps": 600}]
    run_seeds(fake_runs, SCORES[:2], prefix="same")
    for seed in (0, 1):
        fake_runs(f"same{seed}", seed=seed, application=more, scores=(SCORES[seed], (0.1, 0.2, 0.3)))
    ingest(db, fake_runs.runs_dir)
    assert [(row["num_seeds"], row["num_models"]) for row in seed_rows(db)] == [(2, 3)] * 3


def test_of_two_runs_of_one_seed_the_one_with_more_networks_counts_then_the_newer(fake_runs, db):
    _, run = fake_runs("old", application=ALONE, scores=((0.5, 0.5),))
    fake_runs("new", application=ALONE, scores=((0.75, 0.75),), created=run.created + timedelta(days=1))
    fake_runs("unfinished", application=ALONE, scores=((0.25,),), created=run.created + timedelta(days=2))
    ingest(db, fake_runs.runs_dir)
    (row,) = seed_rows(db)
    assert (row["top1_mean"], row["num_seeds"], row["num_models"]) == (0.75, 1, 2)


def test_settings_that_no_column_shows_keep_evaluations_apart(fake_runs, db):
    decayed = [{"type": "evaluate"}, {"type": "evaluate", "weight_decay": 0.1}]
    for seed in (0, 1):
        fake_runs(f"d{seed}", seed=seed, application=decayed, scores=((0.5, 0.6), (0.7, 0.8)))
    ingest(db, fake_runs.runs_dir)
    assert [(row["top1_mean"], row["num_seeds"]) for row in seed_rows(db)] == [(0.55, 2), (0.75, 2)]


def test_rates_that_each_seed_chose_do_not_tear_seeds_apart(fake_runs, db):
    for seed in (0, 1):
        plan, _ = fake_runs(f"c{seed}", seed=seed, application=ALONE, scores=((0.5, 0.6),))
        path = fake_runs.directory(f"c{seed}", plan.stages[1]) / record.EVALUATIONS
        rows = [{**row, "learning_rate": 0.1 * (1 + seed)} for row in record.read_rows(path)]
        path.unlink()
        record.append_rows(path, rows)
    ingest(db, fake_runs.runs_dir)
    assert [(row["num_seeds"], row["learning_rate"]) for row in seed_rows(db)] == [(2, None)]


def test_rows_of_an_old_version_without_settings_are_taken_too(fake_runs, db):
    for seed in (0, 1):
        plan, _ = fake_runs(f"n{seed}", seed=seed, application=ALONE, scores=((0.5, 0.6),))
        path = fake_runs.directory(f"n{seed}", plan.stages[1]) / record.EVALUATIONS
        left_out = ("loss", "optimizer", "learning_rate", "augmentation", "augmentation_mode", "pooling")
        rows = [{k: v for k, v in row.items() if k not in left_out} for row in record.read_rows(path)]
        path.unlink()
        record.append_rows(path, rows)
    ingest(db, fake_runs.runs_dir)
    (row,) = seed_rows(db)
    assert (row["num_seeds"], row["loss"], row["pooling"], row["learning_rate"]) == (2, None, None, None)


def test_only_the_runs_asked_for_are_taken(fake_runs, db):
    ids = run_seeds(fake_runs)
    ingest(db, fake_runs.runs_dir)
    (row,) = query(db, "SELECT * FROM seeds_of(?)", [ids[1:]]).dicts()
    assert (row["seeds"], row["top1_mean"]) == ([1, 2], pytest.approx(np.mean(SCORES[1:])))
    assert query(db, "SELECT * FROM seeds_of([])").rows == ()


def test_leaderboard_and_architectures_give_both_numbers_of_samples(fake_runs, db):
    crossed = [{"type": "cross_architecture", "architectures": [{"width": 8}, {"width": 16}]}]
    for seed, top1 in enumerate(SCORES):
        fake_runs(f"x{seed}", seed=seed, application=crossed, scores=(top1, (0.1, 0.1, 0.1)))
    fake_runs("alone", application=ALONE, ipc=2, scores=((0.2,),))
    ingest(db, fake_runs.runs_dir)
    means = np.mean(SCORES, axis=1)
    best, other = query(db, "SELECT * FROM leaderboard WHERE origin = 'run' AND ipc = 1").dicts()
    assert (best["rank"], best["num_seeds"], best["num_models"]) == (1, 3, 3)
    assert best["top1_seeds_std"] == pytest.approx(np.std(means, ddof=1))
    assert other["top1_mean"] == pytest.approx(0.1)
    rows = query(db, "SELECT * FROM cross_architecture WHERE width = 8 ORDER BY name").dicts()
    assert [row["top1_mean"] for row in rows] == pytest.approx(means)
    narrow, wide = query(db, "SELECT * FROM cross_architecture_seeds ORDER BY width").dicts()
    assert [(row["width"], row["num_seeds"]) for row in (narrow, wide)] == [(8, 3), (16, 3)]
    assert narrow["top1_mean"] == pytest.approx(np.mean(means))
    assert narrow["top1_seeds_std"] == pytest.approx(np.std(means, ddof=1))


def test_runs_of_a_sweep_share_a_line_for_all_seeds(fake_runs, db):
    ids = [
        run_id
        for ipc in (1, 2)
        for run_id in run_seeds(fake_runs, prefix=f"grid-{ipc}-", ipc=ipc, sweep="grid", swept={"distill.ipc": ipc})
    ]
    ingest(db, fake_runs.runs_dir)
    lines = accuracy_text(db, ids).splitlines()
    means = np.mean(SCORES, axis=1)
    shown = f"top-1 {100 * np.mean(means):.1f} ± {100 * np.std(means, ddof=1):.1f}%"
    interval = stats.t.ppf(0.975, 2) * stats.sem(means)
    pooled = np.sqrt(np.mean(np.var(SCORES, axis=1, ddof=1)))
    samples = f"(3 seeds, 95% interval ± {100 * interval:.1f}; 3 networks a seed ± {100 * pooled:.1f}: conv width 128"
    assert [line.split("  ")[:4] for line in lines] == [
        [f"grid ipc={ipc}", "digits", f"ipc {ipc}", "distilled"] for ipc in (1, 2)
    ]
    assert all(shown in line and samples in line for line in lines)
    assert results_text(db, ids) == accuracy_text(db, ids)
    assert [entry["run_id"] for entry in results_json(db, ids)] == ids


def test_an_experiment_at_several_places_of_its_sweep_is_called_by_all_of_them(fake_runs, db):
    ids = [
        run_id
        for case in ("one", "other")
        for run_id in run_seeds(
            fake_runs, prefix=f"grid-{case}-", sweep="grid", swept={"case": case, "pool.flip": True}
        )
    ]
    ingest(db, fake_runs.runs_dir)
    (line,) = accuracy_text(db, ids).splitlines()
    assert line.split("  ")[0] == "grid case=one flip=true, case=other flip=true"


def test_one_run_of_a_sweep_is_called_by_its_name(fake_runs, db):
    first, *_ = run_seeds(fake_runs, prefix="grid-", sweep="grid", swept={"distill.ipc": 1})
    ingest(db, fake_runs.runs_dir)
    assert accuracy_text(db, [first]).startswith("grid-0  digits  ipc 1  distilled  top-1 60.0 ± 13.2%  (3 networks: ")


def test_seeds_that_no_sweep_holds_together_are_named_all(fake_runs, db):
    ids = run_seeds(fake_runs, [(0.5,), (0.75, 0.5)])
    ingest(db, fake_runs.runs_dir)
    (line,) = accuracy_text(db, ids).splitlines()
    assert line.startswith("s0, s1  digits")
    assert "2 seeds" in line
    assert "1 to 2 networks a seed ± 17.7:" in line
    assert list_runs(db).dicts()[0]["sweep"] is None


def test_axes_are_called_by_their_last_component_where_that_is_one():
    axes = ("distill.ipc", "pool.steps", "distill.steps", "seed", "seed")
    assert list(short_names(axes).values()) == ["ipc", "pool.steps", "distill.steps", "seed"]
