"""Behaviour shared by stages that train networks."""

import numpy as np

from frepo.data.context import Context
from frepo.data.dataset import DatasetInfo
from frepo.engine.cost import Cost, measure
from frepo.methods.chosen import with_labels
from frepo.networks.build import build_model
from frepo.networks.prepare import prepare
from frepo.plan import Stage


class NetworkStage:
    """Check and cost of stages whose work is an `Evaluation`."""

    def check(self, stage: Stage, info: DatasetInfo) -> None:
        """Refuse images that are too small for the network.

        Raises:
            FrepoError: an image is too small.
        """
        build_model(stage.work.architecture, info.num_classes, info.image_shape)  # pyright: ignore

    def cost(self, context: Context) -> Cost | None:
        """Return the cost of a training step; real images stand in for distilled images that do not exist yet."""
        dataset = context.dataset()
        sizes = [source.work.distill.ipc for source in context.stage.data]  # pyright: ignore
        data = None
        if sizes:  # the cost does not depend on the choice of images
            count = dataset.info.num_classes * (sum(sizes) // len(sizes))
            data = with_labels(dataset, np.resize(np.arange(dataset.info.num_train), count))
        trainer, loop = prepare(context.work, data, dataset, context.options.residency)
        return measure(loop, trainer.num_parameters)
