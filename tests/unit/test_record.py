import hashlib
import json
import re
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frepo.errors import FrepoError
from frepo.rundir.record import (
    METRICS,
    STAGE_FILE,
    DamagedError,
    RunRecord,
    StageRecord,
    append_rows,
    read_intact_stage,
    read_rows,
    read_runs,
    read_stage,
    write_record,
)

quick = settings(derandomize=True, deadline=None, max_examples=60)
values = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.lists(st.text())
rows = st.lists(st.dictionaries(st.text(), values, max_size=3), max_size=4)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("rows") / METRICS


def fresh(path):
    path.unlink(missing_ok=True)
    return path


@quick
@given(first=rows, second=rows)
def test_rows_read_back_as_they_were_appended(scratch, first, second):
    path = fresh(scratch)
    append_rows(path, first)
    append_rows(path, second)
    assert read_rows(path) == [*first, *second]
    assert len(path.read_bytes().splitlines()) == len(first) + len(second)


@quick
@given(written=rows, data=st.data())
def test_a_file_cut_off_anywhere_gives_the_rows_before_the_cut(scratch, written, data):
    path = fresh(scratch)
    append_rows(path, written)
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    assert read_rows(path) == written[: whole[:cut].count(b"\n")]


def test_a_file_that_is_not_there_has_no_rows(tmp_path):
    assert read_rows(tmp_path / "nothing.jsonl") == []


def test_a_stage_reads_back_as_it_was_written(fake_runs):
    plan, run = fake_runs()
    for stage in plan.stages:
        directory = fake_runs.directory("small", stage)
        found = read_stage(directory)
        assert isinstance(found, StageRecord)
        assert (found.fingerprint, found.identity, found.status) == (stage.fingerprint, stage.identity, "done")
        write_record(directory / STAGE_FILE, found)
        assert read_stage(directory) == found
    assert list(read_runs(fake_runs.runs_dir / "small")) == [run]


def test_a_directory_without_a_record_has_no_stage(tmp_path):
    assert read_stage(tmp_path) is None
    assert read_stage(tmp_path / "nothing") is None
    assert list(read_runs(tmp_path / "nothing")) == []


def test_runs_are_read_oldest_first(fake_runs):
    _, run = fake_runs()
    directory = fake_runs.runs_dir / "small"
    for number in (3, 1, 2):
        later = run.model_copy(update={"run_id": str(number), "created": run.created + timedelta(days=number)})
        write_record(directory / f"run-{9 - number}.json", later)
    assert [found.run_id for found in read_runs(directory)] == [run.run_id, "1", "2", "3"]


def unsealed(whole: bytes) -> dict:
    """Return the fields of a record as earlier versions wrote them."""
    fields = json.loads(whole)
    fields.pop("sha256", None)
    return fields


def damaged(whole: bytes) -> dict[str, bytes]:
    fields = unsealed(whole)
    return {
        "empty": b"",
        "cut off": whole[:-20],
        "not text": b"\xff" + whole,
        "another type": b"[]",
        "no fields": b"{}",
        "unknown field": json.dumps({**fields, "extra": 1}).encode(),
        "wrong type": json.dumps({**fields, "fingerprint": 1}).encode(),
    }


@pytest.mark.parametrize("kind", damaged(b"{}"))
def test_a_damaged_record_is_named(fake_runs, kind):
    plan, run = fake_runs()
    directory = fake_runs.runs_dir / "small"
    stage_path = fake_runs.directory("small", plan.stages[0]) / STAGE_FILE
    run_path = directory / f"run-{run.fingerprint[:8]}.json"
    for path, read in [
        (stage_path, lambda: read_stage(stage_path.parent)),
        (run_path, lambda: [*read_runs(directory)]),
    ]:
        path.write_bytes(damaged(path.read_bytes())[kind])
        with pytest.raises(FrepoError, match=rf"^{re.escape(str(path))} is damaged \(.+\); `frepo run`"):
            read()


@pytest.mark.parametrize("status", ["finished", "", None, 1])
def test_a_status_that_is_none_is_damage(fake_runs, status):
    plan, _ = fake_runs()
    path = fake_runs.directory("small", plan.stages[0]) / STAGE_FILE
    path.write_text(json.dumps({**unsealed(path.read_bytes()), "status": status}))
    with pytest.raises(FrepoError, match="is damaged"):
        read_stage(path.parent)


def test_a_record_cannot_be_changed(fake_runs):
    _, run = fake_runs()
    with pytest.raises(ValueError, match="frozen"):
        run.name = "other"
    assert RunRecord.model_validate_json(run.model_dump_json()) == run


def test_every_changed_byte_of_a_record_is_noticed(fake_runs):
    plan, _ = fake_runs()
    path = fake_runs.directory("small", plan.stages[0]) / STAGE_FILE
    whole = path.read_bytes()
    for position in (*range(100), *range(100, len(whole), 7)):
        for change in (1, 0x20, 0x80):
            path.write_bytes(whole[:position] + bytes([whole[position] ^ change]) + whole[position + 1 :])
            with pytest.raises(DamagedError):
                read_stage(path.parent)
            assert read_intact_stage(path.parent) is None


def test_every_cut_of_a_record_and_a_directory_in_its_place_are_noticed(fake_runs):
    plan, _ = fake_runs()
    path = fake_runs.directory("small", plan.stages[0]) / STAGE_FILE
    whole = path.read_bytes()
    for length in range(0, len(whole), 11):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedError):
            read_stage(path.parent)
    path.unlink()
    path.mkdir()
    with pytest.raises(DamagedError, match="it is a directory"):
        read_stage(path.parent)


def test_a_record_of_an_earlier_version_has_no_digest_and_is_read(fake_runs):
    plan, _ = fake_runs()
    path = fake_runs.directory("small", plan.stages[0]) / STAGE_FILE
    found, whole = read_stage(path.parent), path.read_bytes()
    path.write_text(json.dumps(unsealed(whole)))
    assert read_stage(path.parent) == found
    write_record(path, found)
    assert path.read_bytes() == whole


def test_an_intact_record_of_a_newer_version_is_no_damage(fake_runs):
    plan, _ = fake_runs()
    path = fake_runs.directory("small", plan.stages[0]) / STAGE_FILE
    text = json.dumps({**unsealed(path.read_bytes()), "invented": 1}, indent=1)
    digest = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(f'{{\n "sha256": "{digest}",' + text[1:])
    with pytest.raises(FrepoError, match="is intact, but of another version of frepo") as error:
        read_stage(path.parent)
    assert not isinstance(error.value, DamagedError)
