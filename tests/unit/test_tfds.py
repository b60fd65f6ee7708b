"""Prepared TFDS data sets of both formats, written by TFDS itself: what decoding finds in them, and what it refuses."""

import json
import re

import numpy as np
import pytest
from toys import Toys, picture

from frepo.data.load import load_dataset
from frepo.errors import FrepoError
from frepo.spec import Dataset

TRAIN = [0, 1, 2, 0, 1]


@pytest.fixture
def prepared(tmp_path, as_tfrecords):
    """Return what prepares the toys, labels by split, and returns their directory."""

    def prepared(file_format="array_record", dtype=np.uint8, **splits):
        builder = Toys(splits, dtype, tmp_path / "data")
        builder.download_and_prepare()
        if file_format == "tfrecord":
            as_tfrecords(builder.data_path)
        return builder.data_path

    return prepared


@pytest.fixture
def load(tmp_path):
    return lambda **fields: load_dataset(Dataset(name="toys:1.0.0", **fields), tmp_path / "data", tmp_path / "cache")


def sorted_pixels(images):
    return sorted(np.asarray(images).reshape(len(images), -1).tolist())


@pytest.mark.parametrize("file_format", ["array_record", "tfrecord"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pixels_are_the_upper_eight_bits_of_what_is_stored(prepared, load, file_format, dtype):
    prepared(file_format, dtype, train=TRAIN, test=[2, 1])
    found = load()
    expected = [picture(number, dtype) >> (np.iinfo(dtype).bits - 8) for number in range(len(TRAIN))]
    assert found.train_images.dtype == np.uint8
    assert sorted_pixels(found.train_images) == sorted_pixels(expected)
    assert sorted(found.test_labels) == [1, 2]


def test_floating_point_images_are_refused(prepared, load):
    directory = prepared(train=TRAIN, test=[2, 1])
    features = directory / "features.json"
    features.write_text(features.read_text().replace("uint8", "float32"))
    with pytest.raises(FrepoError, match=r"'toys:1\.0\.0' has images of float32; frepo reads 8-bit and 16-bit ones"):
        load()


def test_a_labelled_validation_split_stands_in_for_a_test_split_without_labels(prepared, load, capsys):
    prepared(train=TRAIN, test=[-1] * 4, validation=[1, 0, 2])
    assert sorted(load().test_labels) == [0, 1, 2]
    assert "toys:1.0.0: testing on validation, because test has no labels" in capsys.readouterr().err


@pytest.mark.parametrize("others", [{}, {"validation": [-1, -1]}])
def test_a_test_split_without_labels_is_refused(prepared, load, tmp_path, others):
    prepared(train=TRAIN, test=[-1] * 4, **others)
    with pytest.raises(FrepoError, match=r"4 of 4 images for testing have labels outside 0 to 2 \(-1 of example 0"):
        load()
    assert not list((tmp_path / "cache").glob("decoded/*"))


def test_training_images_without_labels_are_counted(prepared, load):
    prepared(train=[*TRAIN, -1, -1], test=[0])
    with pytest.raises(FrepoError, match="2 of 7 images for training have labels outside 0 to 2"):
        load()


@pytest.mark.parametrize("file_format", ["array_record", "tfrecord"])
@pytest.mark.parametrize("promised", [4, 6, 0])
def test_a_file_with_another_number_of_examples_than_was_written_is_named(prepared, load, file_format, promised):
    directory = prepared(file_format, train=TRAIN, test=[0])
    path = directory / "dataset_info.json"
    info = json.loads(path.read_text())
    (train,) = (split for split in info["splits"] if split["name"] == "train")
    train["shardLengths"] = [str(promised)]
    path.write_text(json.dumps(info))
    expected = rf"toys-train.{file_format}-00000-of-00001 holds 5 examples, not the {promised} of dataset_info.json"
    with pytest.raises(FrepoError, match=expected):
        load()


def test_a_damaged_payload_is_named(prepared, load):
    (path,) = prepared("tfrecord", train=TRAIN, test=[0]).glob("*-train.tfrecord*")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    with pytest.raises(FrepoError, match=f"{re.escape(str(path))} is damaged: the record at byte"):
        load()
