"""Published numbers stand beside ours for the same task alone; networks that differ are told apart."""

import pytest

from frepo.report.sections import cross_architecture_matrix
from frepo.store.ingest import ingest
from frepo.store.query import query
from frepo.store.tables import accuracy_rows, accuracy_text, list_runs, network_text

CIFAR10 = {"dataset": {"name": "cifar10"}, "image_shape": (32, 32, 3)}


@pytest.fixture
def db(tmp_path):
    return tmp_path / "results.duckdb"


def test_published_numbers_stand_beside_ours_for_the_same_task(fake_runs, db):
    fake_runs(**CIFAR10)
    ingest(db, fake_runs.runs_dir)
    rows = {row["source"]: row for row in query(db, "SELECT * FROM accuracy_table").dicts()}
    assert rows["distilled"]["published_top1"] == pytest.approx(0.468)
    assert rows["distilled"]["published_std"] == pytest.approx(0.007)
    assert rows["random"]["published_top1"] == pytest.approx(0.154)
    assert {row["near_published_differs"] for row in rows.values()} == {None}
    board = query(db, "SELECT * FROM leaderboard WHERE dataset = 'cifar10' AND ipc = 1").dicts()
    board = [row for row in board if row["budget"] == "images"]
    assert [row["rank"] for row in board] == sorted(row["rank"] for row in board)
    ours = [row for row in board if row["origin"] == "run"]
    assert {row["method"]: row["num_models"] for row in ours} == {"frepo": 2, "random": 2}
    (random,) = [row for row in board if (row["method"], row["origin"]) == ("random", "published")]
    assert random["found_in"] == rows["random"]["published_in"]
    assert board[0]["top1_mean"] == max(row["top1_mean"] for row in board)


@pytest.mark.parametrize(
    ("settings", "differs"),
    [
        ({"dataset": {"classes": [3, 5]}}, "2 classes"),
        ({"dataset": {"train_fraction": 0.1}}, "10% of the training images"),
        ({"dataset": {"chunk_size": 500, "chunk_index": 2}}, "500 training images, piece 2"),
        ({"dataset": {"resolution": 16}, "image_shape": (16, 16, 3)}, "16 pixels, not 32"),
        ({"distill": {"validation_fraction": 0.2}}, "20% of the training images held out"),
        ({"architecture": {"width": 32}}, "width 32, not 128"),
        ({"architecture": {"width": 32, "depth": 2}}, "width 32, not 128, depth 2, not 3"),
        ({"architecture": {"pooling": "max"}}, "pooling max"),
        ({"application": [{"type": "evaluate", "labels": "hard"}]}, "hard labels"),
        ({"dataset": {"name": "cifar10:3.0.2"}}, None),
        ({"dataset": {"resolution": 32}}, None),
        ({"architecture": {"type": "dcconv", "normalization": "instance"}}, None),
    ],
    ids=str,
)
def test_of_nearly_the_same_task_the_number_stands_apart_with_what_differs(fake_runs, db, settings, differs):
    tables = {name: settings[name] for name in ("distill", "architecture") if name in settings}
    fake_runs(
        dataset=CIFAR10["dataset"] | settings.get("dataset", {}),
        image_shape=settings.get("image_shape", CIFAR10["image_shape"]),
        application=settings.get("application", [{"type": "evaluate"}]),
        tables=tables,
    )
    ingest(db, fake_runs.runs_dir)
    (row,) = query(db, "SELECT * FROM accuracy_table").dicts()
    same, near = (row["published_top1"], row["published_in"]), (row["near_published_top1"], row["near_published_in"])
    assert row["near_published_differs"] == differs
    assert (near if differs is None else same) == (None, None)
    assert (same if differs is None else near)[0] == pytest.approx(0.468)


def test_a_part_of_a_data_set_is_ranked_by_itself_and_named(fake_runs, db):
    fake_runs("whole", **CIFAR10)
    plan, _ = fake_runs("part", dataset={"name": "cifar10", "classes": [3, 5]}, image_shape=(32, 32, 3), seed=1)
    ingest(db, fake_runs.runs_dir)
    parts = query(db, "SELECT found_in, rank FROM leaderboard WHERE part IS NOT NULL").rows
    assert parts == ((plan.run_id.replace("small", "part"), 1), (plan.run_id.replace("small", "part"), 2))
    assert "cifar10 (2 classes)" in accuracy_text(db, [run_id for run_id, _ in parts])


def test_other_networks_are_not_held_against_published_numbers(fake_runs, db):
    crossed = {"type": "cross_architecture", "architectures": [{"type": "vgg11"}, {"width": 128}]}
    fake_runs(application=[crossed], scores=((0.5,), (0.25,)), **CIFAR10)
    ingest(db, fake_runs.runs_dir)
    found = query(db, "SELECT architecture, published_top1, near_published_top1 FROM accuracy_table").rows
    assert sorted(found) == [("conv", pytest.approx(0.468), None), ("vgg11", None, None)]
    matrix = query(db, "SELECT architecture, width, top1_mean, num_models FROM cross_architecture").rows
    assert matrix == (("vgg11", None, 0.5, 1), ("conv", 128, 0.25, 1))


@pytest.mark.parametrize(
    "architectures",
    [
        [{"width": 8}, {"width": 16}],
        [{"depth": 2}, {"depth": 3}],
        [{"pooling": "average"}, {"pooling": "max"}, {"pooling": "none"}],
        [{"type": "vgg11"}, {"type": "vgg11", "pooling": "average"}, {"type": "vgg11", "width": 64}],
        [{"precision": "float32"}, {"precision": "bfloat16"}],
        [{"normalization": "batch"}, {"normalization": "instance"}],
    ],
    ids=str,
)
def test_networks_that_differ_in_anything_stand_side_by_side(fake_runs, db, architectures):
    crossed = {"type": "cross_architecture", "architectures": architectures}
    count = len(architectures)
    fake_runs(application=[crossed], scores=[(i / 8,) for i in range(count)])
    ingest(db, fake_runs.runs_dir)
    rows = query(db, "SELECT * FROM cross_architecture").dicts()
    assert len({network_text(row) for row in rows}) == len(rows) == count
    matrix = cross_architecture_matrix(rows)
    assert [cells[0]["top1_mean"] for _, cells in matrix.rows] == [i / 8 for i in range(count)]


def test_one_network_trained_in_two_ways_is_two_rows_of_the_matrix(fake_runs, db):
    networks = [{"width": 8}, {"width": 16}]
    crossed = [
        {"type": "cross_architecture", "architectures": networks, "steps": steps, "weight_decay": decay}
        for steps, decay in ((600, 0.0), (700, 0.0), (700, 0.1))
    ]
    fake_runs(application=crossed, scores=[(i / 8,) for i in range(6)])
    ingest(db, fake_runs.runs_dir)
    rows = query(db, "SELECT * FROM cross_architecture").dicts()
    found = {text: cells[0]["top1_mean"] for text, cells in cross_architecture_matrix(rows).rows}
    assert sorted(found.values()) == [i / 8 for i in range(6)]


def test_top5_is_left_out_where_five_classes_or_fewer_make_it_certain(fake_runs, db):
    fake_runs("five", class_names="abcde")
    fake_runs("six", class_names="abcdef")
    ingest(db, fake_runs.runs_dir)
    found = query(db, "SELECT run, count(*), count(top5) FROM evaluations GROUP BY run ORDER BY run").rows
    assert found == (("five", 4, 0), ("six", 4, 4))
    ids = dict(query(db, "SELECT name, run_id FROM runs").rows)
    assert [row["top5_mean"] for row in accuracy_rows(db, [ids["five"]])] == [None, None]
    text = accuracy_text(db, [ids["five"]])
    assert "top-1 62.5" in text
    assert "top-5" not in text
    assert "top-5" in accuracy_text(db, [ids["six"]])


def test_a_run_is_listed_with_its_time_once_whatever_predicts(fake_runs, db):
    plan, _ = fake_runs(scores=((0.5,), (0.25,)))
    path = fake_runs.directory("small", plan.stages[1]) / "evaluations.jsonl"
    path.write_text(path.read_text().replace('"network"', '"krr"').replace("0.5", "0.125") + path.read_text())
    ingest(db, fake_runs.runs_dir)
    (row,) = list_runs(db).dicts()
    assert (row["wall_s"], row["distilled_top1"], row["random_top1"]) == (4 * 90.0, 0.5, 0.25)
