"""Jobs: all that processes on this host or others need to compute stages, as a file below the directory of runs."""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from frepo.errors import FrepoError
from frepo.plan import Stage
from frepo.reading import read_regular
from frepo.rundir.files import make_directories, write_atomically
from frepo.rundir.provenance import now
from frepo.runtime import RuntimeOptions
from frepo.spec import ExperimentSpec, LoadedSpec
from frepo.spec.document import Document, SpecText

JOBS = ".jobs"
"""Below the directory of runs."""

JOB_FILE = "job.json"
LOGS = "logs"
FAILED = "failed"
LARGEST_JOB = 2**30
"""Bytes of its file: that of ten thousand experiments has some 50 MB."""


@dataclass(frozen=True)
class Job:
    """Experiments to compute and how, with a directory for logs and for what failed.

    Attributes:
        directory: `runs/.jobs/<id>`, absolute.
        specs: the experiments.
        options: of the processes that compute them; they leave the database to the process that made the job.
        here: the working directory, to which paths in specs are relative.
    """

    directory: Path
    specs: tuple[LoadedSpec, ...]
    options: RuntimeOptions
    here: Path

    @property
    def file(self) -> Path:
        """What a process is given that works on it."""
        return self.directory / JOB_FILE

    def log(self, name: str) -> Path:
        """Return the file that the process `name` writes what it says to."""
        return self.directory / LOGS / f"{name}.log"

    def mark_failed(self, stage: Stage, failure: Exception) -> None:
        """Let the other processes know that a stage has failed."""
        write_atomically(self.directory / FAILED / stage.place, str(failure).encode())

    def failed(self) -> list[str]:
        """Return the places of the stages that have failed in any process of this job."""
        return [path.name for path in (self.directory / FAILED).iterdir() if not path.name.startswith(".")]

    def failure(self, place: str) -> FrepoError | None:
        """Return why the stage in `place` has failed in any process of this job, or None."""
        return failure_in(self.directory, place)


def failure_in(job_directory: Path, place: str) -> FrepoError | None:
    """Return why the stage in `place` has failed in any process of a job, or None."""
    try:
        return FrepoError((job_directory / FAILED / place).read_text())
    except FileNotFoundError:
        return None


def make_job(specs: Sequence[LoadedSpec], options: RuntimeOptions) -> Job:
    """Write a job below the directory of runs.

    Raises:
        OSError: it cannot be written.
    """
    runs_dir = options.runs_dir.resolve()
    directory = runs_dir / JOBS / f"{now():%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
    for name in (LOGS, FAILED):
        make_directories(directory / name)
    data_dir = options.data_dir.resolve() if options.data_dir else None
    job = Job(
        directory, tuple(specs), replace(options, runs_dir=runs_dir, data_dir=data_dir, database=None), Path.cwd()
    )
    documents = {id(loaded.document): loaded.document for loaded in specs}  # a sweep has one for all experiments
    numbers = {key: number for number, key in enumerate(documents)}
    content = {
        "here": str(job.here),
        "options": _OPTIONS.dump_python(job.options, mode="json"),
        "documents": [[[str(file.path), file.text] for file in found.files] for found in documents.values()],
        "experiments": [_spec_json(loaded, numbers[id(loaded.document)]) for loaded in specs],
    }
    write_atomically(job.file, json.dumps(content).encode())
    return job


def read_job(path: Path) -> Job:
    """Read a job.

    Raises:
        FrepoError: there is none, or it is damaged.
    """
    try:
        content = json.loads(read_regular(path, LARGEST_JOB))
        documents = [
            Document(tuple(SpecText(Path(name), text) for name, text in files)) for files in content["documents"]
        ]
        specs = tuple(_spec(found, documents) for found in content["experiments"])
        return Job(path.parent.resolve(), specs, _OPTIONS.validate_python(content["options"]), Path(content["here"]))
    except OSError as error:
        raise FrepoError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise FrepoError(f"{path} is damaged ({error}); run the specs again") from None


def _spec_json(loaded: LoadedSpec, document: int) -> dict[str, Any]:
    values = {field.name: getattr(loaded, field.name) for field in fields(loaded)}
    # Defaults are left out: a table that the method does not read is refused where it is written.
    return {**values, "document": document, "spec": loaded.spec.model_dump(mode="json", exclude_unset=True)}


def _spec(found: dict[str, Any], documents: Sequence[Document]) -> LoadedSpec:
    spec = ExperimentSpec.model_validate(found["spec"])
    return LoadedSpec(documents[found["document"]], tuple(found["overrides"]), spec, found["sweep"], found["swept"])


_OPTIONS = TypeAdapter(RuntimeOptions)
