"""A process that computes experiments along with the first one and writes nothing."""

from frepo.engine.journal import Follower
from frepo.engine.processes import meet
from frepo.execute import stages
from frepo.execute.graph import Graph
from frepo.rundir.layout import stage_directory
from frepo.rundir.status import is_done
from frepo.runtime import RuntimeOptions
from frepo.signals import stop_on_signals


def follow(graph: Graph, options: RuntimeOptions) -> None:
    """Compute along with the first process.

    Raises:
        Interrupted: a signal came to one of the processes.
        FrepoError: a stage failed.
    """
    with stop_on_signals():
        meet("set aside")
        pending = [stage for stage in graph.stages if not is_done(stage, options.runs_dir)]
        meet("known")
        stages.prepare_jax(options)
        for stage in pending:
            stages.check(stage, options)
        for stage in pending:
            directory = stage_directory(stage, options.runs_dir)
            journal = Follower(directory, stage.directory, options.checkpoint_every, None, lambda *_: None)
            stages.execute(stage, options, journal)
            meet(stage.place)
