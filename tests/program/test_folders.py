"""One's own images, and archives of Tiny ImageNet, Imagenette and Imagewoof, through the whole command line."""

import json
import os
import shutil
import signal
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.usefixtures("commands_compile_quickly")

SELECT = 'method = "random"\nipc = 2'
FOLDER = 'name = "image_folder"\npath = "photos"\n'


def picture(label, number, shape=(8, 8, 3)):
    """Noise about a colour that tells the class."""
    random = np.random.default_rng([label, number])
    return np.clip(random.normal(60 + 60 * label, 25, shape), 0, 255).astype(np.uint8)


def write_class(folder, label, count, shape=(8, 8, 3), suffix="png"):
    folder.mkdir(parents=True)
    for number in range(count):
        pixels = picture(label, number, shape)
        Image.fromarray(pixels[..., 0] if shape[2] == 1 else pixels).save(folder / f"{number:03}.{suffix}", quality=95)


@pytest.fixture
def photos(workplace):
    """Three classes in train/ and test/, named so that they have to be escaped in HTML."""
    folder = workplace.path / "photos"
    for label, name in enumerate(("a <b>cat", "dog", "fish & chips")):
        write_class(folder / "train" / name, label, 20)
        write_class(folder / "test" / name, label, 5)
    return folder


def run(workplace, dataset, code=0, **tables):
    tables = {"distill": SELECT, "pool": None, "application": None, **tables}
    return workplace.frepo("run", workplace.spec(dataset=dataset, **tables), code=code)


def dataset_facts(workplace):
    (path,) = (workplace.path / "runs" / "tiny").glob("*/stage.json")
    return json.loads(path.read_text())["dataset"]


def test_a_folder_of_images_ends_in_a_table_and_a_grid(workplace, photos):
    application = (
        'type = "evaluate"\nnum_models = 2\nsteps = 150\nwarmup_steps = 10\nlearning_rate = 0.003\naugmentation = []'
    )
    out, _ = workplace.frepo(
        "run",
        workplace.spec(dataset=FOLDER, application=application, distill='method = "frepo"\nipc = 1\nsteps = 20'),
        warnings="error",
    )
    assert "image_folder" in out
    assert float(out.split("top-1 ")[1].split(" ")[0]) > 80  # colours tell the classes
    workplace.frepo("report")
    page = (workplace.path / "reports" / "report.html").read_text()
    assert "<b>cat" not in page
    assert "fish & chips" not in page


def test_selected_images_are_those_of_the_files(workplace, photos):
    run(workplace, FOLDER)
    facts = dataset_facts(workplace)
    assert facts["class_names"] == ["a <b>cat", "dog", "fish & chips"]
    assert (facts["num_train"], facts["num_test"], facts["image_shape"]) == (60, 15, [8, 8, 3])
    with np.load(workplace.stage("tiny", "random") / "distilled.npz") as arrays:
        images, classes = arrays["images"], arrays["classes"]
    every = np.stack([[picture(label, number) for number in range(20)] for label in range(3)]) / 255
    mean, deviation = every.mean(axis=(0, 1, 2, 3)), every.std(axis=(0, 1, 2, 3))
    for image, label in zip(images * deviation + mean, classes, strict=True):
        assert np.abs(every[label] - image).max(axis=(1, 2, 3)).min() < 1e-4


def test_a_folder_without_a_test_set_is_split(workplace):
    for label, name in enumerate(("x", "y")):
        write_class(workplace.path / "photos" / name, label, 10)
    _, err = run(workplace, FOLDER, code=1)
    assert "set dataset.test_fraction = 0.2" in err
    run(workplace, FOLDER + "test_fraction = 0.3")
    facts = dataset_facts(workplace)
    assert (facts["num_train"], facts["num_test"], facts["smallest_class"]) == (14, 6, 7)


def test_large_images_of_any_size_are_brought_to_one_resolution(workplace):
    for split in ("train", "val"):
        write_class(workplace.path / "photos" / split / "x", 0, 4, (20, 30, 3), "jpg")
        write_class(workplace.path / "photos" / split / "y", 1, 4, (17, 16, 3), "webp")
    _, err = run(workplace, FOLDER, code=1)
    assert "images of different sizes: 20x30x3 and 17x16x3" in err
    assert "y/000.webp" in err
    assert "set dataset.resolution" in err
    run(workplace, FOLDER + "resolution = 16")
    assert dataset_facts(workplace)["image_shape"] == [16, 16, 3]


@pytest.mark.parametrize(("gray_only", "channels"), [(True, 1), (False, 3)])
def test_grey_images_have_one_channel_unless_some_are_coloured(workplace, photos, gray_only, channels):
    if gray_only:
        shutil.rmtree(photos)
        for split in ("train", "test"):
            for label in range(2):
                write_class(photos / split / str(label), label, 3, (8, 8, 1))
    else:
        Image.fromarray(picture(1, 3, (8, 8, 1))[..., 0]).save(photos / "train" / "dog" / "gray.png")
    run(workplace, FOLDER)
    assert dataset_facts(workplace)["image_shape"] == [8, 8, channels]


def truncated_jpeg(photos):
    path = photos / "train" / "dog" / "cut.jpg"
    Image.fromarray(picture(1, 0)).save(path)
    path.write_bytes(path.read_bytes()[:-200])
    return "cut.jpg cannot be read as an image"


def text_among_images(photos):
    for name in ("dog", "fish & chips"):
        (photos / "train" / name / "notes.txt").write_text("good dog")
    return "photos/train/dog/notes.txt, photos/train/fish & chips/notes.txt"


def unlabelled_test_set(photos):
    (photos / "test").rename(photos / "images")
    (photos / "test").mkdir()
    (photos / "images").rename(photos / "test" / "images")
    return "photos/test has a class that has no training images: photos/test/images"


def class_that_is_not_utf8(photos):
    (photos / "train" / "dog").rename(photos / "train" / os.fsdecode(b"caf\xe9"))
    return "a name that is not UTF-8: photos/train/caf\\udce9"


DAMAGES = [truncated_jpeg, text_among_images, unlabelled_test_set, class_that_is_not_utf8]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_what_is_wrong_with_a_folder_is_named_and_nothing_is_written(workplace, photos, damage):
    expected = damage(photos)
    _, err = run(workplace, FOLDER, code=1)
    assert expected in err
    assert not (workplace.path / "runs" / "tiny").exists()
    assert not list((workplace.path / "runs" / ".cache").glob("decoded/*"))


def test_a_resolution_above_that_of_an_image_names_it(workplace, photos):
    _, err = run(workplace, FOLDER + "resolution = 9", code=1)
    assert "000.png has 8x8 pixels, less than dataset.resolution = 9" in err


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ('name = "image_folder"', "needs path"),
        ('name = "digits"\npath = "photos"', "image_folder"),
        ('name = "digits"\ntest_fraction = 0.2', "image_folder"),
        ('name = "digits"\nclasses = [3]', "at least 2"),
        ('name = "digits"\nclasses = [3, 3]', "names an entry twice"),
        ('name = "digits"\ntrain_fraction = 1.0', "less than 1"),
    ],
)
def test_fields_that_contradict_are_refused_with_line_and_exit_code_2(workplace, dataset, expected):
    _, err = run(workplace, dataset, code=2)
    assert "tiny.toml:" in err
    assert expected in err


def test_classes_are_chosen_and_numbered_anew(workplace):
    run(workplace, 'name = "digits"\nclasses = [7, 3, 5]')
    facts = dataset_facts(workplace)
    assert facts["class_names"] == ["7", "3", "5"]
    with np.load(workplace.stage("tiny", "random") / "distilled.npz") as arrays:
        assert arrays["labels"].shape == (6, 3)
    _, err = run(workplace, 'name = "digits"\nclasses = [3, 10]', code=1)
    assert "dataset.classes names 10, but the classes of digits are 0 to 9" in err


def test_a_fraction_of_the_training_images_leaves_the_test_images_alone(workplace):
    run(workplace, 'name = "digits"\ntrain_fraction = 0.1')
    facts = dataset_facts(workplace)
    assert facts["num_test"] == 360
    assert 140 <= facts["num_train"] <= 147


def test_a_block_that_does_not_divide_the_images_is_refused(workplace):
    _, err = run(workplace, 'name = "digits"\npreprocess = { type = "zca", block = 3 }', code=1)
    assert "dataset.preprocess.block = 3 does not divide images of 8x8 pixels" in err


def test_the_best_of_held_out_images_is_the_result_and_survives_a_kill(workplace):
    distill = 'method = "frepo"\nipc = 1\nsteps = 60\nbatch_size = 64\nlearning_rate = 0.05\nvalidation_fraction = 0.2'
    spec = workplace.spec(distill=distill, application=None)
    workplace.frepo("run", spec, "--runs-dir", "straight", "--db", "straight.duckdb")
    sql = "SELECT step + 1 AS step, value FROM metrics WHERE name = 'validation_accuracy' ORDER BY step"
    rows = workplace.rows(sql, "--db", "straight.duckdb")
    assert [row["step"] for row in rows] == list(range(3, 61, 3))
    best = max(rows, key=lambda row: row["value"])["step"]
    (straight,) = (workplace.path / "straight" / "tiny").glob("frepo-*")
    assert (straight / "images" / f"step-{best:08}.png").exists()

    process = workplace.start("run", spec, "--checkpoint-every", "7")
    run_directory = workplace.path / "runs" / "tiny"
    workplace.wait_until(lambda: list(run_directory.glob("frepo-*/state/*21.state")), process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    workplace.frepo("run", spec)
    resumed = workplace.stage("tiny", "frepo")
    for name in ("distilled.npz", "metrics.jsonl"):
        assert (resumed / name).read_bytes() == (straight / name).read_bytes()
    sheets = [json.loads((directory / "stage.json").read_text())["images"] for directory in (straight, resumed)]
    assert sheets[0] == sheets[1]
    assert [sheet["step"] for sheet in sheets[0]] == [s for s in (0, 1, 2, 4, 8, 15, 30) if s < best] + [best]


def test_more_images_than_held_out_ones_leave_is_refused(workplace):
    _, err = run(workplace, 'name = "digits"', code=1, distill='method = "frepo"\nipc = 130\nvalidation_fraction = 0.2')
    assert "more than the smallest class of digits has" in err


@pytest.fixture
def tiny_imagenet():
    source = Path(os.environ.get("FREPO_TEST_DATA", "/nonexistent")) / "tiny-imagenet-200"
    if not source.is_dir():
        pytest.skip("set FREPO_TEST_DATA to a folder with tiny-imagenet-200, a part of Tiny ImageNet in its own layout")
    return source


@pytest.mark.parametrize("as_archive", [False, True])
def test_tiny_imagenet_is_prepared_from_its_own_layout_and_runs(workplace, tiny_imagenet, as_archive):
    origin = tiny_imagenet
    if as_archive:
        origin = workplace.path / "tiny-imagenet-200.zip"
        with zipfile.ZipFile(origin, "w") as archive:
            for path in sorted(tiny_imagenet.rglob("*")):
                archive.write(path, Path("tiny-imagenet-200") / path.relative_to(tiny_imagenet))
    spec = workplace.spec(
        dataset='name = "tiny_imagenet"\nresolution = 16\npreprocess = { type = "zca" }',
        distill='method = "frepo"\nipc = 1\nsteps = 4\nflip = true',
        architecture="width = 4\ndepth = 3",
        pool="size = 2",
    )
    data = ("--data-dir", workplace.path / "data")
    _, err = workplace.frepo("run", spec, "--offline", *data, code=1)
    assert "frepo data prepare tiny_imagenet --from ARCHIVE" in err
    workplace.frepo("data", "prepare", "tiny_imagenet", "--from", origin, *data)
    assert "tiny_imagenet/frepo" in workplace.frepo("data", "list", *data)[0]
    if as_archive:
        _, err = workplace.frepo("data", "prepare", "tiny_imagenet", "--from", origin, *data, code=1)
        assert "is prepared already" in err
        return
    out, _ = workplace.frepo("run", spec, *data, warnings="error")
    assert out.count("top-1") == 2
    (record,) = (workplace.path / "runs" / "tiny").glob("frepo-*/stage.json")
    facts = json.loads(record.read_text())["dataset"]
    assert (facts["num_train"], facts["num_test"], len(facts["class_names"])) == (2000, 500, 20)
    words = dict(line.split("\t") for line in (tiny_imagenet / "words.txt").read_text().splitlines())
    assert facts["class_names"] == [words[wnid] for wnid in sorted(words)]


WNIDS = {"imagenette": ("n01440764", "n03888257"), "imagewoof": ("n02086240", "n02115641")}


def write_archive(workplace, name):
    """Write an archive in the layout of fast.ai's: NAME2-160/train/WNID/*.JPEG and val/WNID/*.JPEG."""
    root = workplace.path / f"{name}2-160"
    for split, count in (("train", 6), ("val", 3)):
        for label, wnid in enumerate(WNIDS[name]):
            write_class(root / split / wnid, label, count, (40 + 8 * label, 50, 3), "JPEG")
    (root / f"noisy_{name}.csv").write_text("path,noisy_labels_0\n")
    path = workplace.path / f"{name}2-160.tgz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(root, arcname=root.name)
    return path


@pytest.mark.parametrize("name", WNIDS)
def test_imagenette_and_imagewoof_are_prepared_from_their_archives(workplace, name):
    archive = write_archive(workplace, name)
    data = ("--data-dir", workplace.path / "data")
    workplace.frepo("data", "prepare", name, "--from", archive, *data, warnings="error")
    spec = workplace.spec(
        dataset=f'name = "{name}"\nresolution = 32\npreprocess = {{ type = "zca", block = 16 }}',
        distill=SELECT,
        pool=None,
        application=None,
    )
    workplace.frepo("run", spec, *data)
    facts = dataset_facts(workplace)
    assert facts["class_names"] == (["tench", "parachute"] if name == "imagenette" else ["Shih-Tzu", "dingo"])
    assert (facts["num_train"], facts["num_test"], facts["image_shape"]) == (12, 6, [32, 32, 3])


def test_an_archive_with_a_damaged_image_leaves_nothing(workplace):
    archive = write_archive(workplace, "imagenette")
    root = workplace.path / "imagenette2-160"
    (broken,) = root.glob("train/n03888257/003.JPEG")
    broken.write_bytes(broken.read_bytes()[:400])
    data = ("--data-dir", workplace.path / "data")
    _, err = workplace.frepo("data", "prepare", "imagenette", "--from", root, *data, code=1)
    assert "003.JPEG cannot be read as an image" in err
    archive.write_bytes(archive.read_bytes()[:-3000])
    _, err = workplace.frepo("data", "prepare", "imagenette", "--from", archive, *data, code=1)
    assert "cannot be unpacked" in err
    assert list((workplace.path / "data" / "imagenette").iterdir()) == []
    assert "imagenette/frepo" not in workplace.frepo("data", "list", *data)[0]


def test_a_full_disk_while_preparing_or_decoding_leaves_nothing_half_done(workplace, small_disk):
    archive = write_archive(workplace, "imagenette")
    disk = small_disk("24k")
    data = ("--data-dir", disk.path / "data")
    _, err = workplace.frepo("data", "prepare", "imagenette", "--from", archive, *data, code=1)
    assert "No space left" in err
    assert "the attempt left nothing" in err
    assert not list(disk.path.rglob("*.JPEG"))
    disk.resize("1m")
    workplace.frepo("data", "prepare", "imagenette", "--from", archive, *data)

    used = sum(path.stat().st_size for path in disk.path.rglob("*") if path.is_file())
    disk.resize(f"{used // 1024 + 100}k")  # decoded, the images take more than is left
    spec = workplace.spec(dataset='name = "imagenette"\nresolution = 40', distill=SELECT, pool=None, application=None)
    run = ("run", spec, *data, "--runs-dir", disk.path / "runs", "--db", workplace.path / "results.duckdb")
    _, err = workplace.frepo(*run, code=1)
    assert "No space left" in err
    assert not list(disk.path.rglob("*.npy"))
    disk.resize("10m")
    workplace.frepo(*run)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_an_interrupted_preparation_is_not_taken_for_a_whole_one(workplace, number):
    write_archive(workplace, "imagewoof")
    root = workplace.path / "imagewoof2-160"
    for copy in range(300):  # enough to be in the middle of
        shutil.copy(root / "train" / "n02086240" / "000.JPEG", root / "train" / "n02086240" / f"copy-{copy}.JPEG")
    data = ("--data-dir", workplace.path / "data")
    process = workplace.start("data", "prepare", "imagewoof", "--from", root, *data)
    while not list((workplace.path / "data").rglob("*.JPEG")):
        assert process.poll() is None
        time.sleep(0.002)
    os.kill(process.pid, number)
    _, err = process.communicate()
    assert process.returncode == (75 if number == signal.SIGTERM else -signal.SIGKILL), err
    assert not (workplace.path / "data" / "imagewoof" / "frepo").exists()
    workplace.frepo("data", "prepare", "imagewoof", "--from", root, *data)
    index = json.loads((workplace.path / "data" / "imagewoof" / "frepo" / "index.json").read_text())
    assert len(index["train"]) == 312


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("digits",), "needs no preparation"),
        (("imagewoof",), "--from ARCHIVE"),
        (("imagenette", "--from", "nowhere.tgz"), "there is no such file"),
        (
            ("stl10", "--from", "tiny.toml"),
            "--from is for mnist, fashion_mnist, cifar10, cifar100, svhn_cropped, tiny_",
        ),
        (("cifar10", "--from", "tiny.toml"), "tiny.toml does not hold cifar10 as cifar-10-python.tar.gz"),
        (("imagenette", "--from", "tiny.toml"), "cannot be unpacked"),
        (("imagenette", "--from", "."), "no folders train/ and val/"),
    ],
)
def test_what_cannot_be_prepared_is_explained(workplace, arguments, expected):
    workplace.spec()
    _, err = workplace.frepo("data", "prepare", *arguments, "--data-dir", "data", code=1)
    assert expected in err
