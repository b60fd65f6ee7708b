"""Distilled data for others: in formats that they read, with all that is needed to train on it.

The formats stand here, where nothing is imported, so that the command line can name them at once.
"""

from typing import Literal

DataFormat = Literal["npz", "safetensors", "png", "tfds", "torch", "hf"]
"""All that is needed to train on the distilled data."""

MotionFormat = Literal["webp", "gif"]
"""The images on their way."""

Format = Literal[DataFormat, MotionFormat]
