"""The stages that make distilled data, and the stage that trains a network for choosing images by features."""

from frepo.data.context import Context
from frepo.data.dataset import DatasetInfo
from frepo.engine.cost import Cost
from frepo.engine.journal import Journal
from frepo.methods.base import Job
from frepo.methods.features import train_features
from frepo.methods.network_stage import NetworkStage
from frepo.methods.stage import check, cost, distill
from frepo.plan import Stage


class Distill:
    """Distilled data by the method of the spec."""

    def check(self, stage: Stage, info: DatasetInfo) -> None:
        """Refuse more images per class than the data has, and images that are too small for the network."""
        check(stage.work, info)  # pyright: ignore

    def execute(self, context: Context, journal: Journal) -> None:
        """Make the data and write it."""
        distill(_job(context), journal)

    def cost(self, context: Context) -> Cost | None:
        """Return the cost of a learning step; None if images are only chosen."""
        return cost(_job(context))


def _job(context: Context) -> Job:
    return Job(context.stage, context.dataset(), context.options)


class Features(NetworkStage):
    """A network trained on all real images."""

    def execute(self, context: Context, journal: Journal) -> None:
        """Train it and write it."""
        train_features(context.work, context.dataset(), context.options.residency, journal)
