"""Parquet files of one's own: which files, columns and classes are taken, and what is said of others."""

import io
import json

import duckdb
import numpy as np
import pytest
from PIL import Image

from frepo.data.load import forget, load_dataset
from frepo.data.sources.splits import by_config
from frepo.errors import FrepoError
from frepo.plan import compile_plan
from frepo.spec import Dataset, ExperimentSpec

KINDS = {"struct": "STRUCT(bytes BLOB, path VARCHAR)", "binary": "BLOB"}
VALUES = {"struct": "{'bytes': unnest(?::BLOB[]), 'path': 'a.png'}", "binary": "unnest(?::BLOB[])"}


def encoded(pixels, suffix="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, suffix)
    return buffer.getvalue()


def pictures(count, shape=(8, 8, 3), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)


def write(path, images, labels, *, names=None, image="image", label="label", kind="struct", more=""):
    """Write encoded or raw `images` and `labels`; `names` are those of the classes, `more` further columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    features = {image: {"_type": "Image"}, label: {"_type": "ClassLabel", "names": list(names or ())}}
    told = json.dumps({"info": {"features": features if names else {image: {"_type": "Image"}}}}).replace("'", "''")
    contents = [content if isinstance(content, bytes | None) else encoded(content) for content in images]
    image, label = (name.replace('"', '""') for name in (image, label))
    with duckdb.connect() as connection:
        connection.execute(f'CREATE TABLE t ("{image}" {KINDS[kind]}, "{label}" BIGINT)')
        connection.execute(f"INSERT INTO t SELECT {VALUES[kind]}, unnest(?::BIGINT[])", [contents, list(labels)])
        connection.execute(
            f"COPY (SELECT * {more} FROM t) TO '{path}' (FORMAT parquet, KV_METADATA {{huggingface: '{told}'}})"
        )
    return path


def load(tmp_path, folder="files", **fields):
    forget()
    table = Dataset(name="parquet", path=str(tmp_path / folder), **fields)
    return load_dataset(table, tmp_path / "data", tmp_path / "cache")


def simple(tmp_path, train="train.parquet", test="test.parquet", **options):
    write(tmp_path / "files" / train, pictures(6), [0, 1, 2] * 2, **options)
    write(tmp_path / "files" / test, pictures(3, seed=1), [2, 1, 0], **options)


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (
            ["plain_text/train-00000-of-00001.parquet", "plain_text/test-00000-of-00001.parquet"],
            {"plain_text": ["test", "train"]},
        ),
        (
            ["data/train-00000-of-00002-0a1b.parquet", "data/train-00001-of-00002-77.parquet", "README.md"],
            {"default": ["train"]},
        ),
        (
            ["a/train/0000.parquet", "a/train/0001.parquet", "a/split_1/0000.parquet", "b/partial-train/0000.parquet"],
            {"a": ["split_1", "train"], "b": ["partial-train"]},
        ),
        (["train.parquet", "test_1.parquet", "test_2.parquet"], {"default": ["test", "train"]}),
        (["train/some.parquet", "val/other-00000-of-00001.parquet"], {"default": ["train", "val"]}),
        (["data/train/part-1.parquet", "x/data/dev.10-0-of-1.parquet"], {"default": ["train"], "x": ["dev.10"]}),
        (["fold_1.parquet", "fold_2.parquet"], {"default": ["fold_1", "fold_2"]}),
    ],
)
def test_configs_and_splits_follow_from_the_names(paths, expected):
    assert {config: sorted(splits) for config, splits in by_config(paths).items()} == expected


@pytest.mark.parametrize("kind", ["struct", "binary"])
def test_rows_are_read_in_their_order_over_several_files(tmp_path, kind):
    images, labels = pictures(700), np.arange(700) % 3
    for number, part in enumerate((slice(0, 300), slice(300, 301), slice(301, 700))):
        path = tmp_path / "files" / f"train-{number:05}-of-00003.parquet"
        write(path, images[part], labels[part].tolist(), names=("a", "b", "c"), kind=kind)
    write(tmp_path / "files" / "validation.parquet", images[:5], [2, 2, 1, 0, 0], kind=kind)
    data = load(tmp_path)
    np.testing.assert_array_equal(data.train_images, images)
    np.testing.assert_array_equal(data.train_labels, labels)
    np.testing.assert_array_equal(data.test_images, images[:5])
    assert data.test_labels.tolist() == [2, 2, 1, 0, 0]
    assert data.info.class_names == ("a", "b", "c")


def test_a_part_of_a_split_is_read_where_there_is_no_test_set(tmp_path):
    images = pictures(40)
    write(tmp_path / "files" / "train.parquet", images, [0, 1] * 20)
    with pytest.raises(FrepoError, match=r"set dataset\.test_fraction = 0\.2"):
        load(tmp_path)
    data = load(tmp_path, test_fraction=0.25)
    assert (data.info.num_train, data.info.num_test) == (30, 10)
    found = np.concatenate([data.train_images, data.test_images])
    assert {image.tobytes() for image in found} == {image.tobytes() for image in images}


def test_grey_images_have_one_channel_unless_others_have_colours(tmp_path):
    grey = pictures(4, (8, 8))
    write(tmp_path / "files" / "train.parquet", grey, [0, 1, 0, 1])
    write(tmp_path / "files" / "test.parquet", grey[:2], [0, 1])
    np.testing.assert_array_equal(load(tmp_path).train_images, grey[..., None])
    write(tmp_path / "files" / "test.parquet", pictures(2), [0, 1])
    np.testing.assert_array_equal(load(tmp_path).train_images, np.repeat(grey[..., None], 3, axis=3))


def test_labels_without_names_are_numbers_of_those_that_occur(tmp_path):
    write(tmp_path / "files" / "train.parquet", pictures(4), [7, 3, 3, 7])
    write(tmp_path / "files" / "test.parquet", pictures(2), [3, 7])
    data = load(tmp_path)
    assert data.info.class_names == ("3", "7")
    assert (data.train_labels.tolist(), data.test_labels.tolist()) == ([1, 0, 0, 1], [0, 1])


@pytest.mark.parametrize("label", [9, None, -1])
def test_a_label_of_no_class_is_named_with_its_row(tmp_path, label):
    write(tmp_path / "files" / "train.parquet", pictures(4), [0, 1, 0, 1])
    write(tmp_path / "files" / "test.parquet", pictures(3), [0, 1, label])
    with pytest.raises(
        FrepoError, match=r"1 of 3 images for testing have labels outside 0 to 1 \(-1 of row 2 of .*test"
    ):
        load(tmp_path)


def test_images_of_different_sizes_need_a_resolution(tmp_path):
    images = [*pictures(2), *pictures(2, (12, 10, 3))]
    write(tmp_path / "files" / "train.parquet", images, [0, 1, 0, 1])
    write(tmp_path / "files" / "test.parquet", images, [0, 1, 0, 1])
    with pytest.raises(
        FrepoError, match=r"different sizes: 8x8x3 and 12x10x3 \(row 2 of .*\); set dataset\.resolution"
    ):
        load(tmp_path)
    assert load(tmp_path, resolution=8).info.image_shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        ([None], r"row 1 of .*train\.parquet has no image in the file"),
        ([b"nothing"], r"row 1 of .*train\.parquet cannot be read as an image"),
        ([b"", b"x"], r"2 images cannot be used:\n  row 1 of "),
        ([encoded(pictures(1)[0])[:-40]], r"row 1 of .*train\.parquet cannot be read as an image"),
    ],
)
def test_bad_images_are_counted_and_named(tmp_path, bad, expected):
    write(tmp_path / "files" / "train.parquet", [pictures(1)[0], *bad, pictures(1)[0]], [0, *[0] * len(bad), 1])
    write(tmp_path / "files" / "test.parquet", pictures(2), [0, 1])
    with pytest.raises(FrepoError, match=expected):
        load(tmp_path)


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ({"image": "img", "label": "labels"}, {}),
        ({"image": "picture"}, {}),
        ({"label": "digit", "names": "abc"}, {}),
        ({"label": "digit"}, {"label_column": "digit"}),
        ({"more": ", fine_label AS id, fine_label AS coarse_label", "label": "fine_label"}, {}),
        ({"more": ", image AS thumbnail"}, {}),
        ({"more": ", image AS img"}, {"image_column": "img"}),
        ({"more": ", image.bytes AS picture", "image": "image"}, {"image_column": "picture"}),
        ({"image": 'a "b"', "label": "it's"}, {"label_column": "it's"}),
    ],
)
def test_the_columns_are_found_or_named(tmp_path, options, fields):
    simple(tmp_path, **options)
    np.testing.assert_array_equal(load(tmp_path, **fields).train_images, pictures(6))


@pytest.mark.parametrize(
    ("options", "fields", "expected"),
    [
        (
            {"label": "digit"},
            {},
            r"no column clearly holds integer labels; set dataset\.label_column\. .*digit \(BIGINT\)",
        ),
        (
            {"more": ", image AS img"},
            {},
            r"several columns may hold encoded images: image, img; set dataset\.image_column",
        ),
        ({"more": ", label AS labels"}, {}, "several columns may hold integer labels: label, labels"),
        (
            {},
            {"label_column": "labl"},
            r"dataset\.label_column: 'labl' is no column, did you mean `label`\?; .* has image",
        ),
        ({}, {"image_column": "label"}, r"dataset\.image_column: 'label' is not of encoded images"),
        ({}, {"label_column": "image"}, r"dataset\.label_column: 'image' is not of integer labels"),
        ({}, {"config": "defalt"}, r"has no config 'defalt', did you mean `default`\?; it has default"),
        ({}, {"train_split": "trains"}, r"dataset\.train_split: .* has no split 'trains', did you mean `train`\?"),
        ({}, {"test_split": "val"}, r"dataset\.test_split: .* has no split 'val'.*; it has test, train"),
        ({}, {"test_fraction": 0.5}, r"has test images already: remove dataset\.test_fraction"),
        ({"test": "other/test.parquet", "train": "one/train.parquet"}, {}, r"several configs: .* to one of one, other"),
        ({"test": "a/test.parquet", "train": "a/tran.parquet"}, {}, r"no split 'train', did you mean `tran`\?"),
    ],
)
def test_what_is_not_clear_is_an_error_that_lists_what_is_there(tmp_path, options, fields, expected):
    simple(tmp_path, **options)
    with pytest.raises(FrepoError, match=expected):
        load(tmp_path, **fields)


def test_pixels_as_lists_are_no_images(tmp_path):
    (tmp_path / "files").mkdir()
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT [1, 2] AS image, 0 AS label) TO '{tmp_path}/files/train.parquet'")
    with pytest.raises(FrepoError, match=r"no column clearly holds encoded images; .*image \(INTEGER\[\]\)"):
        load(tmp_path)


def test_a_folder_without_files_and_a_damaged_file_are_named(tmp_path):
    with pytest.raises(FrepoError, match=r"dataset\.path: .*files is not a folder"):
        load(tmp_path)
    (tmp_path / "files").mkdir()
    with pytest.raises(FrepoError, match="files has no parquet files"):
        load(tmp_path)
    (tmp_path / "files" / "train.parquet").write_bytes(b"nothing")
    with pytest.raises(FrepoError, match=r"train\.parquet cannot be read as parquet \("):
        load(tmp_path)


def test_a_second_file_with_other_columns_is_named(tmp_path):
    simple(tmp_path, train="train-00000-of-00002.parquet")
    write(tmp_path / "files" / "train-00001-of-00002.parquet", pictures(1), [0], label="other")
    with pytest.raises(FrepoError, match="cannot be read as parquet"):
        load(tmp_path)


def test_characters_of_patterns_in_a_path_are_taken_as_they_are(tmp_path):
    (tmp_path / "files").mkdir()
    simple(tmp_path)
    (tmp_path / "files").rename(tmp_path / "a[1]*?")
    assert load(tmp_path, folder="a[1]*?").info.num_train == 6


def test_the_folder_may_move_and_other_images_are_others(tmp_path):
    simple(tmp_path)
    first = load(tmp_path).info.fingerprint
    (tmp_path / "files").rename(tmp_path / "moved")
    assert load(tmp_path, folder="moved").info.fingerprint == first
    write(tmp_path / "moved" / "test.parquet", pictures(3, seed=5), [2, 1, 0])
    assert load(tmp_path, folder="moved").info.fingerprint != first


def test_fields_that_came_later_are_no_part_of_specs_without_them():
    table = Dataset(name="parquet", path="here", test_split="val")
    assert {"config", "revision", "train_split", "image_column"}.isdisjoint(table.model_dump())
    assert table.model_dump()["test_split"] == "val"
    spec = {"name": "s", "dataset": {"name": "digits"}, "distill": {"method": "frepo", "ipc": 1}}
    (stage,) = compile_plan(ExperimentSpec.model_validate(spec)).stages
    assert sorted(stage.identity["dataset"]) == [
        *("chunk_index", "chunk_size", "classes", "label_classes", "name", "path", "preprocess", "resolution"),
        *("test_fraction", "train_fraction"),
    ]
