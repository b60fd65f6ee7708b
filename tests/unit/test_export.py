"""Exports: every format read back by its own library, hostile names, and PyTorch held against Flax."""

import ast
import csv
import hashlib
import importlib.util
import io
import json
import subprocess
import sys
import warnings
from dataclasses import fields, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, get_args

import duckdb
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow_datasets as tfds
import yaml
from PIL import Image
from safetensors.numpy import load_file
from safetensors.numpy import save as to_safetensors

import frepo
from frepo.data.preprocess import FittedPreprocess, fit_preprocess
from frepo.data.sources.digits import read_digits
from frepo.errors import FrepoError
from frepo.exchange.export import Format
from frepo.exchange.export.evolution import write_evolution
from frepo.exchange.export.exported import Exported, load, preprocess_arrays, symmetric, upper_triangle
from frepo.exchange.export.find import find_run, find_stage
from frepo.exchange.export.licence import source_of
from frepo.exchange.export.names import folder_names, label_names
from frepo.exchange.export.render import size_category
from frepo.exchange.export.run import Evaluation, collect, export_run, resolved
from frepo.exchange.export.write import write
from frepo.exchange.imports.interpret import interpret
from frepo.exchange.imports.read import read_arrays
from frepo.networks import augmentation as augment
from frepo.networks import recipe as recipes
from frepo.networks.build import build_model
from frepo.networks.mixing import mix
from frepo.networks.training import Network, Trainer
from frepo.rundir import record
from frepo.runtime import RuntimeOptions
from frepo.spec import AlexNet, Conv, DcConv, Evaluate, Recipe, Standardize, Zca
from frepo.spec.recipe import OPERATIONS, complete

CLASSES, IPC = 3, 2
NAMES = ("../x", "<b>", "née")
HOSTILE = ("../x", "a/b", "", "<b>", "a\\b", "A_B", "nul", "..", "README.md", "grid.png", "x" * 300, "a\nb", "\udce9\0")
KINDS = ("npz", "safetensors", "torch")
ALL_KINDS = ("npz", "safetensors", "torch", "png", "tfds", "hf")


def make(
    shape: tuple[int, int, int] = (6, 8, 3),
    preprocess: Standardize | Zca | None = None,
    architecture: Any = None,
    names: tuple[str, ...] = NAMES,
    ipc: int = IPC,
    **recipe: Any,
) -> Exported:
    """Return distilled data with floats of awkward bits."""
    random = np.random.default_rng(0)
    settings = preprocess or Standardize(type="standardize")
    fitted = fit_preprocess(settings, "any", random.integers(0, 256, (50, *shape), dtype=np.uint8))
    if fitted.whiten is not None:
        fitted = replace(fitted, whiten=symmetric(upper_triangle(fitted.whiten)))
    classes = len(names)
    images = random.normal(size=(classes * ipc, *shape)).astype(np.float32)
    images[0, 0, 0, 0], images[0, 0, 1, 0], images[0, 0, 2, 0] = -0.0, 1e-45, 6e4
    hard = np.repeat(np.arange(classes, dtype=np.int32), ipc)
    labels = (
        np.eye(classes, dtype=np.float32)[hard] - np.float32(1 / classes) + random.normal(0, 0.01, (len(hard), classes))
    )
    table = architecture or Conv(width=8, depth=2, normalization="identity")
    settings_json = complete(Recipe(**{"augmentation": OPERATIONS["frepo"], **recipe}).model_dump(mode="json"))
    row = {
        "exported_recipe": True,
        "predictor": "network",
        "num_models": 5,
        "top1_mean": 0.7654,
        "top1_std": 0.0123,
        "top5_mean": 1.0,
        "top5_std": 0.0,
        "n_test": 4321,
    }
    return Exported(
        images=images,
        pixels=fitted.invert(images),
        soft_labels=labels.astype(np.float32),
        hard_labels=hard,
        class_names=names,
        preprocess=fitted,
        recipe={**settings_json, "steps": recipe.get("steps", 1000), "architecture": table.model_dump(mode="json")},
        provenance={
            "run_id": "some-run-0123abcd",
            "fingerprint": "f" * 64,
            "frepo": "0.1.0",
            "code": {"sha256": "c" * 64, "commit": "c0ffee", "dirty": True},
            "spec": {
                "dataset": {"name": "any_data", "resolution": None, "classes": None},
                "distill": {"method": "frepo", "ipc": ipc, "steps": 4321},
                "seed": 17,
            },
            "accuracies": [row],
        },
    )


def assert_same_bits(one: np.ndarray | None, other: np.ndarray | None) -> None:
    if one is None or other is None:
        assert one is other
        return
    assert (one.dtype, one.shape) == (other.dtype, other.shape)
    assert one.tobytes() == other.tobytes()


def assert_same(one: Exported, other: Exported) -> None:
    for field in fields(Exported):
        if field.name not in ("preprocess", "class_names", "recipe", "provenance"):
            assert_same_bits(getattr(one, field.name), getattr(other, field.name))
    for field in fields(FittedPreprocess):
        if field.name not in ("block", "color"):  # the inverse of `whiten` is not stored
            assert_same_bits(getattr(one.preprocess, field.name), getattr(other.preprocess, field.name))
    assert one.preprocess.block == other.preprocess.block
    assert (one.class_names, one.recipe, one.provenance) == (other.class_names, other.recipe, other.provenance)


PREPROCESSINGS = (Standardize(type="standardize"), Zca(type="zca"), Zca(type="zca", block=2))


@pytest.mark.parametrize("preprocess", PREPROCESSINGS, ids=("standardize", "zca", "blocks"))
@pytest.mark.parametrize("kind", KINDS)
def test_what_was_written_is_loaded_bit_for_bit_from_the_directory_and_the_file(tmp_path, kind, preprocess):
    exported = make(preprocess=preprocess, names=HOSTILE)
    write(exported, kind, tmp_path / "out")
    assert_same(load(tmp_path / "out"), exported)
    file = "data.npz" if kind == "npz" else "data.safetensors"
    assert_same(load(str(tmp_path / "out" / file)), exported)
    assert json.loads((tmp_path / "out" / "recipe.json").read_text()) == exported.recipe
    assert json.loads((tmp_path / "out" / "provenance.json").read_text()) == exported.provenance


def test_numpy_and_safetensors_read_the_arrays_themselves(tmp_path):
    exported = make(preprocess=Zca(type="zca"))
    write(exported, "npz", tmp_path / "npz")
    write(exported, "safetensors", tmp_path / "safetensors")
    with np.load(tmp_path / "npz" / "data.npz", allow_pickle=False) as data:
        assert json.loads(data["recipe"].item()) == exported.recipe
        arrays = [{name: data[name] for name in data.files if data[name].dtype.kind != "U"}]
    arrays.append(load_file(tmp_path / "safetensors" / "data.safetensors"))
    for found in arrays:
        assert len(found) == 8
        assert_same_bits(found["images"], exported.images)
        assert_same_bits(found["labels"], exported.soft_labels)
        assert_same_bits(found["hard_labels"], exported.hard_labels)
        assert_same_bits(found["pixels"], exported.pixels)
        assert_same_bits(symmetric(found["whiten_upper"]), exported.preprocess.whiten)


@pytest.mark.parametrize("preprocess", PREPROCESSINGS[1:], ids=("zca", "blocks"))
def test_a_whitening_is_stored_as_a_triangle_and_undone_without_its_inverse(tmp_path, preprocess):
    exported = make(preprocess=preprocess)
    write(exported, "npz", tmp_path / "out")
    assert exported.preprocess.whiten is not None
    size = len(exported.preprocess.whiten)
    with np.load(tmp_path / "out" / "data.npz") as data:
        assert data["whiten_upper"].shape == (size * (size + 1) // 2,)
    found = load(tmp_path / "out").preprocess
    assert found.color is None
    pixels = np.random.default_rng(1).uniform(size=(5, 6, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(found.invert(found.apply(pixels)), pixels, atol=1e-5)


def test_a_whitening_of_the_first_format_is_read(tmp_path):
    exported = make(preprocess=Zca(type="zca"))
    write(exported, "npz", tmp_path / "out")
    whiten, color = exported.preprocess.whiten, exported.preprocess.color
    changes = {"whiten_upper": None, "whiten": whiten, "color": color, "format": np.array('"frepo distilled data 1"')}
    rewritten(tmp_path / "out" / "data.npz", **changes)
    found = load(tmp_path / "out")
    assert_same(found, exported)
    assert_same_bits(found.preprocess.color, color)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 48])
def test_a_triangle_becomes_its_matrix(size):
    half = np.random.default_rng(0).normal(size=(size, size)).astype(np.float32)
    assert_same_bits(symmetric(upper_triangle(half + half.T)), half + half.T)


@pytest.mark.parametrize("kind", KINDS)
def test_an_export_can_be_imported(tmp_path, kind):
    exported = make()
    write(exported, kind, tmp_path / "out")
    foreign = read_arrays(tmp_path / "out")
    assert foreign.names == ("images", "labels")
    found = interpret(foreign, (6, 8, 3), CLASSES, IPC, pixels=None)
    assert not found.are_pixels
    assert_same_bits(found.images, exported.images)
    assert_same_bits(found.labels, exported.soft_labels)


@pytest.mark.parametrize("kind", ["png", "tfds", "hf"])
def test_an_export_that_cannot_be_imported_says_which_can(tmp_path, kind):
    write(make(), kind, tmp_path / "out")
    with pytest.raises(FrepoError, match=r"is an export of frepo .*as npz, safetensors and torch can be imported"):
        read_arrays(tmp_path / "out")


def test_tfds_reads_back_every_bit_in_order(tmp_path, capfd):
    exported = make(names=HOSTILE)
    write(exported, "tfds", tmp_path / "out")
    assert capfd.readouterr() == ("", "")
    builder = tfds.builder_from_directory(tmp_path / "out")
    source: Any = builder.as_data_source(split="train")
    assert len(source) == len(exported.images)
    for position, example in enumerate(source):
        assert_same_bits(example["image"], exported.images[position])
        assert_same_bits(example["pixels"], exported.pixels[position])
        assert_same_bits(example["soft_label"], exported.soft_labels[position])
        assert example["label"] == exported.hard_labels[position]
    names = builder.info.features["label"].names
    assert names == label_names(HOSTILE)
    assert names[:4] == ["../x", "a/b", "class 2", "<b>"]
    with np.load(tmp_path / "out" / "preprocess.npz") as arrays:
        assert_same_bits(arrays["mean"], exported.preprocess.mean)


def parquet(directory: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the rows of the file for the Hub, and the types in its metadata."""
    path = str(directory / "data" / "train-00000-of-00001.parquet")
    with duckdb.connect() as connection:
        found = connection.execute("SELECT * FROM read_parquet(?)", [path])
        names = [column[0] for column in found.description]
        rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
        kinds = connection.execute("SELECT repetition_type FROM parquet_schema(?) WHERE num_children IS NULL", [path])
        assert {kind for (kind,) in kinds.fetchall()} == {"OPTIONAL"}
        (metadata,) = connection.execute("SELECT key, value FROM parquet_kv_metadata(?)", [path]).fetchall()
    assert metadata[0] == b"huggingface"
    return rows, json.loads(metadata[1])["info"]["features"]


def floats(values: list[float]) -> np.ndarray:
    return np.array(values, np.float32)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_hub_gets_pictures_names_and_every_bit(tmp_path, channels):
    exported = make((6, 8, channels), names=HOSTILE)
    write(exported, "hf", tmp_path / "out")
    rows, features = parquet(tmp_path / "out")
    assert len(rows) == len(exported.images)
    levels = np.round(np.clip(exported.pixels, 0, 1) * 255).astype(np.uint8)
    for position, row in enumerate(rows):
        assert list(row) == ["image", "label", "soft_label", "inputs"]
        picture = np.asarray(Image.open(io.BytesIO(row["image"]["bytes"])))
        assert np.array_equal(picture.reshape(levels.shape[1:]), levels[position])
        assert row["label"] == exported.hard_labels[position]
        assert_same_bits(floats(row["soft_label"]), exported.soft_labels[position])
        assert_same_bits(floats(row["inputs"]), exported.images[position].ravel())
    assert len({row["image"]["path"] for row in rows}) == len(rows)
    assert features["image"] == {"_type": "Image"}
    assert features["label"] == {"_type": "ClassLabel", "names": label_names(HOSTILE)}
    assert features["inputs"]["length"] == 48 * channels
    with np.load(tmp_path / "out" / "preprocess.npz") as arrays:
        assert_same_bits(arrays["mean"], exported.preprocess.mean)


def test_the_head_of_the_card_is_what_the_hub_reads(tmp_path):
    exported = make(names=(*HOSTILE, "\u2028\x85\ufeff", '"quoted\\', "\U0001f600", ": - #"))
    exported.provenance["spec"]["dataset"]["name"] = "imagenette/160px"
    write(exported, "hf", tmp_path / "out")
    _, head, text = (tmp_path / "out" / "README.md").read_text().split("---\n", 2)
    card = yaml.safe_load(head)
    types = {entry.pop("name"): entry for entry in card["dataset_info"]["features"]}
    assert list(types) == list(parquet(tmp_path / "out")[1])
    names = types["label"]["dtype"]["class_label"]["names"]
    assert names == {str(number): name for number, name in enumerate(label_names(exported.class_names))}
    assert (card["license"], card["license_name"]) == ("other", "imagenets-terms-research-not-commercial")
    assert card["source_datasets"] == ["frgfm/imagenette"]
    assert card["size_categories"] == ["n<1K"]
    assert card["task_categories"] == ["image-classification"]
    assert "dataset-distillation" in card["tags"]
    assert "<b>" not in text
    for fact in (
        "seed | 17",
        "4,321",
        "76.5 ± 1.2%",
        "5 networks",
        "c" * 64,
        "hf upload USER/NAME",
        "Howard: Imagenette",
    ):
        assert fact in text


@pytest.mark.parametrize(
    ("name", "licence", "terms"),
    [
        ("digits", "cc-by-4.0", "https://creativecommons.org/licenses/by/4.0/"),
        ("mnist:3.0.1", "cc-by-sa-3.0", "https://creativecommons.org/licenses/by-sa/3.0/"),
        ("fashion_mnist", "mit", "https://spdx.org/licenses/MIT"),
        ("cifar10", "unknown", "none stated; cite the report"),
        ("imagenet_resized/32x32:0.1.0", "other", "ImageNet's terms: research, not commercial"),
        ("imagenette/160px", "other", "ImageNet's terms: research, not commercial"),
        ("hf://ylecun/mnist", "cc-by-sa-3.0", "https://creativecommons.org/licenses/by-sa/3.0/"),
        ("hf://anyone/mnist", "unknown", "not known"),
        ("image_folder", "unknown", "not known"),
        ("stl10", "unknown", "not known"),
    ],
)
def test_the_licence_is_that_of_the_data_set(name, licence, terms):
    assert (source_of(name).licence, source_of(name).terms) == (licence, terms)


def test_the_source_is_the_data_set_that_the_run_has_had():
    names = ("fashion_mnist:3.0.1", "hf://uoft-cs/cifar10", "hf://anyone/mnist", "imagenette/160px", "digits")
    found = ["zalando-datasets/fashion_mnist", "uoft-cs/cifar10", "anyone/mnist", "frgfm/imagenette", None]
    assert [source_of(name).hub_name for name in names] == found


def test_the_hub_has_a_range_for_every_number_of_images():
    found = [size_category(count) for count in (1, 999, 1000, 9999, 10_000, 100_000, 1_000_000)]
    assert found == ["n<1K", "n<1K", "1K<n<10K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M"]


def test_croissant_describes_the_file_beside_it(tmp_path):
    exported = make(names=HOSTILE)
    write(exported, "hf", tmp_path / "out")
    found = json.loads((tmp_path / "out" / "croissant.json").read_text())
    assert found["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    assert found["@type"] == "sc:Dataset"
    (file,) = found["distribution"]
    content = (tmp_path / "out" / file["contentUrl"]).read_bytes()
    assert file["sha256"] == hashlib.sha256(content).hexdigest()
    assert file["contentSize"] == f"{len(content)} B"
    classes, records = found["recordSet"]
    assert [row["classes/name"] for row in classes["data"]] == label_names(HOSTILE)
    assert {key for row in classes["data"] for key in row} == {field["@id"] for field in classes["field"]}
    columns = list(parquet(tmp_path / "out")[1])
    assert [field["source"]["extract"]["column"] for field in records["field"]] == columns
    ids = {field["@id"] for record in (classes, records) for field in record["field"]}
    for field in records["field"]:
        assert field["source"]["fileObject"]["@id"] == file["@id"]
        assert field.get("references", {"field": {"@id": "classes/label"}})["field"]["@id"] in ids
        assert field["dataType"].startswith("sc:")


def test_datasets_reads_what_is_for_the_hub(tmp_path):
    datasets = pytest.importorskip("datasets")
    exported = make(names=HOSTILE)
    write(exported, "hf", tmp_path / "out")
    with warnings.catch_warnings(action="ignore"):
        found = datasets.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert isinstance(found.features["image"], datasets.Image)
    assert found.features["label"].names == label_names(HOSTILE)
    for position, row in enumerate(found):
        assert row["image"].size == (8, 6)
        assert row["label"] == exported.hard_labels[position]
        assert_same_bits(floats(row["soft_label"]), exported.soft_labels[position])
        assert_same_bits(floats(row["inputs"]), exported.images[position].ravel())


def test_mlcroissant_reads_what_is_for_the_hub(tmp_path):
    mlcroissant = pytest.importorskip("mlcroissant")
    exported = make()
    write(exported, "hf", tmp_path / "out")
    with warnings.catch_warnings(action="ignore"):
        found = mlcroissant.Dataset(jsonld=str(tmp_path / "out" / "croissant.json"))
        rows = list(found.records("train"))
    assert not found.metadata.ctx.issues.errors
    for position, row in enumerate(rows):
        assert row["train/label"] == exported.hard_labels[position]
        assert_same_bits(floats(row["train/inputs"]), exported.images[position].ravel())


def test_names_that_tfds_would_lose_are_changed():
    assert label_names(("a", " a ", "", "\n", "a b", "a\nb")) == ["a", "a 2", "class 2", "class 3", "a b", "a b 2"]


@pytest.mark.parametrize("channels", [1, 3])
def test_png_files_hold_clipped_pixels_and_the_table_every_label(tmp_path, channels):
    exported = make((6, 8, channels))
    write(exported, "png", tmp_path / "out")
    with (tmp_path / "out" / "labels.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [
        *("_x/000.png", "_x/001.png", "_b_/000.png", "_b_/001.png", "née/000.png", "née/001.png")
    ]
    levels = np.round(np.clip(exported.pixels, 0, 1) * 255).astype(np.uint8)
    for position, row in enumerate(rows):
        picture = np.asarray(Image.open(tmp_path / "out" / row["file"]))
        assert np.array_equal(picture.reshape(levels.shape[1:]), levels[position])
        assert row["class"] == NAMES[position // IPC]
        assert int(row["hard_label"]) == exported.hard_labels[position]
        soft = np.array([row[f"soft_label_{label}"] for label in range(CLASSES)], dtype=np.float32)
        assert_same_bits(soft, exported.soft_labels[position])
    grid = np.asarray(Image.open(tmp_path / "out" / "grid.png")).reshape(18, 16, channels)
    assert np.array_equal(grid[6:12, 8:], levels[3])


def test_every_file_of_a_hostile_export_is_inside_of_it_and_no_two_are_the_same(tmp_path):
    write(make((2, 3, 1), names=HOSTILE), "png", tmp_path / "deep" / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]
    folders = [path for path in (tmp_path / "deep" / "out").iterdir() if path.is_dir()]
    assert len(folders) == len(HOSTILE)
    assert all(len(list(folder.iterdir())) == IPC for folder in folders)
    assert (tmp_path / "deep" / "out" / "README.md").is_file()
    assert (tmp_path / "deep" / "out" / "grid.png").is_file()


def test_folder_names_are_safe_everywhere_and_differ():
    names = folder_names(HOSTILE, taken=("readme.md", "grid.png"))
    assert names[:5] == ["_x", "a_b", "class 2", "_b_", "a_b 2"]
    assert names[5:10] == ["A_B 3", "_nul", "class 7", "README.md 2", "grid.png 2"]
    assert len({name.casefold() for name in names}) == len(names)
    for name in names:
        assert len(name.encode()) < 255
        assert not set(name) & set('/\\<>:"|?*\n\0')
        assert name == name.strip(" .")
        assert name


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_nothing_is_overwritten(tmp_path, kind):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(FrepoError, match="out is there already"):
        write(make(), kind, out)
    assert [path.name for path in out.iterdir()] == ["mine.txt"]
    with pytest.raises(FrepoError, match=r"mine\.txt is there already"):
        write(make(), kind, out / "mine.txt")


def test_an_empty_directory_or_a_link_to_one_is_filled(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    write(make(), "npz", tmp_path / "link")
    assert_same(load(tmp_path / "empty"), make())


def test_nothing_is_left_of_an_export_that_fails(tmp_path, monkeypatch, file_size_limit):
    with file_size_limit(1000), pytest.raises(FrepoError, match="out cannot be written: File too large"):
        write(make(), "npz", tmp_path / "out")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(FrepoError, match="name another directory"):
        write(make(), "npz", tmp_path / "file" / "out")


def test_others_may_read_what_was_written(tmp_path):
    for kind in ALL_KINDS:
        write(make(), kind, tmp_path / kind)
        assert all(path.stat().st_mode & 0o044 == 0o044 for path in (tmp_path / kind).iterdir())


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_the_readme_has_the_numbers(tmp_path, kind):
    exported = make(preprocess=Zca(type="zca"), num_models=7, learning_rate=0.0123, warmup_steps=45, steps=678)
    write(exported, kind, tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    assert "**Expected accuracy: 76.5 ± 1.2%** on the 4321 test images" in text
    assert "# 6 distilled images of any_data" in text
    assert "678 steps; linear from 0 over the first 45, then a cosine to a hundredth" in text
    assert "learning rate 0.0123" in text
    assert "conv, width 8, depth 2, pooling average, normalization none" in text
    assert "some-run-0123abcd" in text
    assert "commit `c0ffee` with uncommitted changes" in text
    assert "licence and the terms of use of `any_data` apply" in text
    assert '["../x", "\\u003cb\\u003e", "n\\u00e9e"]' in text
    assert f"from {exported.images.min():.3g} to 6e+04" in text or kind == "png"
    for value in (*exported.preprocess.mean, *exported.preprocess.deviation):
        assert str(round(float(value), 6)) in text
    assert ("train.py" in text) == (kind == "torch")


@pytest.mark.parametrize("preprocess", PREPROCESSINGS, ids=("standardize", "zca", "blocks"))
def test_the_lines_of_the_readme_preprocess_test_images(tmp_path, preprocess):
    exported = make((6, 8, 3), preprocess)
    write(exported, "npz", tmp_path / "out")
    lines = (tmp_path / "out" / "README.md").read_text().split("```python\n")[2].split("```")[0]
    test = np.random.default_rng(1).integers(0, 256, (5, 6, 8, 3), dtype=np.uint8)
    names = {"np": np, "test_images": test, "n": len(test), **preprocess_arrays(exported.preprocess)}
    exec(lines, names)
    np.testing.assert_allclose(names["x"], exported.preprocess.apply(test), rtol=1e-5, atol=1e-5)


def test_the_readme_tells_of_every_field_of_the_recipe(tmp_path):
    recipe = {"optimizer": "sgd", "weight_decay": 0.1, "decay": "coupled", "mirrored": True, "mix_alpha": 0.3}
    siamese = {"augmentation": OPERATIONS["dsa"], "augmentation_strategy": "dsa", "augmentation_mode": "each"}
    for kind, words in (("mixup", "each image and its label blended"), ("cutmix", "a rectangle pasted")):
        table = DcConv(width=8, depth=2, normalization="instance")
        write(make(architecture=table, mix=kind, **recipe, **siamese), "torch", tmp_path / kind)
        text = " ".join((tmp_path / kind / "README.md").read_text().split())
        assert "network: dcconv, width 8, depth 2" in text
        assert "which the script lacks" not in text
        assert "the 6 of this export and their mirror images" in text
        assert "batches: 12 images, the whole set" in text
        assert "weight decay 0.1 (coupled: added to the gradient)" in text
        assert "one operation drawn for each image" in text
        assert "scale: rows and columns resized by 0.833 to 1.2" in text
        assert f"{kind}, {words}" in text
        assert "drawn from Beta(0.3, 0.3), once for each batch" in text


def test_the_readme_says_what_is_not_known_and_what_differs(tmp_path):
    exported = make(architecture=AlexNet(normalization="instance"), augmentation=(), steps=600)
    exported = replace(exported, provenance={**exported.provenance, "accuracies": [], "code": None})
    spec = exported.provenance["spec"]
    spec["dataset"] |= {"resolution": 32, "classes": [4, 2]}
    write(exported, "torch", tmp_path / "out")
    text = " ".join((tmp_path / "out" / "README.md").read_text().split())
    assert "the expected accuracy is unknown" in text
    assert "The recipe's network is `alexnet`, which the script lacks. It trains a `conv` of width 128, depth 2" in text
    assert "normalization instance in its place" in text
    assert "resized, by area, to 32x32 pixels" in text
    assert "Only classes 4, 2 of the data set" in text
    assert "no augmentation" in text
    assert "WIDTH, DEPTH = 128, 2" in (tmp_path / "out" / "train.py").read_text()


def rewritten(path: Path, **changes: Any) -> None:
    """Write an .npz anew with other arrays."""
    with np.load(path) as data:
        arrays = {name: data[name] for name in data.files}
    arrays = {name: array for name, array in {**arrays, **changes}.items() if array is not None}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    path.write_bytes(buffer.getvalue())


DAMAGES: tuple[tuple[dict[str, Any], str], ...] = (
    ({"images": None}, "is no export of frepo: it has no images"),
    ({"recipe": None}, "it has no recipe"),
    ({"recipe": np.array("{")}, "is damaged"),
    ({"recipe": np.array("[]")}, "recipe or provenance is no table"),
    ({"recipe": np.array([1.0])}, "it has no recipe"),
    ({"format": np.array('"frepo distilled data 99"')}, "is of the format 'frepo distilled data 99'"),
    ({"images": np.zeros((6, 6, 8, 3))}, "images is float64"),
    ({"images": np.zeros((6, 144), np.float32)}, r"images have the shape \(6, 144\)"),
    ({"labels": np.zeros((6, 4), np.float32)}, r"labels has the shape \(6, 4\)"),
    ({"mean": np.zeros(1, np.float32)}, r"mean has the shape \(1,\)"),
    ({"center": None}, "a part of the whitening only"),
    ({"whiten_upper": np.zeros(144, np.float32)}, r"whiten_upper has the shape \(144,\)"),
    ({"whiten": np.zeros((144, 144), np.float32)}, r"whiten has the shape \(144, 144\)"),
    ({"block": np.array("0")}, "block is 0"),
    ({"class_names": np.array("[1, 2, 3]")}, "class_names is no list of names"),
    ({"more": np.zeros(3, np.float32)}, "more has the shape"),
    ({"images": np.array([{}, None], dtype=object)}, "data.npz cannot be read"),
)


@pytest.mark.parametrize(("changes", "message"), DAMAGES, ids=range(len(DAMAGES)))
def test_a_damaged_file_is_an_error_that_names_it(tmp_path, changes, message):
    write(make(preprocess=Zca(type="zca")), "npz", tmp_path / "out")
    rewritten(tmp_path / "out" / "data.npz", **changes)
    with pytest.raises(FrepoError, match=message) as caught:
        load(tmp_path / "out")
    assert str(tmp_path / "out" / "data.npz") in str(caught.value)


@pytest.mark.parametrize("kind", ["npz", "safetensors"])
def test_a_file_cut_short_or_of_another_kind_is_an_error_that_names_it(tmp_path, kind):
    write(make(), kind, tmp_path / "out")
    path = tmp_path / "out" / f"data.{kind}"
    content = path.read_bytes()
    for start in (content[:-100], content[:100], b"", b"PK\x03\x04", b"no such thing", bytes(8) + b"{}"):
        path.write_bytes(start)
        with (
            warnings.catch_warnings(action="ignore", category=ResourceWarning),
            pytest.raises(FrepoError, match=path.name),
        ):
            load(path)
    path.write_bytes(to_safetensors({"images": np.zeros(3, np.float32)}))
    with pytest.raises(FrepoError, match="no export of frepo"):
        load(path)


def test_what_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FrepoError, match="there is no file"):
        load(tmp_path / "nothing")
    with pytest.raises(FrepoError, match="export a run as npz, safetensors or torch"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("module", "large"),
    [
        ("frepo.exchange.export", {"numpy", "jax", "flax", "torch", "tensorflow_datasets", "PIL", "sklearn", "jinja2"}),
        ("frepo.exchange.export.exported", {"jax", "flax", "torch", "tensorflow_datasets", "PIL", "sklearn", "jinja2"}),
        ("frepo.exchange.export.write", {"torch", "tensorflow", "tensorflow_datasets", "PIL"}),
    ],
)
def test_no_part_imports_large_libraries_that_it_does_not_need(module, large):
    code = f"import sys, {module}; print(set({sorted(large)}) & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "set()"


def test_runs_are_found_by_name_newest_first_and_by_id(fake_runs):
    _, old = fake_runs("small")
    _, new = fake_runs("small", seed=1, created=old.created.replace(year=2030))
    fake_runs("other-thing")
    assert find_run(fake_runs.runs_dir, "small")[1] == new
    directory, run = find_run(fake_runs.runs_dir, old.run_id)
    assert run == old
    assert directory == fake_runs.runs_dir / "small"
    with pytest.raises(FrepoError, match=r"there is no run `smal` in .*, did you mean `small`"):
        find_run(fake_runs.runs_dir, "smal")
    with pytest.raises(FrepoError, match="name another directory with --runs-dir"):
        find_run(fake_runs.runs_dir / "nothing", "small")


def test_only_a_finished_stage_of_the_spec_itself_is_exported(fake_runs):
    plan, run = fake_runs("small")
    directory = fake_runs.runs_dir / "small"
    with pytest.raises(FrepoError, match="is not finished"):
        find_stage(directory, run)  # without distilled.npz
    own = next(stage for stage in plan.stages if stage.label == "frepo")
    (directory / own.directory / record.DISTILLED).touch()
    assert find_stage(directory, run).directory == directory / own.directory
    path = directory / own.directory / record.STAGE_FILE
    content = json.loads(path.read_text())
    del content["sha256"]  # as earlier versions wrote records
    unknown = {**content, "identity": {**content["identity"], "dataset": {"name": "digits", "sound": "loud"}}}
    path.write_text(json.dumps(unknown))
    with pytest.raises(FrepoError, match="none of this version of frepo"):
        find_stage(directory, run, "frepo")
    path.unlink()
    with pytest.raises(FrepoError, match=r"no distilled data of its whole data set.*--stage: random"):
        find_stage(directory, run)
    with pytest.raises(FrepoError, match="all real images"):
        find_stage(directory, run.model_copy(update={"spec": {**run.spec, "distill": {"method": "full"}}}))
    with pytest.raises(FrepoError, match="no stage `frepo` that makes images; it has random"):
        find_stage(directory, run, "frepo")


def test_real_images_of_a_baseline_are_exported_by_the_label_of_their_stage(fake_runs, tmp_path):
    directory, run = with_digits(fake_runs, scores=[[0.25, 0.75], [0.1, 0.2]])
    learned, chosen = (find_stage(directory, run, label).directory for label in ("frepo", None))
    assert learned == chosen
    (random,) = directory.glob("random-*")
    (random / record.DISTILLED).write_bytes((learned / record.DISTILLED).read_bytes())
    found = collect(find_stage(directory, run, random.name), tmp_path, tmp_path / "cache")
    assert found.recipe["labels"] == "hard"
    assert found.accuracy is not None
    assert found.accuracy["top1"] == [0.1, 0.2]
    assert found.provenance["spec"]["distill"]["method"] == "random"


def with_digits(fake_runs: Any, fingerprint: str | None = None, **options: Any) -> tuple[Path, record.RunRecord]:
    """Return a run that has distilled digits, of the fingerprint given or of the real ones."""
    from frepo.data.decode import pixel_fingerprint

    digits = read_digits()
    plan, run = fake_runs("small", class_names=digits.class_names, **options)
    directory = fake_runs.runs_dir / "small"
    for stage in plan.stages:
        found = record.read_stage(directory / stage.directory)
        assert found is not None
        facts = {**found.dataset, "fingerprint": fingerprint or pixel_fingerprint(digits)}
        record.write_record(
            directory / stage.directory / record.STAGE_FILE, found.model_copy(update={"dataset": facts})
        )
        if stage.label == "frepo":
            images = np.random.default_rng(0).normal(size=(10, 8, 8, 1)).astype(np.float32)
            labels = np.eye(10, dtype=np.float32) - np.float32(0.1)
            np.savez(directory / stage.directory / record.DISTILLED, images=images, labels=labels[::-1])
    return directory, run


def test_everything_is_collected_from_a_run(fake_runs, tmp_path):
    evaluate = {"type": "evaluate", "normalization": "instance", "num_models": 3, "baselines": ["random"]}
    directory, run = with_digits(fake_runs, application=[evaluate], scores=[[0.25, 0.75], [0.1, 0.2]])
    found = collect(find_stage(directory, run), tmp_path, tmp_path / "cache")
    assert found.images.shape == found.pixels.shape == (10, 8, 8, 1)
    assert np.array_equal(found.hard_labels, np.arange(10)[::-1])
    np.testing.assert_allclose(found.preprocess.apply(found.pixels), found.images, atol=1e-5)
    assert found.class_names == tuple("0123456789")
    assert found.recipe["steps"] == 1000
    assert found.recipe["num_models"] == 3
    assert found.recipe["architecture"]["normalization"] == "instance"
    assert "baselines" not in found.recipe
    Recipe.model_validate({key: value for key, value in found.recipe.items() if key != "architecture"})
    assert found.provenance["run_id"] == run.run_id
    assert found.provenance["code"] == {"sha256": "c" * 64, "commit": "facade", "dirty": True}
    (row,) = found.provenance["accuracies"]
    assert row["top1"] == [0.25, 0.75]
    assert found.accuracy is row
    assert (row["top1_mean"], round(row["top1_std"], 6)) == (0.5, 0.353553)
    json.dumps(found.provenance)


def test_a_run_without_an_evaluation_has_the_default_recipe_and_no_accuracy(fake_runs, tmp_path):
    directory, run = with_digits(fake_runs, application=[])
    found = collect(find_stage(directory, run), tmp_path, tmp_path / "cache")
    assert {key: found.recipe[key] for key in Recipe.model_fields} == {
        **complete(Recipe().model_dump(mode="json")),
        "augmentation": ["color", "crop", "rotate", "translate", "cutout"],  # digits are not flipped
        "steps": 1000,
    }
    assert found.recipe["architecture"]["normalization"] == "identity"
    assert found.accuracy is None


def test_passes_warmup_and_mirror_images_are_resolved_to_steps():
    def steps_of(**fields: Any) -> tuple[int, int]:
        recipe = complete(Recipe(**fields).model_dump(mode="json"))
        found = resolved(Evaluation(recipe, {}), [], 10)
        assert found["epochs"] is None
        Recipe.model_validate({key: found[key] for key in Recipe.model_fields})
        return found["steps"], found["warmup_steps"]

    assert steps_of() == (1000, 500)
    assert steps_of(mirrored=True) == steps_of()
    assert steps_of(epochs=7, batch_size=4) == (18, 3)
    assert steps_of(epochs=7, batch_size=4, mirrored=True, warmup_steps=5) == (35, 5)


def test_a_learning_rate_chosen_by_the_run_is_in_the_recipe(fake_runs, tmp_path):
    spec = {**Evaluate(type="evaluate").model_dump(mode="json"), "learning_rates": [0.1, 0.2]}
    directory, run = with_digits(fake_runs)
    tuned = {**run.spec, "distill": {**run.spec["distill"], "validation_fraction": 0.1}, "application": [spec]}
    for name in run.stages:
        path = directory / name / record.STAGE_FILE
        content = json.loads(path.read_text())
        del content["sha256"]  # as earlier versions wrote records
        identity = content["identity"]
        if identity["kind"] == "distill":
            identity["distill"]["validation_fraction"] = 0.1
        else:
            identity["validation_fraction"] = 0.1
            identity["recipe"]["learning_rates"] = [0.1, 0.2]
            rows = [{**row, "learning_rate": 0.2} for row in record.read_rows(path.parent / record.EVALUATIONS)]
            (path.parent / record.EVALUATIONS).unlink()
            record.append_rows(path.parent / record.EVALUATIONS, rows)
        path.write_text(json.dumps(content))
    found = collect(find_stage(directory, run.model_copy(update={"spec": tuned})), tmp_path, tmp_path / "cache")
    assert (found.recipe["learning_rate"], found.recipe["learning_rates"]) == (0.2, [])


def test_another_data_set_than_the_run_had_is_refused(fake_runs, tmp_path):
    directory, run = with_digits(fake_runs, fingerprint="f" * 64)
    with pytest.raises(FrepoError, match="digits found here is not the one that small-"):
        collect(find_stage(directory, run), tmp_path, tmp_path / "cache")


def test_a_data_set_that_is_not_there_is_an_error_that_says_so(fake_runs, tmp_path):
    plan, run = fake_runs("small")
    directory = fake_runs.runs_dir / "small"
    dataset = {**run.spec["dataset"], "name": "mnist"}
    for stage in plan.stages:
        path = directory / stage.directory / record.STAGE_FILE
        content = json.loads(path.read_text())
        del content["sha256"]  # as earlier versions wrote records
        content["identity"]["dataset"] = dataset
        path.write_text(json.dumps(content))
        (path.parent / record.DISTILLED).touch()
    run = run.model_copy(update={"spec": {**run.spec, "dataset": dataset}})
    with pytest.raises(FrepoError, match=r"takes its data set mnist, for the preprocessing: .*--data-dir"):
        collect(find_stage(directory, run), tmp_path / "nothing", tmp_path / "cache")


@pytest.mark.parametrize("kind", get_args(Format))
def test_a_run_is_exported_by_name_in_every_format(fake_runs, tmp_path, kind):
    directory, run = with_digits(fake_runs)
    options = RuntimeOptions(runs_dir=fake_runs.runs_dir, data_dir=tmp_path)
    out = export_run("small", kind, tmp_path / "out", options)
    assert out == tmp_path / "out"
    assert run.run_id in (out / "README.md").read_text()
    if kind in KINDS:
        assert_same(load(out), collect(find_stage(directory, run), tmp_path, options.cache_dir))
    with pytest.raises(FrepoError, match="is there already"):
        export_run("small", kind, out, options)


@pytest.mark.parametrize("kind", ["webp", "gif"])
@pytest.mark.parametrize("ipc", [1, 2])
def test_an_animation_goes_through_the_sheets_enlarged(fake_runs, tmp_path, kind, ipc):
    plan, run = fake_runs("small", ipc=ipc, class_names=("a", "b", "c"))
    directory = fake_runs.runs_dir / "small"
    own = next(stage for stage in plan.stages if stage.label == "frepo")
    (directory / own.directory / record.DISTILLED).touch()
    write_evolution(find_stage(directory, run), kind, tmp_path / "out")
    with Image.open(tmp_path / "out" / f"evolution.{kind}") as animation:
        assert animation.n_frames == 2
        assert animation.info["loop"] == 0
        assert animation.size == ((3 * 64, 64) if ipc == 1 else (2 * 64, 3 * 64))
        for frame, step in enumerate([0, 1000]):
            animation.seek(frame)
            picture = np.asarray(animation.convert("RGB"))
            for row in range(3):
                for column in range(ipc):
                    top, left = (0, 64 * row) if ipc == 1 else (64 * row, 64 * column)
                    tile = picture[top : top + 64, left : left + 64]
                    assert np.all(tile == (10 * row, 10 * column, step % 256))
    text = (tmp_path / "out" / "README.md").read_text()
    assert "Steps: 0, 1000." in text
    assert run.run_id in text


def test_there_is_no_animation_of_one_sheet_or_of_a_missing_one(fake_runs, tmp_path):
    plan, run = fake_runs("small")
    directory = fake_runs.runs_dir / "small"
    own = next(stage for stage in plan.stages if stage.label == "frepo")
    (directory / own.directory / record.DISTILLED).touch()
    found = find_stage(directory, run)
    sheet = directory / own.directory / found.stage.images[-1].path
    for content in (sheet.read_bytes()[:60], b""):
        sheet.write_bytes(content)
        with pytest.raises(FrepoError, match=r"step-1000\.png cannot be read"):
            write_evolution(found, "gif", tmp_path / "out")
    one = replace(found, stage=found.stage.model_copy(update={"images": found.stage.images[:1]}))
    with pytest.raises(FrepoError, match="has 1 contact sheet: there is no evolution to show"):
        write_evolution(one, "webp", tmp_path / "out")
    assert not (tmp_path / "out").exists()


# The PyTorch script.


def script(tmp_path: Path, exported: Exported) -> ModuleType:
    """Return the script of an export as a module."""
    out = tmp_path / f"out-{len(list(tmp_path.iterdir()))}"
    write(exported, "torch", out)
    spec = importlib.util.spec_from_file_location(out.name, out / "train.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def torch():
    module = pytest.importorskip("torch")
    module.set_num_threads(1)  # several of them wait for each other where cores are shared
    return module


NORMALIZATIONS = ("identity", "batch", "instance", "group", "one_group", "layer")
SHAPES = ((28, 28, 1), (32, 32, 3))


def variables_of(model: Any, shape: tuple[int, ...], seed: int = 0) -> Any:
    """Return weights and running averages, all of them away from what they start as."""
    variables = model.init(jax.random.key(seed), jnp.zeros((1, *shape)), train=False)
    random = np.random.default_rng(seed)

    def moved(path: Any, leaf: jax.Array) -> jax.Array:
        noise = random.uniform(0.05, 0.3, leaf.shape)
        return leaf + noise if "kernel" not in str(path) else leaf

    return jax.tree_util.tree_map_with_path(moved, variables)


def copy_weights(torch: Any, variables: Any, network: Any) -> Any:
    """Give a PyTorch network the weights of a Flax one."""
    params, averages = variables["params"], variables.get("batch_stats", {})
    layers = {"Conv": [], "Norm": []}
    for layer in network.blocks:
        if hasattr(layer, "weight"):
            layers["Conv" if "Conv" in type(layer).__name__ else "Norm"].append(layer)

    def put(tensor: Any, array: Any) -> None:
        value = np.ascontiguousarray(array)
        assert tuple(tensor.shape) == value.shape
        tensor.data.copy_(torch.from_numpy(value.copy()))

    for number, layer in enumerate(layers["Conv"]):
        put(layer.weight, np.transpose(params[f"Conv_{number}"]["kernel"], (3, 2, 0, 1)))
        assert (layer.bias is None) == ("bias" not in params[f"Conv_{number}"])
        if layer.bias is not None:
            put(layer.bias, params[f"Conv_{number}"]["bias"])
    names = sorted(name for name in params if "Norm" in name)
    assert len(names) == len(layers["Norm"])
    for name, layer in zip(names, layers["Norm"], strict=True):
        scale, bias = (np.asarray(params[name][key]) for key in ("scale", "bias"))
        put(layer.weight, scale if scale.ndim == 1 else scale.transpose(2, 0, 1))
        put(layer.bias, bias if bias.ndim == 1 else bias.transpose(2, 0, 1))
        if name in averages:
            put(layer.running_mean, averages[name]["mean"])
            put(layer.running_var, averages[name]["var"])
    put(network.head.weight, np.transpose(params["Dense_0"]["kernel"]))
    put(network.head.bias, params["Dense_0"]["bias"])
    return network


@pytest.mark.parametrize(
    ("normalization", "pooling"),
    [*((name, "average") for name in NORMALIZATIONS), ("identity", "max"), ("layer", "none")],
)
@pytest.mark.parametrize("shape", SHAPES, ids=("mnist", "cifar"))
@pytest.mark.parametrize("kind", [Conv, DcConv], ids=("conv", "dcconv"))
def test_the_network_is_the_one_of_flax(torch, tmp_path, kind, shape, normalization, pooling, long):
    if (kind is Conv) == (shape == SHAPES[1]) and normalization != "identity" and not long:
        pytest.skip("each kind and shape once where tests may not take minutes: set FREPO_TEST_LONG=1")
    table = kind(width=4, depth=3 if pooling != "none" else 2, normalization=normalization, pooling=pooling)
    module = script(tmp_path, make(shape, architecture=table))
    model = build_model(table, CLASSES, shape)
    variables = variables_of(model, shape)
    network = copy_weights(torch, variables, module.ConvNet())
    images = np.random.default_rng(1).normal(size=(5, *shape)).astype(np.float32)
    x = torch.from_numpy(images).permute(0, 3, 1, 2)
    features, logits = model.apply(variables, jnp.asarray(images), train=False)
    network.eval()
    with torch.no_grad():
        np.testing.assert_allclose(network.features(x).numpy(), features, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(network(x).numpy(), logits, rtol=1e-5, atol=1e-5)
    if normalization == "batch":
        (_, logits), moved = model.apply(variables, jnp.asarray(images), train=True, mutable=["batch_stats"])
        np.testing.assert_allclose(network.train()(x).detach().numpy(), logits, rtol=1e-4, atol=1e-4)
        norm = next(layer for layer in network.blocks if hasattr(layer, "running_mean"))
        np.testing.assert_allclose(norm.running_mean, moved["batch_stats"]["BatchNorm_0"]["mean"], rtol=1e-5)
        np.testing.assert_allclose(norm.running_var, moved["batch_stats"]["BatchNorm_0"]["var"], rtol=1e-3)


@pytest.mark.parametrize("kind", [Conv, DcConv], ids=("conv", "dcconv"))
def test_weights_start_as_in_flax(torch, tmp_path, kind):
    table = kind(width=32, depth=3, normalization="batch")
    module = script(tmp_path, make((16, 16, 3), architecture=table))
    torch.manual_seed(0)
    network = module.ConvNet()
    params = build_model(table, CLASSES, (16, 16, 3)).init(jax.random.key(0), jnp.zeros((1, 16, 16, 3)), train=False)
    kernels = [params["params"][name]["kernel"] for name in ("Conv_0", "Conv_1", "Conv_2", "Dense_0")]
    layers = [layer for layer in [*network.blocks, network.head] if type(layer).__name__ in ("Conv2d", "Linear")]
    for kernel, layer in zip(kernels, layers, strict=True):
        flax, ours = np.sort(np.ravel(kernel)), np.sort(layer.weight.detach().numpy().ravel())
        assert flax.shape == ours.shape
        assert np.std(ours) == pytest.approx(np.std(flax), rel=4 / len(flax) ** 0.5)
        assert np.abs(ours).max() == pytest.approx(np.abs(flax).max(), rel=0.05)  # the cut
        quantiles = np.linspace(0.05, 0.95, 7)
        spread = np.quantile(flax, quantiles), np.quantile(ours, quantiles)
        np.testing.assert_allclose(*spread, atol=6 * np.std(flax) / len(flax) ** 0.5)
        assert layer.bias is None or not layer.bias.detach().numpy().any()


@pytest.mark.parametrize("preprocess", PREPROCESSINGS, ids=("standardize", "zca", "blocks"))
def test_test_images_are_preprocessed_as_by_frepo(torch, tmp_path, preprocess):
    exported = make((8, 6, 3), preprocess)
    module = script(tmp_path, exported)
    arrays = {name: torch.from_numpy(array) for name, array in preprocess_arrays(exported.preprocess).items()}
    if "whiten_upper" in arrays:
        arrays["whiten"] = module.symmetric(arrays["whiten_upper"])
    pixels = np.random.default_rng(1).integers(0, 256, (20, 8, 6, 3), dtype=np.uint8)
    found = module.to_inputs(torch.from_numpy(pixels), arrays).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(found, exported.preprocess.apply(pixels), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", list(augment.OPERATIONS["frepo"]))
def test_an_augmentation_does_what_that_of_frepo_does_with_the_same_numbers(
    torch, tmp_path, monkeypatch, name, channels
):
    count = 7
    module = script(tmp_path, make((6, 9, channels), augmentation=[name]))
    images = np.random.default_rng(0).normal(size=(count, 6, 9, channels)).astype(np.float32)
    chances = np.linspace(0.02, 0.98, count).astype(np.float32)

    def chance(shape: tuple[int, ...]) -> np.ndarray:
        return np.broadcast_to(chances.reshape([count if size == count else 1 for size in shape]), shape)

    def jax_uniform(key: Any, shape: Any = (), dtype: Any = float, minval: Any = 0.0, maxval: Any = 1.0) -> jax.Array:
        return minval + jnp.asarray(chance(shape)) * (maxval - minval)

    def torch_uniform(x: Any, low: float, high: float, *shape: int) -> Any:
        return low + torch.from_numpy(chance((len(x), *shape)).copy()) * (high - low)

    monkeypatch.setattr(jax.random, "uniform", jax_uniform)
    monkeypatch.setattr(jax.random, "bernoulli", lambda _, p, shape: jnp.asarray(chance(shape)) < p)
    monkeypatch.setattr(module, "uniform", torch_uniform)
    expected = augment.OPERATIONS["frepo"][name](jax.random.key(0), jnp.asarray(images))
    assert np.abs(expected - images).max() > 0.1
    x = torch.from_numpy(images).permute(0, 3, 1, 2)
    np.testing.assert_allclose(getattr(module, name)(x).permute(0, 2, 3, 1).numpy(), expected, atol=2e-5)


@pytest.mark.parametrize("shape", [(6, 9, 3), (8, 8, 1)], ids=("oblong", "square"))
@pytest.mark.parametrize("name", list(augment.OPERATIONS["dsa"]))
def test_siamese_augmentation_does_what_that_of_frepo_does_with_the_same_numbers(
    torch, tmp_path, monkeypatch, name, shape
):
    count = 9
    module = script(tmp_path, make(shape, augmentation=[name], augmentation_strategy="dsa"))
    random = np.random.default_rng(0)
    images = random.normal(size=(count, *shape)).astype(np.float32)
    numbers = np.stack([random.permutation(np.linspace(0.02, 0.98, count)) for _ in range(3)], 1).astype(np.float32)
    left = [0, 1, 2]

    def torch_uniform(x: Any, low: float, high: float, *shape: int) -> Any:
        taken = [left.pop(0) for _ in range(int(np.prod(shape)))]
        if name in ("crop", "scale"):  # the script has columns before rows
            taken.reverse()
        return low + torch.from_numpy(numbers[:, taken].reshape(count, *shape).copy()) * (high - low)

    monkeypatch.setattr(jax.random, "uniform", lambda _, shape: jnp.asarray(numbers).reshape(shape))
    monkeypatch.setattr(module, "uniform", torch_uniform)
    expected = augment.OPERATIONS["dsa"][name](jax.random.key(0), jnp.asarray(images))
    assert np.abs(expected - images).max() > 0.1
    x = torch.from_numpy(images).permute(0, 3, 1, 2)
    np.testing.assert_allclose(getattr(module, name)(x).permute(0, 2, 3, 1).numpy(), expected, atol=2e-5)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.75])
@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_a_mixture_is_that_of_frepo_with_the_same_numbers(torch, tmp_path, monkeypatch, kind, share):
    module = script(tmp_path, make((6, 9, 3), mix=kind, mix_alpha=0.4))
    random = np.random.default_rng(0)
    images, targets = (random.normal(size=size).astype(np.float32) for size in ((5, 6, 9, 3), (5, CLASSES)))
    order, place = np.array([3, 0, 4, 1, 2]), np.array([0.3, 0.6], np.float32)
    asked: list[tuple[float, float]] = []

    def beta(one: float, other: float) -> Any:
        asked.append((one, other))
        return SimpleNamespace(sample=lambda: torch.tensor(share))

    places = iter(torch.from_numpy(place))
    monkeypatch.setattr(jax.random, "beta", lambda *_: jnp.float32(share))
    monkeypatch.setattr(jax.random, "permutation", lambda *_: jnp.asarray(order))
    monkeypatch.setattr(jax.random, "uniform", lambda *_: jnp.asarray(place))
    monkeypatch.setattr(torch.distributions, "Beta", beta)
    monkeypatch.setattr(torch, "randperm", lambda *_, **__: torch.from_numpy(order))
    monkeypatch.setattr(torch, "rand", lambda *_: next(places))
    expected = mix(kind, 0.4, jax.random.key(0), jnp.asarray(images), jnp.asarray(targets))
    x, wanted = module.mix(torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(targets))
    assert np.abs(expected[0] - images).max() > 0.1
    np.testing.assert_allclose(x.permute(0, 2, 3, 1).numpy(), expected[0], atol=1e-6)
    np.testing.assert_allclose(wanted.numpy(), expected[1], atol=1e-6)
    assert asked == [(0.4, 0.4)]


def test_an_operation_is_drawn_for_each_image(torch, tmp_path, monkeypatch):
    module = script(tmp_path, make(augmentation=["flip", "cutout"], augmentation_mode="each"))
    monkeypatch.setattr(module, "OPERATIONS", [lambda x, n=n: x + n for n in (1, 2)])
    torch.manual_seed(0)
    added = module.augment(torch.zeros(300, 3, 2, 2)).flatten(1)
    assert (added == added[:, :1]).all()
    assert sorted(set(added[:, 0].tolist())) == [1, 2]
    assert float(added.mean()) == pytest.approx(1.5, abs=0.1)


def test_numbers_are_drawn_for_each_image_and_one_operation_or_all(torch, tmp_path, monkeypatch):
    module = script(tmp_path, make(augmentation=["flip", "cutout"]))
    torch.manual_seed(0)
    drawn = module.uniform(torch.zeros(5000, 1), -2.0, 6.0, 2)
    assert tuple(drawn.shape) == (5000, 2)
    assert (round(float(drawn.min()), 1), round(float(drawn.max()), 1)) == (-2.0, 6.0)
    assert float(drawn.mean()) == pytest.approx(2.0, abs=0.15)
    x = torch.zeros(3)
    for mode, expected in (("one", {(1,), (2,)}), ("all", {(1, 2)})):
        module = script(tmp_path, make(augmentation=["flip", "cutout"], augmentation_mode=mode))
        assert [module.flip, module.cutout] == module.OPERATIONS
        calls: list[int] = []
        monkeypatch.setattr(module, "OPERATIONS", [lambda x, n=n, calls=calls: calls.append(n) or x for n in (1, 2)])
        seen: set[tuple[int, ...]] = set()
        for _ in range(40):
            calls.clear()
            module.augment(x)
            seen.add(tuple(calls))
        assert seen == expected
    assert script(tmp_path, make(augmentation=[])).augment(x) is x


@pytest.mark.parametrize("schedule", ["cosine", "step", "constant"])
@pytest.mark.parametrize(("steps", "warmup"), [(100, 30), (100, 0), (101, 70), (5, 4)])
def test_the_learning_rate_is_that_of_optax(torch, tmp_path, schedule, steps, warmup):
    recipe = {"schedule": schedule, "steps": steps, "warmup_steps": warmup, "learning_rate": 0.02}
    module = script(tmp_path, make(**recipe))
    expected = [recipes._schedule(Recipe(**recipe), steps)(step) for step in range(steps)]
    np.testing.assert_allclose([module.learning_rate(step) for step in range(steps)], expected, rtol=1e-5, atol=1e-8)


RECIPES: tuple[dict[str, Any], ...] = (
    {},
    {"weight_decay": 0.1},
    {"labels": "hard"},
    {"labels": "hard", "loss": "xent"},
    {"loss": "soft_xent", "temperature": 0.3},
    {"loss": "soft_xent", "optimizer": "sgd", "momentum": 0.5},
    {"optimizer": "sgd", "weight_decay": 0.2},
    {"optimizer": "sgd", "weight_decay": 0.2, "decay": "coupled"},
    {"optimizer": "adam", "weight_decay": 0.1, "decay": "coupled"},
    {"mirrored": True, "labels": "hard"},
    {"optimizer": "lamb"},
    {"optimizer": "lamb", "weight_decay": 0.2, "schedule": "step"},
)


@pytest.mark.parametrize("settings", RECIPES, ids=lambda settings: "-".join(map(str, settings.values())) or "default")
def test_training_takes_the_steps_that_frepo_takes(torch, tmp_path, monkeypatch, settings):
    recipe = {"steps": 12, "warmup_steps": 4, "learning_rate": 0.01, "augmentation": [], **settings}
    table = Conv(width=8, depth=2, normalization="identity")
    exported = make((8, 8, 3), architecture=table, **recipe)
    exported = replace(exported, images=np.clip(exported.images, -3, 3))
    module = script(tmp_path, exported)
    frepo_recipe = Recipe(**recipe)
    model = build_model(table, CLASSES, (8, 8, 3))
    trainer = Trainer(model, recipes.optimizer(frepo_recipe, 12), (8, 8, 3), recipes.loss(frepo_recipe))
    variables = variables_of(model, (8, 8, 3))
    ready = copy_weights(torch, variables, module.ConvNet())
    monkeypatch.setattr(module, "ConvNet", lambda: ready)
    data = {"images": exported.images, "labels": exported.soft_labels, "hard_labels": exported.hard_labels}
    trained = module.train({name: torch.from_numpy(array) for name, array in data.items()})

    network = Network(variables["params"], {}, trainer.optimizer.init(variables["params"]))
    targets = recipes.targets(frepo_recipe, jnp.asarray(exported.soft_labels))
    step = jax.jit(trainer.step)
    images = jnp.asarray(exported.images)
    if frepo_recipe.mirrored:
        images, targets = jnp.concatenate([images, images[:, :, ::-1]]), jnp.concatenate([targets, targets])
    for _ in range(12):
        network, _ = step(network, images, targets)
    x = torch.from_numpy(exported.images).permute(0, 3, 1, 2)
    before = model.apply(variables, jnp.asarray(exported.images), train=False)[1]
    _, after = trainer.apply(network, jnp.asarray(exported.images))
    assert np.abs(after - before).max() > 0.02
    np.testing.assert_allclose(trained(x).detach().numpy(), after, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_mixtures_are_trained_on_with_their_targets(torch, tmp_path, monkeypatch, kind):
    recipe = {"mix": kind, "augmentation": [], "mirrored": True, "steps": 3, "warmup_steps": 1, "batch_size": 8}
    exported = make(**recipe)
    module = script(tmp_path, exported)
    seen: list[tuple[Any, Any]] = []
    own_mix, own_loss = module.mix, module.loss_of
    monkeypatch.setattr(module, "mix", lambda x, targets: seen.append(own_mix(x, targets)) or seen[-1])

    def loss_of(logits: Any, targets: Any) -> Any:
        assert targets is seen[-1][1]
        return own_loss(logits, targets)

    monkeypatch.setattr(module, "loss_of", loss_of)
    arrays = {"images": np.clip(exported.images, -3, 3), "labels": exported.soft_labels}
    module.train({name: torch.from_numpy(array) for name, array in arrays.items()})
    assert [len(x) for x, _ in seen] == [8, 8, 8]


def test_batches_go_through_all_images_as_often(torch, tmp_path, monkeypatch):
    module = script(tmp_path, make(batch_size=4, steps=9, warmup_steps=1, augmentation=[]))
    exported = make()
    images = np.broadcast_to(np.arange(6, dtype=np.float32)[:, None, None, None], exported.images.shape)
    seen: list[int] = []
    monkeypatch.setattr(module, "augment", lambda x: seen.extend(map(int, x[:, 0, 0, 0])) or x)
    module.train({"images": torch.from_numpy(images.copy()), "labels": torch.from_numpy(exported.soft_labels)})
    assert len(seen) == 36
    assert all(sorted(seen[start : start + 6]) == list(range(6)) for start in range(0, 36, 6))


MORE: tuple[dict[str, Any], ...] = (
    {"augmentation": []},
    {"augmentation_mode": "all"},
    {"augmentation": ["flip"], "schedule": "constant"},
    {"augmentation": ["crop"], "augmentation_strategy": "dsa", "schedule": "constant", "mix": "mixup"},
    {"augmentation": OPERATIONS["dsa"], "augmentation_strategy": "dsa", "augmentation_mode": "each", "mix": "cutmix"},
    {"augmentation": [], "schedule": "constant", "mix": "cutmix", "mirrored": True},
)


@pytest.mark.parametrize(("number", "settings"), list(enumerate(RECIPES)), ids=range(len(RECIPES)))
def test_a_script_has_what_it_uses_and_nothing_of_frepo(tmp_path, number, settings):
    normalization = NORMALIZATIONS[number % len(NORMALIZATIONS)]
    table = (Conv, DcConv)[number % 2](width=8, depth=2, normalization=normalization)
    for more in MORE:
        block = Zca(type="zca", block=2) if normalization == "batch" else None
        write(make(preprocess=block, architecture=table, **{**more, **settings}), "torch", tmp_path / "out")
        text = (tmp_path / "out" / "train.py").read_text()
        assert [line for line in text.splitlines() if len(line) > 120] == []
        assert "\n\n\n\n" not in text
        tree = ast.parse(text)
        imported = [
            (name.asname or name.name).split(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in node.names
        ]
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert set(imported) <= used
        assert "frepo" not in imported
        defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        constants = {
            name.id
            for node in tree.body
            if isinstance(node, ast.Assign)
            for name in ast.walk(node.targets[0])
            if isinstance(name, ast.Name)
        }
        assert (defined | constants) <= used
        for path in sorted((tmp_path / "out").iterdir()):
            path.unlink()


def test_a_recipe_that_is_none_gets_into_no_program(tmp_path):
    exported = make()
    exported.recipe["steps"] = "1\nimport os"
    with pytest.raises(ValueError, match="steps"):
        write(exported, "torch", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert frepo.__version__
