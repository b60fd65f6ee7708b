"""What a distilled set costs: the rule, and its way from the stage to the tables and the page."""

import csv
import re
from collections import Counter
from importlib.resources import files

import numpy as np
import pytest

from frepo.methods.budget import are_hard, budget_bytes
from frepo.report.page import write_report
from frepo.report.sweep import write_sweep
from frepo.rundir import record
from frepo.store.connect import writing
from frepo.store.query import query
from frepo.store.tables import accuracy_text, bytes_text, list_runs

CIFAR10 = {"dataset": {"name": "cifar10"}, "image_shape": (32, 32, 3)}
IMAGES, LABELS = 10 * 32 * 32 * 3 * 4, 10 * 10 * 4
BUDGETS = {"frepo": IMAGES + LABELS, "random": IMAGES}


def one_hot(ipc=2, classes=10):
    return np.repeat(np.eye(classes, dtype=np.float32), ipc, axis=0)


def images(count):
    return np.zeros((count, 8, 8, 1), np.float32)


@pytest.mark.parametrize("scale", [1, 0.25, 1 / 3, 1e-3])
@pytest.mark.parametrize("shift", [0, -0.1, 5])
def test_hard_labels_cost_nothing_however_they_are_scaled_and_shifted(scale, shift):
    labels = np.float32(scale) * one_hot() + np.float32(shift)
    assert budget_bytes(images(20), labels, {}) == 20 * 64 * 4


def test_soft_labels_cost_four_bytes_for_each_class_of_each_image():
    labels = one_hot() + np.random.default_rng(0).normal(0, 0.1, (20, 10)).astype(np.float32)
    assert budget_bytes(images(20), labels, {}) == 20 * (64 + 10) * 4


@pytest.mark.parametrize("place", [(3, 1), (3, 7)], ids=["of its class", "of another"])
def test_labels_are_soft_where_a_single_number_differs(place):
    labels = one_hot()
    labels[place] += 0.01
    assert not are_hard(labels)
    labels[:, :] = one_hot()
    labels[place] += 1e-7  # rounding
    assert are_hard(labels)


def test_labels_of_a_single_class_or_of_equal_numbers():
    assert are_hard(np.ones((3, 1), np.float32))
    assert not are_hard(np.array([[1.0], [2.0]], np.float32))


def test_labels_of_several_classes_at_once_are_soft():
    assert not are_hard(np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]], np.float32))


def test_further_learned_arrays_cost_what_they_hold():
    further = {"log_temperature": np.zeros((), np.float32), "rates": np.zeros(3, np.float32)}
    assert budget_bytes(images(20), one_hot(), further) == 20 * 64 * 4 + 4 + 12


def test_a_stage_records_what_its_set_costs_and_the_database_has_it(place):
    spec = place.spec()
    place.run(spec)
    _, directory = place.stage(spec)
    assert record.read_stage(directory).budget_bytes == 10 * 64 * 4
    found = query(place.options.database, "SELECT kind, budget_bytes FROM stages WHERE budget_bytes IS NOT NULL").rows
    assert found == (("distill", 10 * 64 * 4),)


def test_each_accuracy_has_the_budget_of_the_set_behind_it(fake_runs, database):
    full = [{"type": "evaluate", "baselines": ["random", "full"]}]
    plan, _ = fake_runs(application=full, scores=((0.5,), (0.25,), (0.75,)), budgets=BUDGETS, **CIFAR10)
    expected = {"distilled": IMAGES + LABELS, "random": IMAGES, "full": None}
    for view in ("accuracy_table", "seed_table"):
        assert dict(query(database(), f"SELECT source, budget_bytes FROM {view}").rows) == expected
    sql = "SELECT method, budget, budget_bytes FROM leaderboard WHERE origin = 'run'"
    board = {method: (budget, count) for method, budget, count in query(database(), sql).rows}
    assert board == {"frepo": ("images", IMAGES + LABELS), "random": ("images", IMAGES), "full": ("images", None)}
    assert [row["budget_bytes"] for row in list_runs(database()).dicts()] == [IMAGES + LABELS]
    line, *_ = accuracy_text(database(), [plan.run_id]).splitlines()
    assert "distilled  123 KB  top-1 50.0%" in line


def unsealed(path):
    """Return the text of a record as earlier versions wrote it, without its digest."""
    return re.sub(r'\n "sha256": "[0-9a-f]{64}",', "", path.read_text(), count=1)


def test_what_an_earlier_version_recorded_has_no_budget(fake_runs, database):
    plan, _ = fake_runs()
    path = fake_runs.directory("small", plan.stages[0]) / record.STAGE_FILE
    text = unsealed(path)
    assert ',\n "budget_bytes": null' in text
    path.write_text(text.replace(',\n "budget_bytes": null', ""))
    assert query(database(), "SELECT DISTINCT budget_bytes FROM stages").rows == ((None,),)
    assert query(database(), "SELECT count(*), count(budget_bytes) FROM accuracy_table").rows == ((2, 0),)


@pytest.mark.parametrize("needs", ['"x"', "{}", "null", "7"])
def test_a_record_of_odd_needs_takes_only_its_budget_from_the_tables(fake_runs, database, needs):
    plan, _ = fake_runs(budgets=BUDGETS)
    path = fake_runs.directory("small", plan.stages[1]) / record.STAGE_FILE
    stage = plan.stages[0].fingerprint
    text = unsealed(path)
    start, end = text.index("[", text.index('"needs"')), text.index("]", text.index(stage)) + 1
    path.write_text(text[:start] + needs + text[end:])
    sql = "SELECT source, budget_bytes FROM accuracy_table ORDER BY source"
    assert query(database(), sql).rows == (("distilled", None), ("random", IMAGES))


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, ""),
        (0, "0 B"),
        (4, "4 B"),
        (999, "999 B"),
        (1000, "1 KB"),
        (2960, "2.96 KB"),
        (122_880, "123 KB"),
        (999_499, "999 KB"),
        (999_500, "1 MB"),
        (12_288_000, "12.3 MB"),
        (3_000_000_000, "3 GB"),
    ],
)
def test_bytes_are_shown_in_three_digits(count, text):
    assert bytes_text(count) == text


def published():
    return list(csv.DictReader(files("frepo.store").joinpath("published.csv").read_text().splitlines()))


def test_published_numbers_are_there_once_and_say_what_their_set_is():
    rows = published()
    keys = Counter((row["method"], row["dataset"], row["ipc"], row["metric"], row["budget"]) for row in rows)
    assert max(keys.values()) == 1
    assert {row["budget"] for row in rows} == {"images", "parametrised"}
    assert all(0 < float(row["mean"]) < 100 and row["source"] for row in rows)
    sizes = {(row["resolution"], row["depth"]) for row in rows if row["depth"]}
    assert sizes == {("32", "3"), ("64", "4"), ("128", "5")}
    assert not {row["width"] for row in rows if row["method"] == "kip"} - {""}


def test_parametrised_sets_are_ranked_apart(fake_runs, database):
    fake_runs(budgets=BUDGETS, scores=((0.99,), (0.25,)), **CIFAR10)
    board = query(database(), "SELECT * FROM leaderboard WHERE dataset = 'cifar10' AND ipc = 1").dicts()
    budgets = [row["budget"] for row in board]
    assert budgets == sorted(budgets)
    for budget in ("images", "parametrised"):
        rows = [row for row in board if row["budget"] == budget]
        assert rows[0]["rank"] == 1
        assert [row["top1_mean"] for row in rows] == sorted((row["top1_mean"] for row in rows), reverse=True)
        methods = {row["method"] for row in published() if (row["dataset"], row["ipc"]) == ("cifar10", "1")}
        assert {row["method"] for row in rows} <= methods
    assert {row["budget"] for row in board if row["origin"] == "run"} == {"images"}
    assert board[0]["method"] == "frepo"


def parametrised(database, method):
    """Make what the literature reports for a method that of parametrised sets, and return the database."""
    with writing(database) as connection:
        connection.execute("UPDATE published SET budget = 'parametrised' WHERE method = ?", [method])
    return database


@pytest.mark.parametrize("dataset", [{}, {"classes": [3, 5]}], ids=["same task", "nearly the same"])
def test_numbers_of_parametrised_sets_never_stand_beside_ours(fake_runs, database, tmp_path, dataset):
    tables = {"dataset": {"name": "cifar10", **dataset}, "image_shape": (32, 32, 3), "budgets": BUDGETS}
    fake_runs(application=[{"type": "evaluate"}], scores=((0.5,),), sweep="grid", swept={"distill.ipc": 1}, **tables)
    for shown in (True, False):
        db = database() if shown else parametrised(database(), "frepo")
        sql = "SELECT published_top1, near_published_top1 FROM accuracy_table"
        ((same, near),) = query(db, sql).rows
        assert ((same, near) != (None, None)) == shown
        for page in (
            write_report(db, fake_runs.runs_dir, ["small"], tmp_path),
            write_sweep(db, fake_runs.runs_dir, "grid", tmp_path),
        ):
            text = page.read_text()
            assert ("46.8" in text) == ("PAD paper" in text) == shown
            assert "123 KB" in text


def test_a_method_with_both_kinds_of_sets_has_one_row_with_the_number_for_images(fake_runs, database):
    fake_runs(application=[{"type": "evaluate"}], scores=((0.5,),), **CIFAR10)
    db = database()
    with writing(db) as connection:
        connection.execute("""INSERT INTO published
            SELECT * REPLACE ('parametrised' AS budget, 66.6 AS mean) FROM published WHERE method = 'frepo'""")
    assert query(db, "SELECT published_top1 FROM accuracy_table").rows == ((pytest.approx(0.468),),)
    sql = "SELECT budget, origin, top1_mean FROM leaderboard WHERE method = 'frepo' AND (dataset, ipc) = ('cifar10', 1)"
    assert query(db, sql).rows == (
        ("images", "run", 0.5),
        ("images", "published", pytest.approx(0.468)),
        ("parametrised", "published", pytest.approx(0.666)),
    )
