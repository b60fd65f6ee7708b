"""The real 8x8 digits that ship with scikit-learn."""

from typing import Any

import numpy as np

from frepo.data.dataset import RawSplits

TEST_SHARE = 0.2


def read_digits() -> RawSplits:
    """Return the 1,797 digits (UCI Optical Recognition of Handwritten Digits) with a fixed stratified split.

    Pixel values 0..16 are spread over 0..255. A fifth of each class, 360 images in all, is for testing.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch: Any = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = bunch.target.astype(np.int32)
    train, test = train_test_split(np.arange(len(labels)), test_size=TEST_SHARE, random_state=0, stratify=labels)
    return RawSplits(images[train], labels[train], images[test], labels[test], tuple("0123456789"))
