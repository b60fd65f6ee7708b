"""The stages that make distilled data, and the one that trains the network on whose features images are chosen."""

from frepo.data.context import Context
from frepo.data.dataset import DatasetInfo
from frepo.engine.cost import Cost, measure
from frepo.engine.journal import Journal
from frepo.methods.features import train_features
from frepo.methods.frepo.learning import prepare
from frepo.methods.stage import check, distill, real_images
from frepo.networks.stage import NetworkStage
from frepo.plan import Stage
from frepo.spec import Frepo


class Distill:
    """Distilled data by the method of the spec."""

    def check(self, stage: Stage, info: DatasetInfo) -> None:
        """Refuse more images per class than there are, and images that are too small for the network."""
        check(stage.work, info)  # pyright: ignore

    def execute(self, context: Context, journal: Journal) -> None:
        """Make the data and write it."""
        distill(context.stage, context.run_directory, context.dataset(), journal, context.options)

    def cost(self, context: Context) -> Cost | None:
        """Return the cost of a step of learning; None where images are only chosen."""
        settings, options = context.work.distill, context.options
        if not isinstance(settings, Frepo):
            return None
        dataset = context.dataset()
        start = real_images(context.work, dataset)
        learning = prepare(settings, context.work, start, dataset, options.residency, options.chunk)
        return measure(learning.loop, learning.training.trainer.num_parameters)


class Features(NetworkStage):
    """A network trained on all real images."""

    def execute(self, context: Context, journal: Journal) -> None:
        """Train it and write it."""
        train_features(context.work, context.dataset(), context.options.residency, journal)
