"""What choosing by test images adds to a reported accuracy.

    python tests/benchmarks/choosing.py [--data-dir DIR] [--points 10] [--seeds 3] [--set NAME=VALUE ...] SPEC...

Learned images are looked at `points` times along the way: the networks of the spec's first evaluation are trained on
them and scored on held-out training images (`validation_fraction` in `[distill]`) and on the test images. Printed are
the test accuracies of the last state, of the state that is best on the held-out images, and of the one that is best on
the test images, as mean and standard deviation over the seeds, and what each choice adds, seed by seed.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from frepo.data.dataset import Dataset
from frepo.data.load import load_dataset
from frepo.data.split import split
from frepo.engine.journal import Journal
from frepo.engine.loop import Milestone, every
from frepo.engine.run import run_steps
from frepo.methods.base import DistilledData, Job
from frepo.networks.prepare import prepare
from frepo.networks.training import one_by_one
from frepo.plan import DistillStage, Evaluation, compile_plan
from frepo.runtime import Cadence, RuntimeOptions
from frepo.spec import ExperimentSpec, load_spec


class Point(NamedTuple):
    """Mean accuracies, 0..1, of the networks trained on the images after a step."""

    step: int
    held_out: float
    test: float


def scored(work: Evaluation, data: DistilledData, dataset: Dataset, held_out: np.ndarray) -> tuple[float, float]:
    """Return the mean accuracy of networks trained on `data`: on the held-out training images, on the test images."""
    prepared = prepare(work, data, dataset, "auto")
    with tempfile.TemporaryDirectory() as directory:
        networks = one_by_one(run_steps(prepared.loop, journal(Path(directory))))
    score = prepared.scorer(dataset)
    labels = np.asarray(dataset.train_labels)[held_out]
    sets = ((dataset.train_images[held_out], labels), (dataset.test_images, np.asarray(dataset.test_labels)))
    held, test = (float(np.mean([score(network, *images).top1 for network in networks])) for images in sets)
    return held, test


def journal(directory: Path) -> Journal:
    """Return a journal that saves no states."""
    return Journal(directory, "choosing", Cadence(), None, lambda *_: None)


def points_of(spec: ExperimentSpec, data_dir: Path, count: int) -> list[Point]:
    """Return the accuracies of `count` states along the learning that `spec` describes."""
    stages = compile_plan(spec).stages
    learning_stage = next(
        stage for stage in stages if isinstance(stage.work, DistillStage) and stage.work.distill.learned
    )
    evaluation = next(stage.work for stage in stages if isinstance(stage.work, Evaluation))
    dataset = load_dataset(spec.dataset, data_dir, data_dir)
    job = Job(learning_stage, dataset, RuntimeOptions(data_dir=data_dir))
    learning = job.work.distill.load()(job)
    _, held_out = split(job.work.distill.validation_fraction, dataset.train_labels)
    found: list[Point] = []

    def look(state: object, step: int) -> tuple[object, dict[str, float]]:
        result = learning.result(state)
        # A method that itself keeps the best state by held-out images has not looked at any here.
        data = result.data if step == result.step == learning.loop.steps else learning.shown(state)
        found.append(Point(step, *scored(evaluation, data, dataset, held_out)))
        print(f"  {spec.name} seed {spec.seed}: {found[-1]}", flush=True)
        return state, {}

    steps = every(-(-learning.loop.steps // count), learning.loop.steps)
    with tempfile.TemporaryDirectory() as directory:
        run_steps(replace(learning.loop, milestones=(Milestone(steps, look),)), journal(Path(directory)))
    return found


def main() -> None:
    """Run the learning of each spec and print what choosing adds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("specs", nargs="+", type=Path)
    parser.add_argument("--data-dir", type=Path, default=Path.home() / "tensorflow_datasets")
    parser.add_argument("--points", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    for path in options.specs:
        rows = []
        for seed in range(options.seeds):
            spec = load_spec(path, (*options.set, f"seed={seed}")).spec
            found = points_of(spec, options.data_dir, options.points)
            by_held_out = max(found, key=lambda point: point.held_out)
            rows.append([100 * value for value in (found[-1].test, by_held_out.test, max(p.test for p in found))])
        table = np.array(rows)
        ddof = 1 if len(table) > 1 else 0
        for name, column in zip(("last", "best by held-out images", "best by test images"), table.T, strict=True):
            added = column - table[:, 0]
            print(
                f"{path.stem}: {name}: {column.mean():.2f} ± {column.std(ddof=ddof):.2f}%, adds "
                f"{added.mean():.2f} ± {added.std(ddof=ddof):.2f}"
            )


if __name__ == "__main__":
    main()
