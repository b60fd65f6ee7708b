"""A job holds what other processes need to know of experiments."""

from pathlib import Path

from frepo.execute.job import make_job, read_job
from frepo.runtime import RuntimeOptions
from frepo.spec import load_specs

SPECS = Path(__file__).parents[2] / "specs"


def test_experiments_of_all_methods_are_read_as_they_were_written(tmp_path):
    loaded = [experiment for path in sorted(SPECS.rglob("*.toml")) for experiment in load_specs(path)]
    job = make_job(loaded, RuntimeOptions(runs_dir=tmp_path / "runs"))
    read = read_job(job.file)
    assert {entry.spec.distill.method for entry in loaded} == {"frepo", "dm"}
    assert [entry.spec for entry in read.specs] == [entry.spec for entry in loaded]
    assert read.options == job.options
