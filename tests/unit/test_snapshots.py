import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from frepo.data.load import load_dataset
from frepo.data.preprocess import visible
from frepo.engine.journal import Journal
from frepo.methods.base import DistilledData
from frepo.methods.snapshots import snapshot_steps, write_sheets, written_sheets
from frepo.runtime import Cadence
from frepo.spec import Dataset


@given(st.integers(1, 10**6))
def test_snapshots_halve_their_distance_to_the_start_and_none_is_the_first_or_the_last(steps):
    found = snapshot_steps(steps)
    assert all(0 < step < steps for step in found)
    assert list(found) == sorted(set(found))
    assert len(found) <= 8
    if steps >= 2000:
        assert all(step % 100 == 0 for step in found)
        assert abs(found[-1] - steps / 2) <= 50


def test_the_snapshots_of_a_thousand_steps():
    assert snapshot_steps(1000) == (4, 8, 16, 31, 62, 125, 250, 500)
    assert snapshot_steps(1) == ()


@pytest.mark.parametrize("preprocess", ["standardize", "zca"])
def test_sheets_show_pixels_and_where_they_are_whitened_inputs_too(tmp_path, preprocess):
    dataset = load_dataset(Dataset(name="digits", preprocess={"type": preprocess}), tmp_path, tmp_path)
    chosen = np.arange(20)
    inputs = dataset.inputs(dataset.train_images[chosen])
    journal = Journal(tmp_path, "label", Cadence.parse("1000"), None, lambda *_: None)
    write_sheets(DistilledData(inputs, np.zeros((20, 10), np.float32)), 7, 2, dataset, journal)
    sheets = written_sheets([0, 7], 10, 2, dataset, journal)
    assert [(sheet.view, sheet.step) for sheet in sheets] == [("pixels", 7), ("inputs", 7)][: 1 + (preprocess == "zca")]
    seen = {"pixels": dataset.preprocess.invert(inputs), "inputs": visible(inputs)}
    for sheet in sheets:
        with Image.open(io.BytesIO((tmp_path / sheet.path).read_bytes())) as image:
            tiles = np.asarray(image).reshape(10, 8, 2, 8).swapaxes(1, 2).reshape(20, 8, 8)
        np.testing.assert_allclose(tiles / 255, np.clip(seen[sheet.view][..., 0], 0, 1), atol=0.51 / 255)


def test_visible_images_have_their_own_mean_at_half_and_three_deviations_at_the_ends():
    images = np.random.default_rng(0).normal(5, 9, (4, 8, 8, 3)).astype(np.float32)
    seen = visible(images)
    np.testing.assert_allclose(seen.mean((1, 2, 3)), 0.5, atol=1e-6)
    np.testing.assert_allclose(seen.std((1, 2, 3)), 1 / 6, rtol=1e-5)
    np.testing.assert_array_equal(visible(np.full((1, 2, 2, 1), 3.0)), 0.5)
