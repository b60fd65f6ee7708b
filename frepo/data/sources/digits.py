"""The real 8x8 digits that ship with scikit-learn, which takes seconds to import and is not."""

import gzip
from importlib.metadata import distribution
from pathlib import Path

import numpy as np

from frepo.data.dataset import RawSplits
from frepo.errors import FrepoError

FILE = "sklearn/datasets/data/digits.csv.gz"
TEST_SHARE = 0.2


def read_digits() -> RawSplits:
    """Return the 1,797 digits (UCI Optical Recognition of Handwritten Digits) with a fixed stratified split.

    Pixel values 0..16 are spread over 0..255. A fifth of each class, 360 images in all, is for testing.

    Raises:
        FrepoError: scikit-learn does not have them where it has always had them.
    """
    path = Path(str(distribution("scikit-learn").locate_file(FILE)))
    try:
        with gzip.open(path, "rt") as file:
            table = np.array([line.split(",") for line in file], np.uint8)
        if table.shape != (1797, 65):
            raise ValueError(f"a table of shape {table.shape}")
    except (OSError, EOFError, ValueError) as error:
        raise FrepoError(f"the digits of scikit-learn cannot be read from {path}: {error}; install it again") from None
    images = np.round(table[:, :64].reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    labels = table[:, 64].astype(np.int32)
    train, test = stratified(labels, TEST_SHARE)
    return RawSplits(images[train], labels[train], images[test], labels[test], tuple("0123456789"))


def stratified(labels: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Return indices of examples to train on and to test on, in random order, the latter a share of each class.

    They are those of scikit-learn's `train_test_split` with `random_state=0` and `stratify=labels`, which NumPy's
    `RandomState` keeps the same for ever.
    """
    random = np.random.RandomState(0)
    counts = np.bincount(labels)
    number = int(np.ceil(share * len(labels)))
    to_train = _apportioned(counts, len(labels) - number, random)
    to_test = _apportioned(counts - to_train, number, random)
    train, test = [], []
    for label, (first, second) in enumerate(zip(to_train, to_test, strict=True)):
        members = np.flatnonzero(labels == label)[random.permutation(counts[label])]
        train.extend(members[:first])
        test.extend(members[first : first + second])
    return random.permutation(train), random.permutation(test)


def _apportioned(counts: np.ndarray, number: int, random: np.random.RandomState) -> np.ndarray:
    """Return how many of `number` each class gets, by largest remainders; ties are drawn."""
    exact = counts / counts.sum() * number
    given = np.floor(exact)
    remainders = exact - given
    for remainder in np.unique(remainders)[::-1]:
        missing = int(number - given.sum())
        if not missing:
            break
        (ties,) = np.nonzero(remainders == remainder)
        given[random.choice(ties, min(len(ties), missing), replace=False)] += 1
    return given.astype(int)
