"""A user's mistake gets a few lines and an exit code, never a traceback, and leaves nothing half written."""

import json
import os
import subprocess

import duckdb
import pytest

pytestmark = pytest.mark.usefixtures("commands_compile_quickly")


def nothing_written(workplace):
    return not (workplace.path / "runs" / "tiny").exists()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"distill": 'method = "frepo"\nipc = 1\nstepz = 5'},
            "tiny.toml:13: distill.stepz: unknown field, did you mean",
        ),
        (
            {"distill": 'method = "frepo"\nipc = 1\nsteps = -5'},
            "distill.steps: input should be greater than or equal to 1",
        ),
        ({"distill": 'method = "frepo"\nipc = "ten"'}, "distill.ipc: input should be a valid integer, got 'ten'"),
        ({"architecture": 'normalization = "bacth"'}, "did you mean `batch`?"),
        ({"dataset": 'name = "digits"\npreprocess = "zca"'}, "dataset.preprocess"),
        ({"dataset": None}, "dataset: this field is required"),
        ({"pool": "= 3"}, "not valid TOML"),
    ],
)
def test_a_spec_that_is_not_valid_exits_2(workplace, change, expected):
    spec = workplace.spec(**change)
    for command in ("check", "run", "plan"):
        out, err = workplace.frepo(command, spec, code=2)
        assert out == ""
        assert expected in err
        assert "tiny.toml:" in err
        assert len(err.splitlines()) <= 3
    assert not (workplace.path / "runs").exists()


def test_check_names_every_spec(workplace):
    good, bad = workplace.spec("good"), workplace.spec("bad", pool="size = 0")
    out, err = workplace.frepo("check", good, bad, workplace.path / "missing.toml", code=2)
    assert out == f"{good}: ok\n"
    assert "bad.toml:18: pool.size" in err
    assert "missing.toml: no such file" in err


def test_no_spec_starts_while_another_is_not_valid(workplace):
    good, bad = workplace.spec("good"), workplace.spec("bad", pool="size = 0")
    out, err = workplace.frepo("run", good, bad, workplace.path / "missing.toml", code=2)
    assert out == ""
    assert "bad.toml:18: pool.size" in err
    assert "missing.toml: no such file" in err
    assert not (workplace.path / "runs").exists()


def test_results_are_printed_of_those_specs_that_did_not_fail(workplace):
    method = {"distill": 'method = "random"\nipc = 1', "pool": None}
    last = 'type = "evaluate"\nnum_models = 1\nsteps = 2\nwarmup_steps = 1\naugmentation = []'
    missing = workplace.spec("missing", dataset='name = "image_folder"\npath = "nothing"', application=None, **method)
    out, err = workplace.frepo("run", missing, workplace.spec("good", application=last, **method), code=1)
    assert out.startswith("good  digits")
    assert err.endswith(
        f"frepo: 1 of 2 specs failed, the others are done:\n  {missing}: dataset.path: nothing is not a folder\n"
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--set", "distill.ipc=200"), "distill.ipc = 200 is more than the smallest class of digits has: 139"),
        (("--set", "architecture.depth=4"), "architecture.depth = 4 halves images of 8x8 pixels to nothing"),
        (
            ("--set", "dataset.name=cifar10", "--offline", "--data-dir", "empty"),
            "data set 'cifar10' is not prepared in empty",
        ),
        (
            ("--set", "dataset.name=cifar10", "--offline", "--data-dir", "nowhere"),
            "the data directory nowhere does not exist",
        ),
    ],
)
def test_what_does_not_fit_the_data_exits_1_before_anything_is_written(workplace, arguments, expected):
    (workplace.path / "empty").mkdir()
    _, err = workplace.frepo("run", workplace.spec(), *arguments, code=1)
    assert expected in err
    assert len(err.splitlines()) <= 4
    assert nothing_written(workplace)


def prepared_directory(workplace, file_format):
    """Write the directory of a prepared TFDS data set of two classes, without its images."""
    directory = workplace.path / "data" / "toys" / "1.0.0"
    directory.mkdir(parents=True)
    split = {
        "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
        "numBytes": "9",
        "shardLengths": ["3"],
    }
    info = {
        "name": "toys",
        "version": "1.0.0",
        "moduleName": "toys",
        "fileFormat": file_format,
        "splits": [{**split, "name": "train"}, {**split, "name": "test"}],
    }
    core = "tensorflow_datasets.core.features."
    image = {"dtype": "uint8", "shape": {"dimensions": ["8", "8", "1"]}}
    features = {
        "image": {"image": image, "pythonClassName": f"{core}image_feature.Image"},
        "label": {"classLabel": {"numClasses": "2"}, "pythonClassName": f"{core}class_label_feature.ClassLabel"},
    }
    top = {"featuresDict": {"features": features}, "pythonClassName": f"{core}features_dict.FeaturesDict"}
    (directory / "dataset_info.json").write_text(json.dumps(info))
    (directory / "features.json").write_text(json.dumps(top))
    return directory


def toys(workplace):
    return "run", workplace.spec(dataset='name = "toys:1.0.0"'), "--data-dir", workplace.path / "data"


def test_a_data_set_prepared_in_another_format_is_refused_with_advice(workplace):
    prepared_directory(workplace, "riegeli")
    _, err = workplace.frepo(*toys(workplace), code=1)
    assert "is stored as riegeli" in err
    assert "frepo data prepare toys" in err
    assert nothing_written(workplace)


@pytest.mark.parametrize("damage", ["no images", "truncated info", "truncated features"])
def test_a_half_prepared_data_set_is_an_error_that_names_it(workplace, damage):
    directory = prepared_directory(workplace, "array_record")
    if damage != "no images":
        path = directory / f"{'dataset_info' if 'info' in damage else 'features'}.json"
        path.write_text(path.read_text()[:50])
    _, err = workplace.frepo(*toys(workplace), code=1)
    assert str(directory) in err
    assert "prepare it again" in err
    assert nothing_written(workplace)


@pytest.fixture
def read_only(workplace):
    """Make a directory into which nobody can write, root neither."""
    path = workplace.path / "read_only"
    path.mkdir(mode=0o500)
    if os.geteuid() != 0:
        yield path
        return
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", path], capture_output=True).returncode:
        pytest.skip("root can write everywhere, and a read-only file system cannot be mounted here")
    yield path
    subprocess.run(["umount", path], check=True)


def test_places_that_cannot_be_written_are_named(workplace, read_only):
    spec = workplace.spec()
    for arguments, expected in (
        (("run", spec, "--runs-dir", read_only / "runs"), f"the run directory {read_only / 'runs'} cannot be written"),
        (("run", spec, "--runs-dir", spec), f"the run directory {spec} cannot be written"),
        (("run", spec, "--db", read_only / "x.duckdb"), "x.duckdb cannot be opened"),
    ):
        _, err = workplace.frepo(*arguments, code=1)
        assert expected in err
        assert len(err.splitlines()) == 1
        assert nothing_written(workplace)


def test_a_data_directory_that_is_none_is_named(workplace):
    spec = workplace.spec()
    _, err = workplace.frepo("run", spec, "--set", "dataset.name=cifar10", "--data-dir", spec, code=1)
    assert f"the data directory {spec} is not a directory that can be read" in err
    assert nothing_written(workplace)


def test_a_database_of_a_newer_schema_is_left_alone(workplace):
    database = workplace.path / "results.duckdb"
    with duckdb.connect(str(database)) as connection:
        connection.execute("CREATE TABLE frepo_schema (version INTEGER); INSERT INTO frepo_schema VALUES (999)")
    before = database.read_bytes()
    for arguments in (("run", workplace.spec()), ("query", "SELECT 1"), ("ingest", "--runs-dir", ".")):
        _, err = workplace.frepo(*arguments, code=1)
        assert "has schema 999" in err
        assert "update frepo" in err
    assert database.read_bytes() == before
    assert nothing_written(workplace)


def test_a_database_that_is_none_is_left_alone(workplace):
    database = workplace.path / "results.duckdb"
    database.write_text("not a database, but somebody's notes " * 1000)
    before = database.read_bytes()
    for arguments in (("run", workplace.spec()), ("runs",)):
        _, err = workplace.frepo(*arguments, code=1)
        assert "results.duckdb cannot be opened" in err
    assert database.read_bytes() == before


def test_without_a_database_queries_say_how_to_get_one(workplace):
    for arguments in (("query", "SELECT 1"), ("runs",), ("report",)):
        _, err = workplace.frepo(*arguments, code=1)
        assert "`frepo run SPEC` makes one" in err


def test_query_changes_nothing(workplace):
    workplace.frepo("run", workplace.spec(distill='method = "random"\nipc = 1', pool=None, application=None))
    before = (workplace.path / "results.duckdb").read_bytes()
    for sql in ("DROP TABLE runs", "DELETE FROM runs", "COPY runs TO 'stolen.csv'", "SELECT * FROM 'tiny.toml'"):
        _, err = workplace.frepo("query", sql, code=1)
        assert "the query failed" in err
    assert (workplace.path / "results.duckdb").read_bytes() == before
    assert not (workplace.path / "stolen.csv").exists()
    assert "tiny" in workplace.frepo("query", "SELECT name FROM runs")[0]


def test_a_diverging_run_fails_with_advice_and_keeps_its_record(workplace):
    spec = workplace.spec()
    _, err = workplace.frepo("run", spec, "--set", "distill.ipc=20", "--set", "distill.reg=1e-12", code=1)
    assert "has diverged" in err
    assert "learning_rate" in err
    assert "failed" in workplace.frepo("runs")[0]


@pytest.mark.parametrize("damage", ["truncate", "empty"])
def test_a_damaged_record_is_named_and_made_anew(workplace, damage):
    spec = workplace.spec(distill='method = "random"\nipc = 1', pool=None, application=None)
    workplace.frepo("run", spec)
    path = workplace.stage("tiny", "random") / "stage.json"
    path.write_bytes(path.read_bytes()[:40] if damage == "truncate" else b"")
    assert "stage.json is damaged" in workplace.frepo("ingest", code=1)[1]
    assert "to compute again: stage.json is damaged" in workplace.frepo("plan", spec)[0]
    assert "stage.json is damaged" in workplace.frepo("run", spec)[1]
    workplace.frepo("ingest")


def test_missing_results_are_computed_again(workplace):
    spec = workplace.spec()
    workplace.frepo("run", spec)
    path = workplace.stage("tiny", "random") / "distilled.npz"
    before = path.read_bytes()
    path.unlink()
    _, err = workplace.frepo("run", spec)
    assert "frepo-" in err
    assert path.read_bytes() == before


def test_a_full_disk_ends_in_a_message_and_the_saved_state_goes_on(workplace, small_disk):
    disk = small_disk("200k")  # less than two saved states
    command = ("run", workplace.spec(), "--runs-dir", disk.path / "runs", "--checkpoint-every", 5)
    _, err = workplace.frepo(*command, code=1)
    assert "No space left" in err
    assert "run the same command again" in err
    assert not list(disk.path.rglob("*.tmp"))
    disk.resize("100m")
    assert "distilled" in workplace.frepo(*command)[0]


@pytest.mark.parametrize("command", [("run",), ("plan", "--cost")])
def test_a_network_that_does_not_fit_into_memory_is_explained(workplace, command):
    _, err = workplace.frepo(*command, workplace.spec(), "--set", "architecture.width=200000", code=1)
    assert "memory does not suffice" in err
    assert "--chunk" in err


def test_a_second_process_waits_for_a_stage_that_is_at_work_and_does_not_set_it_aside(workplace):
    spec = workplace.spec(distill='method = "frepo"\nipc = 1\nsteps = 100000', application=None)
    first = workplace.start("run", spec)
    run_directory = workplace.path / "runs" / "tiny"
    workplace.wait_until(lambda: list(run_directory.glob("frepo-*/metrics.jsonl")), first)
    _, err = workplace.frepo("run", spec, "--fresh", code=1)
    assert "another process is working on it: runs/.stages/" in err
    assert f"is held by process {first.pid} on " in err
    second = workplace.start("run", spec)
    said = ""
    while "waiting" not in said:
        said = second.stderr.readline()
        assert said, "it waits"
    for process in (second, first):
        process.terminate()
        process.communicate(timeout=60)
        assert process.returncode == 75
