"""Prepared TFDS data sets through the whole command line."""

import hashlib
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from toys import Toys

from frepo.data.prepare import prepare

pytestmark = pytest.mark.usefixtures("commands_compile_quickly")

SHORT = (
    "distill.steps=4",
    "distill.batch_size=64",
    "architecture.width=4",
    "pool.size=2",
    "application.0.steps=4",
    "application.0.warmup_steps=1",
    "application.0.num_models=2",
    "application.0.augmentation=[]",
    "application.0.accuracy_points=1",
)


def test_a_short_run_ends_in_a_table_and_a_second_start_does_not_decode_again(workplace, prepared_data):
    spec = workplace.spec("cifar10", dataset='name = "cifar10"\npreprocess = { type = "zca", reg = 0.1, block = 8 }')
    command = ["run", spec, "--data-dir", prepared_data]
    for setting in SHORT:
        command += ["--set", setting]
    out, err = workplace.frepo(*command, warnings="error")
    assert "decoding cifar10" in err
    assert out.count("top-1") == 2
    with np.load(workplace.stage("cifar10", "random") / "distilled.npz") as arrays:
        assert arrays["images"].shape == (10, 32, 32, 3)
    _, err = workplace.frepo(*command, "--set", "seed=1", "--set", "application=[]")
    assert "decoding" not in err
    assert "fitting" not in err
    (dataset,) = {tuple(row["class_names"]) for row in workplace.rows("SELECT class_names FROM stages")}
    builder = tfds.builder_from_directory(next((prepared_data / "cifar10").glob("*.*.*")))
    assert list(dataset) == builder.info.features["label"].names


def test_real_images_are_the_same_from_tfds_and_from_the_publishers_archive(tmp_path, prepared_data):
    splits = {}
    builder = tfds.builder_from_directory(next((prepared_data / "cifar10").glob("*.*.*")))
    for split in ("train", "test"):
        source = builder.as_data_source(split=split)
        rows = [(example["image"].transpose(2, 0, 1).tobytes(), int(example["label"])) for example in source]
        splits[split] = sorted(rows, key=lambda row: (hashlib.sha256(_upright(row[0]).tobytes()).digest(), row[1]))
        folder = tmp_path / "cifar-10-batches-bin"
        folder.mkdir(exist_ok=True)
        names = [f"data_batch_{number}.bin" for number in range(1, 6)] if split == "train" else ["test_batch.bin"]
        for number, name in enumerate(names):
            part = rows[number :: len(names)]
            (folder / name).write_bytes(b"".join(bytes([label]) + pixels for pixels, label in part))
    directory = prepare("cifar10", folder, tmp_path / "data")
    for split, rows in splits.items():
        images, labels = np.load(directory / f"{split}_images.npy"), np.load(directory / f"{split}_labels.npy")
        assert labels.tolist() == [label for _, label in rows]
        assert all(np.array_equal(image, _upright(pixels)) for image, (pixels, _) in zip(images, rows, strict=True))


def _upright(pixels):
    return np.ascontiguousarray(np.frombuffer(pixels, np.uint8).reshape(3, 32, 32).transpose(1, 2, 0))


def assert_are_real_images(chosen, classes, directory):
    """Each chosen input, with the published standardisation undone, is a training image of its class."""
    assert chosen.shape == (10, 28, 28, 1)
    pixels = np.round((chosen * 0.3081 + 0.1307) * 255).astype(np.uint8)
    wanted = {(image.tobytes(), int(label)) for image, label in zip(pixels, classes, strict=True)}
    for example in tfds.builder_from_directory(directory).as_data_source(split="train"):
        wanted.discard((example["image"].tobytes(), int(example["label"])))
    assert not wanted


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_the_exported_script_comes_within_two_points_of_frepo_in_pytorch(workplace, prepared_data, name, long):
    pytest.importorskip("torch")
    if not long:
        pytest.skip("takes minutes: set FREPO_TEST_LONG=1")
    preprocess = "\npreprocess = { type = 'zca', reg = 0.1 }" if name == "cifar10" else ""
    spec = workplace.spec(
        name,
        dataset=f'name = "{name}"{preprocess}',
        architecture="width = 8",
        distill='method = "frepo"\nipc = 10\nsteps = 40\nbatch_size = 256\nlearning_rate = 0.01',
        application='type = "evaluate"\nnum_models = 5\nsteps = 150\nwarmup_steps = 15\nlearning_rate = 0.003\n'
        'batch_size = 100\naccuracy_points = 1\naugmentation = ["color", "crop"]',
    )
    data = ("--data-dir", prepared_data)
    (run,) = json.loads(workplace.frepo("run", spec, *data, "--json", warnings="error")[0])
    workplace.frepo("export", name, "--format", "torch", "--out", "pytorch", *data)
    out = workplace.path / "pytorch"
    source = tfds.builder_from_directory(next((prepared_data / name).glob("*.*.*"))).as_data_source(split="test")
    images, labels = zip(*((example["image"], example["label"]) for example in source), strict=True)
    np.savez(out / "test.npz", images=np.stack(images), labels=np.array(labels))
    command = [sys.executable, "-W", "error", "-I", out / "train.py", "--test-data", out / "test.npz"]
    single = {**os.environ, "OMP_NUM_THREADS": "1"}  # several threads wait for each other where cores are shared
    done = subprocess.run(command, env=single, capture_output=True, text=True, timeout=600, check=True)
    (row,) = run["accuracies"]
    assert row["top1_mean"] > (0.8 if name == "mnist" else 0.25)
    assert float(done.stdout.splitlines()[-1].split()[1]) == pytest.approx(100 * row["top1_mean"], abs=2.0)


def test_a_damaged_record_file_is_an_error_that_names_it(workplace, prepared_data, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(prepared_data / "mnist", data / "mnist")
    (path,) = data.glob("mnist/*/mnist-train.array_record*")
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 200_000] = bytes(200_000)
    path.write_bytes(content)
    spec = workplace.spec("mnist", dataset='name = "mnist"')
    _, err = workplace.frepo("run", spec, "--data-dir", data, code=1)
    assert "of train, cannot be read" in err
    assert not (workplace.path / "runs" / "mnist").exists()
    assert not list((workplace.path / "runs" / ".cache" / "decoded").glob("*"))


def test_chosen_images_are_real_ones(workplace, prepared_data):
    spec = workplace.spec(
        "mnist", dataset='name = "mnist"', distill='method = "random"\nipc = 1', pool=None, application=None
    )
    workplace.frepo("run", spec, "--data-dir", prepared_data, warnings="error")
    with np.load(workplace.stage("mnist", "random") / "distilled.npz") as arrays:
        assert_are_real_images(arrays["images"], arrays["classes"], next((prepared_data / "mnist").glob("*.*.*")))


@pytest.fixture
def toys(tmp_path):
    """Return where a small data set is that TFDS has prepared, and a spec's table that names it."""
    Toys({"train": [0, 1, 2, 0, 1], "test": [2, 1]}, np.uint8, tmp_path / "data").download_and_prepare()
    return tmp_path / "data", 'name = "toys:1.0.0"'


def test_a_damaged_cache_entry_is_computed_again(workplace, toys):
    data, table = toys
    spec = workplace.spec(dataset=table, distill='method = "random"\nipc = 1', pool=None, application=None)
    workplace.frepo("run", spec, "--data-dir", data, warnings="error")
    result = workplace.stage("tiny", "random") / "distilled.npz"
    before = result.read_bytes()
    (path,) = (workplace.path / "runs" / ".cache" / "decoded").glob("*/train_images.npy")
    content = bytearray(path.read_bytes())
    content[-1] ^= 255
    path.write_bytes(content)
    _, err = workplace.frepo("run", spec, "--data-dir", data, "--fresh")
    assert "damaged" in err
    assert "decoding toys:1.0.0" in err
    assert result.read_bytes() == before


def test_data_that_changed_since_is_not_mixed_with_results_of_before(workplace, toys):
    data, table = toys
    spec = workplace.spec(dataset=table, distill='method = "random"\nipc = 1', pool=None)
    workplace.frepo("run", spec, "--data-dir", data, *("--set", "application=[]"))
    (directory,) = (data / "toys").glob("*.*.*")
    (directory / "label.labels.txt").write_text("\n".join(["nought", "one", "two"]))
    _, err = workplace.frepo("run", spec, "--data-dir", data, code=1)
    assert "was computed from other images" in err
    assert "--fresh" in err
