"""The part that stages share which train networks."""

import jax.numpy as jnp
import numpy as np

from frepo.data.context import Context
from frepo.data.dataset import Dataset, DatasetInfo
from frepo.data.residency import LabelledImages
from frepo.engine.cost import Cost, measure
from frepo.networks.build import build_model
from frepo.networks.losses import centered_one_hot
from frepo.networks.prepare import prepare
from frepo.plan import Stage


class NetworkStage:
    """Check and cost of a stage whose work is an `Evaluation`."""

    def check(self, stage: Stage, info: DatasetInfo) -> None:
        """Refuse images that are too small for the network.

        Raises:
            FrepoError: they are.
        """
        build_model(stage.work.architecture, info.num_classes, info.image_shape)  # pyright: ignore

    def cost(self, context: Context) -> Cost | None:
        """Return the cost of a training step; real images stand in for distilled ones that do not exist yet."""
        dataset = context.dataset()
        sizes = [source.work.distill.ipc for source in context.stage.data]  # pyright: ignore
        data = _stand_in(sum(sizes) // len(sizes), dataset) if sizes else None
        trainer, loop = prepare(context.work, data, dataset, context.options.residency)
        return measure(loop, trainer.num_parameters)


def _stand_in(ipc: int, dataset: Dataset) -> LabelledImages:
    """Return `ipc` real images for each class; which ones does not matter for their cost."""
    info = dataset.info
    chosen = np.resize(np.arange(info.num_train), info.num_classes * ipc)
    labels = centered_one_hot(jnp.asarray(dataset.train_labels[chosen]), info.num_classes, info.label_classes)
    return LabelledImages(dataset.inputs(dataset.train_images[chosen]), np.asarray(labels))
