"""Standardisation and ZCA against plain NumPy float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frepo.data import preprocess
from frepo.data.preprocess import fit_preprocess, to_blocks, zca_matrices
from frepo.spec import Standardize, Zca

ZCA = Zca(type="zca", reg=0.1)


def photographs(n, seed=0, shape=(6, 6, 3)):
    """Correlated uint8 images: smooth random fields."""
    random = np.random.default_rng(seed)
    fields = random.normal(size=(n, *shape)).cumsum(axis=1).cumsum(axis=2)
    return np.clip(fields * 12 + 120, 0, 255).astype(np.uint8)


def standardized(pixels):
    x = pixels / 255
    return (x - x.mean(axis=(0, 1, 2))) / x.std(axis=(0, 1, 2))


def test_standardize_gives_each_channel_mean_zero_and_deviation_one():
    pixels = photographs(200)
    inputs = fit_preprocess(Standardize(type="standardize"), "some", pixels).apply(pixels)
    assert inputs.dtype == np.float32
    np.testing.assert_allclose(inputs, standardized(pixels), atol=1e-5)


def test_mnist_is_standardized_with_the_published_numbers():
    pixels = photographs(10, shape=(4, 4, 1))
    inputs = fit_preprocess(Standardize(type="standardize"), "mnist", pixels).apply(pixels)
    np.testing.assert_allclose(inputs, (pixels / 255 - 0.1307) / 0.3081, atol=1e-5)


@pytest.mark.parametrize("kind", [np.uint16, np.int64, bool])
def test_pixels_of_which_it_is_not_known_what_is_white_are_refused(kind):
    pixels = photographs(10)
    with pytest.raises(TypeError, match=f"pixels are {np.dtype(kind)}; they must be uint8, or floats"):
        fit_preprocess(ZCA, "some", pixels).apply(pixels.astype(kind))


def test_a_constant_channel_is_not_divided_by_zero():
    pixels = photographs(10)
    pixels[..., 1] = 7
    assert np.isfinite(fit_preprocess(ZCA, "some", pixels).apply(pixels)).all()


def test_zca_is_that_of_dense_numpy():
    pixels = photographs(500)
    fitted = fit_preprocess(ZCA, "some", pixels)
    x = standardized(pixels).reshape(len(pixels), -1)
    x -= x.mean(axis=0)
    covariance = x.T @ x / len(x)
    values, vectors = np.linalg.eigh(covariance)
    whiten = vectors @ np.diag((values + 0.1 * np.trace(covariance) / len(covariance)) ** -0.5) @ vectors.T
    np.testing.assert_allclose(fitted.whiten, whiten, atol=1e-4)
    np.testing.assert_allclose(fitted.apply(pixels).reshape(len(x), -1), x @ whiten, atol=1e-3)


@pytest.mark.parametrize("reg", [1e-4, 0.1])
def test_the_whitened_covariance_is_the_identity_up_to_the_regulariser(reg):
    pixels = photographs(2000)
    whitened = fit_preprocess(Zca(type="zca", reg=reg), "some", pixels).apply(pixels).reshape(len(pixels), -1)
    found = np.linalg.eigvalsh(whitened.T.astype(np.float64) @ whitened / len(pixels))
    x = standardized(pixels).reshape(len(pixels), -1)
    values = np.linalg.eigvalsh(np.cov(x.T, bias=True))
    np.testing.assert_allclose(found, np.sort(values / (values + reg * values.mean())), atol=2e-3)


@pytest.mark.parametrize("settings_", [Standardize(type="standardize"), ZCA])
@pytest.mark.parametrize("shape", [(6, 6, 3), (5, 7, 1)])
def test_the_inverse_gives_the_pixels_back(settings_, shape):
    pixels = photographs(300, shape=shape)
    fitted = fit_preprocess(settings_, "some", pixels)
    np.testing.assert_allclose(fitted.invert(fitted.apply(pixels)), pixels / 255, atol=1e-4)


def whitening_in_loops(pixels, reg, block):
    """Return the whitening matrix [d, d], image by image and block by block in float64, as its formula says."""
    x = standardized(pixels)
    x = x - x.mean(axis=0)
    height, width = x.shape[1:3]
    down, right = (1, 1) if block is None else (height // block, width // block)
    dimension = (height // down) * (width // right) * x.shape[3]
    covariance = np.zeros((dimension, dimension))
    for image in x:
        for top in range(down):
            for left in range(right):
                row = image[top::down, left::right].ravel()
                covariance += np.outer(row, row) / (len(x) * down * right)
    values, vectors = np.linalg.eigh(covariance)
    whiten = np.zeros((dimension, dimension))
    for rank, (value, vector) in enumerate(zip(values[::-1], vectors.T[::-1], strict=True)):
        regularised = value + reg * np.trace(covariance) / dimension if rank < len(x) else 1.0
        whiten += np.outer(vector, vector) / np.sqrt(regularised)
    return whiten


@pytest.mark.parametrize(
    ("count", "block"),
    [(200, None), (20, None), (200, 3), (20, 3)],
    ids=["more images than dimensions", "fewer", "more than those of a block", "fewer, though there are more blocks"],
)
def test_as_many_eigenvalues_are_estimated_as_there_are_images(count, block):
    pixels = photographs(count)
    fitted = fit_preprocess(Zca(type="zca", reg=0.1, block=block), "some", pixels)
    expected = whitening_in_loops(pixels, 0.1, block)
    assert (count < len(expected)) == (count == 20)
    assert block is None or count * 4 > len(expected)
    # Whole images less their mean have a rank of one less than their number: the one eigenvalue left over goes to any
    # direction in which no image differs from the mean. So the matrices act alike on the images, and have one spectrum.
    x = standardized(pixels)
    blocks = to_blocks(x - x.mean(axis=0), block)
    np.testing.assert_allclose(to_blocks(fitted.apply(pixels), block), blocks @ expected, atol=1e-3)
    np.testing.assert_allclose(np.linalg.eigvalsh(fitted.whiten), np.linalg.eigvalsh(expected), atol=1e-4)
    np.testing.assert_allclose(fitted.whiten @ fitted.color, np.eye(len(expected)), atol=1e-4)


@given(st.integers(0, 10_000), st.integers(2, 12), st.floats(1e-3, 10))
@settings(derandomize=True, deadline=None, max_examples=40)
def test_whitening_matrices_are_symmetric_and_inverse(seed, dimension, reg):
    x = np.random.default_rng(seed).normal(size=(3 * dimension, dimension))
    whiten, color = zca_matrices(x.T @ x / len(x), reg, len(x))
    np.testing.assert_allclose(whiten, whiten.T, atol=1e-6)
    np.testing.assert_allclose(whiten @ color, np.eye(dimension), atol=1e-4)


def test_blocks_are_whitened_each_by_itself_with_the_mean_of_their_covariances():
    pixels = photographs(300, shape=(6, 9, 3))
    fitted = fit_preprocess(Zca(type="zca", reg=0.1, block=3), "some", pixels)
    x = standardized(pixels)
    x = x - x.mean(axis=0)
    starts = [(top, left) for top in (0, 1) for left in (0, 1, 2)]
    covariances = []
    for top, left in starts:
        rows = np.stack([image[top::2, left::3].ravel() for image in x])
        covariances.append(rows.T @ rows / len(rows))
    values, vectors = np.linalg.eigh(np.mean(covariances, axis=0))
    whiten = (vectors * (values + 0.1 * values.mean()) ** -0.5) @ vectors.T
    np.testing.assert_allclose(fitted.whiten, whiten, atol=1e-4)
    found = fitted.apply(pixels)
    for top, left in starts:
        for image, result in zip(x[:20], found, strict=False):
            expected = (image[top::2, left::3].ravel() @ whiten).reshape(3, 3, 3)
            np.testing.assert_allclose(result[top::2, left::3], expected, atol=1e-3)
    np.testing.assert_allclose(fitted.invert(found), pixels / 255, atol=1e-4)


@pytest.mark.parametrize("settings_", [Standardize(type="standardize"), ZCA, Zca(type="zca", block=2)])
def test_what_is_fitted_does_not_depend_on_the_size_of_the_pieces(settings_, monkeypatch):
    pixels = photographs(301)
    whole = fit_preprocess(settings_, "some", pixels)
    monkeypatch.setattr(preprocess, "CHUNK_BYTES", 4 * 6 * 6 * 3 * 7)
    pieces = fit_preprocess(settings_, "some", pixels)
    for name, value in vars(whole).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_allclose(value, getattr(pieces, name), atol=2e-4)


@pytest.mark.parametrize("count", [20, 200])
def test_whitening_with_eps_is_of_bare_pixels(count):
    pixels = photographs(count)
    fitted = fit_preprocess(Zca(type="zca", eps=0.1), "some", pixels)
    x = pixels.reshape(count, -1) / 255
    x = x - x.mean(axis=0)
    values, vectors = np.linalg.eigh(x.T @ x / (count - 1))
    whiten = (vectors / np.sqrt(np.maximum(values, 0) + 0.1)) @ vectors.T
    np.testing.assert_allclose(fitted.apply(pixels).reshape(count, -1), x @ whiten, atol=1e-4)
    np.testing.assert_allclose(fitted.invert(fitted.apply(pixels)), pixels / 255, atol=1e-4)
