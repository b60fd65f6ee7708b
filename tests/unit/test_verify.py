"""Whether all damage below a directory of runs is found, named with its remedy, and left as it is."""

import hashlib
import json
import shutil
import subprocess
import sys
from datetime import timedelta

import jax.numpy as jnp
import pytest

from frepo.engine.journal import Journal
from frepo.errors import FrepoError
from frepo.plan import compile_plan
from frepo.plan.identity import fingerprint
from frepo.plan.kinds import KINDS
from frepo.rundir import record, status
from frepo.rundir.arrays import npz_bytes
from frepo.rundir.layout import STAGES
from frepo.rundir.record import Attempt, ImageSheet, ResultFile, StageRecord
from frepo.rundir.state import file_of
from frepo.rundir.verify import verify
from frepo.rundir.verify_stage import verify_stage
from frepo.runtime import Cadence

COMMAND = "frepo run some.toml"


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-5])


def empty(path):
    path.write_bytes(b"")


def delete(path):
    path.unlink()


def replace_by_directory(path):
    path.unlink()
    path.mkdir()


DAMAGES = (flip, cut, empty, delete, replace_by_directory)


def snapshot(directory):
    return {
        path: (path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in (directory, *directory.rglob("*"))
    }


def looked_at(directory):
    """Return the faults of a stage as (name of the file, what, remedy), and hold that nothing was written."""
    before = snapshot(directory)
    found = verify_stage(directory, COMMAND)
    assert snapshot(directory) == before
    return [(fault.path.relative_to(directory).as_posix(), fault.what, fault.remedy) for fault in found]


def files_of(kind):
    """Return the files that a stage of a kind leaves."""
    result = f"{kind.result}/{file_of(3)}" if kind.result == record.NETWORK else kind.result
    return tuple(dict.fromkeys((result, *(table.file for table in kind.tables), record.METRICS)))


@pytest.fixture
def finished(tmp_path):
    """Return what makes a finished stage of a kind, of 1,000 steps that took 90 seconds, and returns its directory."""

    def finished(kind, *, with_digests=True):
        directory = tmp_path / "stage"
        journal = Journal(directory, "x", Cadence(), None, lambda *_: None)
        for name in files_of(kind):
            rows = record.json_lines([{"step": 0, "name": "loss", "value": number / 8} for number in range(4)]).encode()
            (directory / name).parent.mkdir(exist_ok=True, parents=True)
            journal.write_result(name, npz_bytes(images=jnp.ones((4, 4))) if name.endswith(".npz") else rows)
        sheet = journal.write_result(f"{record.IMAGES}/step-0.png", b"a picture")
        sheets = (ImageSheet(path=f"{record.IMAGES}/step-0.png", sha256=digest_of(sheet), step=0, rows=1, columns=1),)
        write(directory, kind, results=journal.results if with_digests else {}, images=sheets)
        return directory

    return finished


def digest_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write(directory, kind, started="2024-05-06T07:08:09Z", **fields):
    identity = {"kind": kind.name, "needs": []}
    attempt = Attempt(started=started, last_step=1000, provenance={})
    found = StageRecord(
        **{
            "fingerprint": fingerprint(identity),
            "identity": identity,
            "label": "x",
            "status": "done",
            "step": 1000,
            "steps": 1000,
            "attempts": (attempt.model_copy(update={"ended": attempt.started + timedelta(seconds=90)}),),
            **fields,
        }
    )
    record.write_record(directory / record.STAGE_FILE, found)


ALL_FILES = [(kind, name) for kind in KINDS.values() for name in files_of(kind)]


@pytest.mark.parametrize(("kind", "name"), ALL_FILES, ids=lambda value: getattr(value, "name", value))
def test_each_damage_to_each_file_of_results_is_found(finished, kind, name):
    for damage in DAMAGES:
        directory = finished(kind)
        assert looked_at(directory) == []
        damage(directory / name)
        found = looked_at(directory)
        assert found, damage
        for path, what, remedy in found:
            assert path in (name, kind.result)
            assert what in ("is not what was written", "is empty", "is missing", "is a directory")
            assert remedy == f"`{COMMAND}` computes the stage again from the start: 1,000 steps, about 0:01:30"
        shutil.rmtree(directory)


@pytest.mark.parametrize("name", [record.DISTILLED, record.METRICS])
def test_results_of_earlier_versions_have_no_digests_and_are_read(finished, name):
    directory = finished(KINDS["distill"], with_digests=False)
    assert looked_at(directory) == []
    (directory / name).write_bytes((directory / name).read_bytes().replace(b"?" if "npz" in name else b"{", b"!"))
    ((path, what, remedy),) = looked_at(directory)
    assert path == name
    assert what.startswith("is damaged (")
    assert remedy.startswith(f"move {directory} away, then `{COMMAND}` computes the stage again")


def test_large_results_are_read_though_a_run_does_not_see_their_damage(finished, monkeypatch):
    directory = finished(KINDS["distill"])
    monkeypatch.setattr(status, "HASHED_UP_TO", 10)
    monkeypatch.setattr("frepo.rundir.verify_stage.HASHED_UP_TO", 10)
    flip(directory / record.DISTILLED)
    ((name, what, remedy),) = looked_at(directory)
    assert (name, what) == (record.DISTILLED, "is not what was written")
    assert remedy.startswith(f"move {directory} away, then `{COMMAND}` computes")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_contact_sheet_costs_no_number(finished, damage):
    directory = finished(KINDS["distill"])
    damage(directory / record.IMAGES / "step-0.png")
    ((name, _, remedy),) = looked_at(directory)
    assert name == f"{record.IMAGES}/step-0.png"
    assert remedy.startswith("pages leave it out, and no number depends on it")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_is_found(finished, damage):
    directory = finished(KINDS["distill"])
    damage(directory / record.STAGE_FILE)
    ((name, what, remedy),) = looked_at(directory)
    assert name == record.STAGE_FILE
    assert what.startswith("is missing" if damage is delete else "is damaged (")
    assert remedy == f"`{COMMAND}` computes the stage again from the start"


def test_a_record_that_does_not_hold_together_is_found(finished):
    directory = finished(KINDS["distill"])
    for fields in ({"fingerprint": "0" * 64}, {"identity": {}}, {"identity": {"kind": "none"}}):
        write(directory, KINDS["distill"], **fields)
        ((name, what, _),) = looked_at(directory)
        assert (name, what) == (record.STAGE_FILE, "is damaged (its fingerprint is not that of its identity)")


@pytest.fixture
def stopped(tmp_path):
    """Return the directory of a stage that has saved states at steps 10 and 20 of 40, 9 seconds for each step."""
    directory = tmp_path / "stage"
    journal = Journal(directory, "x", Cadence(), 1, lambda *_: None)
    directory.mkdir()
    journal.restore(jnp.float32(0), 40)
    for step in range(21):
        if step in (10, 20):
            journal.save(step, 40, jnp.float32(step))
        journal.log(step, {"loss": step / 4})
    attempt = Attempt(started="2024-05-06T07:08:09Z", last_step=20, provenance={})
    attempt = attempt.model_copy(update={"ended": attempt.started + timedelta(seconds=180)})
    write(directory, KINDS["distill"], status="stopped", step=20, steps=40, attempts=(attempt,))
    return directory


OLDER = f"`{COMMAND}` goes on from the saved state of step 10; 10 steps are computed again, about 0:01:30"
START = f"`{COMMAND}` computes the stage again from the start; 20 steps are computed again, about 0:03:00"


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_damage_to_a_saved_state_is_found(stopped, damage):
    assert looked_at(stopped) == []
    damage(stopped / record.STATE / file_of(20))
    ((name, _, remedy),) = looked_at(stopped)
    assert name == (record.STATE if damage is delete else f"{record.STATE}/{file_of(20)}")
    assert remedy == OLDER
    damage(stopped / record.STATE / file_of(10))
    found = looked_at(stopped)
    assert {remedy for _, _, remedy in found} == {START}


@pytest.mark.parametrize("damage", [flip, cut, empty, replace_by_directory])
def test_an_older_state_that_is_damaged_costs_nothing_yet(stopped, damage):
    damage(stopped / record.STATE / file_of(10))
    ((name, _, remedy),) = looked_at(stopped)
    assert name == f"{record.STATE}/{file_of(10)}"
    assert remedy == "none is needed: the saved state of step 20 is newer and intact"


@pytest.mark.parametrize("damage", DAMAGES)
def test_rows_that_are_damaged_cost_the_steps_behind_them(stopped, damage):
    path = stopped / record.METRICS
    rows = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(rows[:20]))  # the rows behind the saved state do not count
    assert looked_at(stopped) == []
    if damage is flip:
        path.write_bytes(path.read_bytes().replace(b'"value": 3.75', b'"value": 3.76'))
    else:
        damage(path)
    found = looked_at(stopped)
    assert all("cannot be gone on from" in what and "metrics.jsonl" in what for _, what, _ in found)
    assert {remedy for _, _, remedy in found} == {OLDER if damage in (flip, cut) else START}


def test_a_lost_record_of_a_stopped_stage_costs_nothing(stopped):
    flip(stopped / record.STAGE_FILE)
    ((name, _, remedy),) = looked_at(stopped)
    assert (name, remedy) == (record.STAGE_FILE, f"`{COMMAND}` goes on from the saved state of step 20")


def test_a_stage_that_has_just_begun_is_intact(tmp_path):
    (tmp_path / ".lease-1").touch()
    assert looked_at(tmp_path) == []
    write(tmp_path, KINDS["distill"], status="running", step=0, steps=None, attempts=())
    assert looked_at(tmp_path) == []


def test_a_state_of_a_newer_version_is_named_and_no_damage_is_claimed(stopped):
    body, magic = b"in a form of its own", b"frepo-state-3\n"
    (stopped / record.STATE / file_of(30)).write_bytes(magic + hashlib.sha256(magic + body).digest() + body)
    ((name, what, _),) = looked_at(stopped)
    assert name == "."
    assert "of a newer frepo" in what


@pytest.fixture
def runs(place):
    """Two runs that share a stage, and one of its own; return (directory, its one stage, the two names)."""
    one, other = place.spec("one"), place.spec("other", more="[architecture]\nwidth = 4\n")
    assert compile_plan(one.spec).stages == compile_plan(other.spec).stages
    place.run(one, other)
    return place


def verified(place, *names):
    before = snapshot(place.runs_dir)
    found = verify(place.runs_dir, names)
    assert snapshot(place.runs_dir) == before
    return found


def test_what_a_run_left_is_intact(runs):
    assert verified(runs) == verified(runs, "one", "oth*")
    assert (verified(runs).runs, verified(runs).stages, verified(runs).faults) == (2, 1, ())
    assert verified(runs, "one").runs == 1


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_record_of_a_run_is_looked_at(runs, damage):
    (path,) = record.run_files(runs.runs_dir / "one")
    damage(path)
    (fault,) = verified(runs).faults
    assert fault.path == (path.parent if damage is delete else path)
    assert fault.remedy.endswith("nothing is computed again")
    assert verified(runs, "other").faults == ()


def test_references_to_stages_are_looked_at(runs):
    (link,) = (path for path in (runs.runs_dir / "one").iterdir() if path.is_symlink())
    target = link.readlink()
    for spoil, what in (
        (lambda: None, "is missing"),
        (lambda: link.symlink_to(target.with_name("distill-000000000000")), "is no link to the place of its stage"),
        (lambda: link.symlink_to("/etc"), "is no link to the place of its stage"),
        (lambda: link.write_text("text"), "is no link to the place of its stage"),
    ):
        link.unlink(missing_ok=True)
        spoil()
        (fault,) = verified(runs).faults
        assert (fault.path, fault.what) == (link, what)
        assert fault.remedy.endswith("nothing is computed again")


def test_a_stage_is_named_once_with_the_command_that_computes_it(runs):
    (stage,) = (runs.runs_dir / STAGES).glob("[!.]*")
    flip(stage / record.DISTILLED)
    (fault,) = verified(runs).faults
    assert fault.path == stage / record.DISTILLED
    assert f"`frepo run {runs.path / 'other.toml'}` computes the stage again from the start" in fault.remedy
    shutil.rmtree(runs.runs_dir / "one")
    shutil.rmtree(runs.runs_dir / "other")
    (fault,) = verified(runs).faults  # though no run refers to it
    assert fault.path == stage / record.DISTILLED


def test_stages_that_are_not_computed_yet_are_no_damage(runs):
    (stage,) = (runs.runs_dir / STAGES).glob("[!.]*")
    shutil.rmtree(stage)
    assert (verified(runs).stages, verified(runs).faults) == (0, ())


def test_a_run_of_an_earlier_version_is_looked_at(fake_runs):
    plan, _ = fake_runs()
    for stage in plan.stages:
        (fake_runs.directory("small", stage) / stage.kind.result).touch()
        if stage.kind.result.endswith("npz"):
            (fake_runs.directory("small", stage) / stage.kind.result).write_bytes(npz_bytes(images=jnp.ones(3)))
    assert verify(fake_runs.runs_dir).faults == ()
    path = fake_runs.directory("small", plan.stages[0]) / record.IMAGES / "step-0.png"
    flip(path)
    assert [fault.path for fault in verify(fake_runs.runs_dir).faults] == [path]


def test_names_that_are_not_there_are_refused(runs):
    with pytest.raises(FrepoError, match=r"there is no run `on` in .*, did you mean `one`"):
        verify(runs.runs_dir, ["on"])
    with pytest.raises(FrepoError, match=r"there is no run directory .*--runs-dir"):
        verify(runs.runs_dir / "nothing")


def test_the_command_names_each_fault_and_starts_no_jax(runs):
    def frepo(*arguments):
        code = "import sys; from frepo.cli import main\ntry: main()\nfinally: assert 'jax' not in sys.modules"
        done = subprocess.run(
            [sys.executable, "-c", code, "verify", *arguments], cwd=runs.path, capture_output=True, text=True
        )
        return done.returncode, done.stdout, done.stderr

    assert frepo() == (0, "2 runs, 1 stage: all as it was written\n", "")
    (stage,) = (runs.runs_dir / STAGES).glob("[!.]*")
    flip(stage / record.DISTILLED)
    code, out, err = frepo("one")
    assert code == 1
    assert out.splitlines()[0] == f"runs/{STAGES}/{stage.name}/{record.DISTILLED} is not what was written"
    assert out.splitlines()[-1] == "1 run, 1 stage"
    assert err == "frepo: 1 file damaged\n"
    code, out, _ = frepo("--json")
    found = json.loads(out)
    assert (code, found["runs"], found["stages"]) == (1, 2, 1)
    assert [set(fault) for fault in found["faults"]] == [{"path", "fault", "remedy"}]
    assert (runs.path / found["faults"][0]["path"]).exists()


def test_a_result_that_a_process_replaces_meanwhile_is_no_damage(finished, monkeypatch):
    directory = finished(KINDS["distill"])
    flip(directory / record.DISTILLED)
    read = record.read_stage

    def reading(place):
        """Return the record, and let another process finish the stage anew right after."""
        found = read(place)
        written = directory / record.DISTILLED
        results = {**found.results, written.name: ResultFile(size=written.stat().st_size, sha256=digest_of(written))}
        write(directory, KINDS["distill"], results=results, images=found.images)
        return found

    monkeypatch.setattr(record, "read_stage", reading)
    assert verify_stage(directory, COMMAND) == []
