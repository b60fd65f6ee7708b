"""A process that computes an experiment along with the first one and writes nothing."""

from collections.abc import Sequence

from frepo.engine.journal import Follower
from frepo.engine.processes import meet
from frepo.execute import stages
from frepo.plan import compile_plan
from frepo.rundir.status import is_done
from frepo.runtime import RuntimeOptions
from frepo.signals import stop_on_signals
from frepo.spec import LoadedSpec


def follow(specs: Sequence[LoadedSpec], options: RuntimeOptions) -> None:
    """Compute along with the first process.

    Raises:
        Interrupted: a signal came to one of the processes.
        FrepoError: a stage failed.
    """
    with stop_on_signals():
        for loaded in specs:
            _follow_spec(loaded, options)


def _follow_spec(loaded: LoadedSpec, options: RuntimeOptions) -> None:
    plan = compile_plan(loaded.spec)
    directory = options.runs_dir / plan.spec.name
    meet("set aside")
    pending = [stage for stage in plan.stages if not is_done(stage, directory)]
    meet("known")
    stages.prepare_jax(options)
    for stage in pending:
        stages.check(stage, options)
    for stage in pending:
        journal = Follower(
            directory / stage.directory, stage.directory, options.checkpoint_every, None, lambda *_: None
        )
        stages.execute(stage, directory, options, journal)
        meet(stage.directory)
