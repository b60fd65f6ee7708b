"""What the tests of the maths share."""

import jax
import numpy as np
import pytest

from frepo.data.dataset import Dataset, DatasetInfo
from frepo.data.preprocess import fit_preprocess
from frepo.methods.base import Job
from frepo.plan import DistillStage, Stage
from frepo.runtime import RuntimeOptions
from frepo.spec import Conv, Frepo, Pool, Standardize
from frepo.spec import Dataset as DatasetTable

SHAPE = (8, 8, 1)
FREPO = Frepo(method="frepo", ipc=1, steps=30, batch_size=16, learning_rate=0.01, flip=True)


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Let the program take the way of a GPU, on this machine's CPU."""
    return lambda: monkeypatch.setattr(jax, "default_backend", lambda: "gpu")


def _dataset():
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (60, *SHAPE), dtype=np.uint8)
    labels = np.arange(60, dtype=np.int32) % 3
    settings = Standardize(type="standardize")
    fitted = fit_preprocess(settings, "some", pixels)
    info = DatasetInfo("some", ("a", "b", "c"), SHAPE, 60, 60, 20, "0" * 64, 3)
    return Dataset(info, pixels, labels, pixels, labels, fitted)


def _learning_of(seed, method=FREPO, **architecture):
    work = DistillStage(
        seed=seed,
        dataset=DatasetTable(name="digits"),
        distill=method.resolved("digits"),
        method_version=method.version,
        architecture=Conv(**{"width": 4, "depth": 2, **architecture}),
        pool=Pool(size=2, max_online_updates=3),
    )
    return method.load()(Job(Stage(method.method, work), _dataset(), RuntimeOptions(residency="device")))


@pytest.fixture(scope="session")
def three_classes():
    """Return 60 images of three classes."""
    return _dataset()


@pytest.fixture(scope="session")
def learning_of():
    """Return what prepares a method, FRePo by default, on 60 images of three classes."""
    return _learning_of
