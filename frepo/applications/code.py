"""The stages of the applications."""

from frepo.applications.choice import with_best_rate, write_score
from frepo.applications.continual import continual
from frepo.applications.evaluate import evaluate, tune
from frepo.applications.fair_scores import fair_scores, read_accuracies
from frepo.applications.membership.stages import attack_networks, expose_networks, read_exposure
from frepo.data.context import Context
from frepo.data.dataset import DatasetInfo
from frepo.data.load import load_dataset, load_outside, load_test_set
from frepo.engine.cost import Cost
from frepo.engine.journal import Journal
from frepo.errors import DivergedError
from frepo.methods.frepo.state import DistilledData
from frepo.methods.network_stage import NetworkStage
from frepo.methods.stage import read_distilled
from frepo.plan import Stage
from frepo.progress import warn
from frepo.rundir import record


def _data(context: Context) -> DistilledData | None:
    """Return the data that networks are trained on; None for all real images."""
    directories = context.directories(context.stage.data)
    return read_distilled(directories[0]) if directories else None


class Tune(NetworkStage):
    """The score of one learning rate on held-out training images."""

    def execute(self, context: Context, journal: Journal) -> None:
        """Train networks, score them and write the score; a diverging training gets the worst score."""
        try:
            score = tune(context.work, _data(context), context.dataset(), context.options.residency, journal)
        except DivergedError as error:
            warn(f"{error}; this candidate counts as the worst")
            score = 0.0
        write_score(journal, score)


class Evaluate(NetworkStage):
    """Networks trained on one source of data and tested."""

    def execute(self, context: Context, journal: Journal) -> None:
        """Train networks, with the best learning rate if there are candidates, test them and write their scores."""
        work = with_best_rate(context.stage, context.options.runs_dir)
        results = evaluate(work, _data(context), context.dataset(), context.options, journal)
        journal.write_rows(record.CONFUSIONS, results.confusions)
        journal.write_rows(record.EVALUATIONS, results.evaluations)


class Continual(NetworkStage):
    """Networks trained on the memories of several tasks and tested on all classes seen."""

    def execute(self, context: Context, journal: Journal) -> None:
        """Train networks, test them and write the accuracy on each task."""
        memories = [read_distilled(directory) for directory in context.directories(context.stage.data)]
        dataset = context.dataset(load_test_set if memories else load_dataset)
        journal.write_rows(record.CONTINUAL, continual(context.work, memories, dataset, context.options, journal))


class Expose(NetworkStage):
    """The logits of networks for members and non-members."""

    def execute(self, context: Context, journal: Journal) -> None:
        """Train networks and write their logits."""
        outside = context.dataset(load_outside) if context.work.source == "shadow" else None
        expose_networks(context.work, _data(context), context.dataset(), outside, context.options, journal)


class _Computed:
    """A stage computed from the results of others, without data and steps of its own."""

    def check(self, stage: Stage, info: DatasetInfo) -> None:
        """Accept any data: the stages it needs have checked it."""

    def cost(self, context: Context) -> Cost | None:  # noqa: ARG002
        """Return None: there are no steps."""
        return None


class FairScores(_Computed):
    """Scores of distilled images from several evaluations."""

    def execute(self, context: Context, journal: Journal) -> None:
        """Compute the scores and write them."""
        accuracies = read_accuracies(context.directories(context.stage.needs))
        journal.write_rows(record.SCORES, fair_scores(context.work, accuracies))


class Attack(_Computed):
    """Attacks on exposed networks."""

    def execute(self, context: Context, journal: Journal) -> None:
        """Attack the networks and write the scores of the attacks."""
        exposure, *shadow = (read_exposure(directory) for directory in context.directories(context.stage.needs))
        journal.write_rows(record.ATTACKS, attack_networks(context.work, exposure, shadow[0] if shadow else None))
