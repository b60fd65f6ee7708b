"""A small data set that TFDS itself prepares."""

import io

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

SHAPE = (4, 4, 1)


def picture(number, dtype=np.uint8):
    """Return noise that fills the range of `dtype`."""
    return np.random.default_rng(number).integers(0, np.iinfo(dtype).max, SHAPE, dtype, endpoint=True)


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0]).save(buffer, "PNG")
    buffer.seek(0)
    return buffer


class Toys(tfds.core.GeneratorBasedBuilder):
    """Pictures 0, 1, ... of each split, with the labels that are given."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, splits, dtype, data_dir):
        self.given = splits
        self.dtype = dtype
        super().__init__(data_dir=data_dir, file_format="array_record")

    def _info(self):
        image = tfds.features.Image(shape=SHAPE, dtype=self.dtype)
        features = {"image": image, "label": tfds.features.ClassLabel(num_classes=3)}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, _):
        return {split: self._generate_examples(labels) for split, labels in self.given.items()}

    def _generate_examples(self, labels):
        for number, label in enumerate(labels):
            yield f"{number:03}", {"image": png(picture(number, self.dtype)), "label": label}
