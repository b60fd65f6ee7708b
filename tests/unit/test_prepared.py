"""Data sets from their publishers' archives, and where prepared data sets are looked for."""

import json
import re
import zipfile

import numpy as np
import pytest
from PIL import Image

from frepo.data.catalog import catalog
from frepo.data.fetch.publishers import ARCHIVES
from frepo.data.prepare import prepare
from frepo.data.sources.places import INDEX, not_there, own_directory, prepared_in, versions
from frepo.data.sources.prepared import own_source, prepare_own
from frepo.errors import FrepoError

WNIDS = ("n01", "n02")


def image(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((2, 2, 3), value, np.uint8)).save(path, format="JPEG")


@pytest.fixture
def tiny(tmp_path):
    """Tiny ImageNet's own layout, with two classes."""
    root = tmp_path / "tiny-imagenet-200"
    lines = []
    for label, wnid in enumerate(WNIDS):
        for number in range(2):
            image(root / "train" / wnid / "images" / f"{wnid}_{number}.JPEG", label)
            image(root / "val" / "images" / f"val_{2 * number + label}.JPEG", label)
            lines.append(f"val_{2 * number + label}.JPEG\t{wnid}\t0\t0\t1\t1\n")
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    (root / "words.txt").write_text("n01\tgoldfish\nn02\tbullfrog\n")
    return root


def prepared(origin, data_dir, name="tiny_imagenet"):
    """Return the index that is written when `origin` is prepared, and the pixel that tells the class of each image."""
    directory = prepare_own(name, origin, data_dir)
    index = json.loads((directory / INDEX).read_text())
    files = [*index["train"], *index["test"]]
    assert [int(np.asarray(Image.open(directory / file))[0, 0, 0]) for file, _ in files] == [
        label for _, label in files
    ]
    return index


def test_an_archive_made_on_a_mac_is_prepared_like_any_other(tiny, tmp_path):
    archive = tmp_path / "mac.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for path in sorted(path for path in tiny.rglob("*") if path.is_file()):
            inside = path.relative_to(tiny.parent)
            opened.write(path, inside)
            opened.writestr(f"__MACOSX/{inside.parent}/._{inside.name}", b"\0\5\x16\7")
            opened.writestr(f"__MACOSX/{inside}", b"\0\5\x16\7")
    index = prepared(archive, tmp_path / "mac")
    assert index == prepared(tiny, tmp_path / "own")
    assert index["class_names"] == ["goldfish", "bullfrog"]
    assert len(index["train"]) == len(index["test"]) == 4


@pytest.mark.parametrize("inner", ["", "images"])
@pytest.mark.parametrize("left", [True, False], ids=["an empty images/ is left", "images/ is gone"])
def test_a_val_that_is_sorted_into_classes_gives_the_same_data_set(tiny, tmp_path, inner, left):
    expected = prepared(tiny, tmp_path / "own")
    for line in (tiny / "val" / "val_annotations.txt").read_text().splitlines():
        name, wnid = line.split("\t")[:2]
        (tiny / "val" / wnid / inner).mkdir(parents=True, exist_ok=True)
        (tiny / "val" / "images" / name).rename(tiny / "val" / wnid / inner / name)
    if not left:
        (tiny / "val" / "images").rmdir()
        (tiny / "val" / "val_annotations.txt").unlink()
    assert prepared(tiny, tmp_path / "sorted") == expected


def test_a_part_of_a_published_data_set_is_said_to_be_one(tiny, tmp_path, capsys):
    prepare_own("tiny_imagenet", tiny, tmp_path / "data")
    said = capsys.readouterr().err
    assert "warning: tiny_imagenet has 100,000 images for training, but 4 are here" in said
    assert "warning: tiny_imagenet has 10,000 images for testing, but 4 are here" in said


def test_what_would_be_lost_or_is_damaged_is_refused(tiny, tmp_path):
    image(tiny / "train" / "n01" / "n01_0.JPEG")
    with pytest.raises(FrepoError, match=r"n01_0\.JPEG of the class n01 occurs twice"):
        prepare_own("tiny_imagenet", tiny, tmp_path / "data")
    (tiny / "train" / "n01" / "n01_0.JPEG").unlink()
    (tiny / "train" / "n01" / "gone.JPEG").symlink_to("nowhere")
    with pytest.raises(FrepoError, match=r"a link that leads nowhere: .*gone\.JPEG"):
        prepare_own("tiny_imagenet", tiny, tmp_path / "data")
    (tiny / "train" / "n01" / "gone.JPEG").unlink()
    for number in range(2):
        path = tiny / "train" / "n01" / "images" / f"n01_{number}.JPEG"
        path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(FrepoError, match="2 images cannot be used"):
        prepare_own("tiny_imagenet", tiny, tmp_path / "data")
    assert not own_directory("tiny_imagenet", tmp_path / "data").exists()


def test_an_encrypted_archive_is_an_error(tiny, tmp_path):
    archive = tmp_path / "secret.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.write(tiny / "words.txt", "words.txt")
    content = bytearray(archive.read_bytes())
    content[6] |= 1  # the flag of encryption, in the file's own header and in the directory
    content[content.index(b"PK\1\2") + 8] |= 1
    archive.write_bytes(content)
    with pytest.raises(FrepoError, match=r"secret\.zip cannot be unpacked \(.*encrypted"):
        prepare_own("tiny_imagenet", archive, tmp_path / "data")


@pytest.fixture
def data_dir(tmp_path):
    """A data directory with two versions of cifar10, configurations of another set, and Imagenette."""
    place = tmp_path / "home" / "tensorflow_datasets"
    for path in ("cifar10/9.0.2", "cifar10/10.0.0", "cifar10/10.0.1.incompleteAB", "imagenet_resized/8x8/0.1.0"):
        (place / path).mkdir(parents=True)
        (place / path / "dataset_info.json").write_text(json.dumps({"name": path.partition("/")[0]}))
    own_directory("imagenette", place).mkdir(parents=True)
    (own_directory("imagenette", place) / INDEX).write_text("{}")
    return place


def test_the_newest_version_is_the_one_of_the_highest_numbers(data_dir):
    assert [path.name for path in versions(data_dir / "cifar10")] == ["9.0.2", "10.0.0"]
    rows = {row[0]: row[-1] for row in catalog(data_dir)}
    assert rows["cifar10"] == str(data_dir / "cifar10" / "10.0.0")
    assert rows["mnist"] == ""


def test_a_data_set_that_comes_as_an_archive_is_not_read_from_what_tfds_has_prepared(tmp_path):
    version = tmp_path / "imagenette" / "1.0.0"
    version.mkdir(parents=True)
    (version / "dataset_info.json").write_text(json.dumps({"name": "imagenette"}))
    rows = {row[0]: row[-1] for row in catalog(tmp_path)}
    assert rows["imagenette"] == ""
    assert prepared_in("imagenette", tmp_path) is None


def test_of_an_archive_that_is_not_fetched_the_address_is_named(tmp_path):
    said = f"get {ARCHIVES['imagewoof']}, then: frepo data prepare imagewoof --from ARCHIVE"
    with pytest.raises(FrepoError, match=re.escape(said)):
        prepare("imagewoof", None, tmp_path / "data")


@pytest.mark.parametrize(
    ("name", "below", "expected"),
    [
        ("cifar10:1.2.3", ".", "There is version 9.0.2, 10.0.0 of it."),
        ("cifar10/10.0.0", ".", "A version comes after a colon: 'cifar10:10.0.0'."),
        ("imagenet_resized", ".", "There is imagenet_resized/8x8."),
        ("cifar-10", ".", "Did you mean 'cifar10'?"),
        ("CIFAR10", ".", "Did you mean 'cifar10'?"),
        ("cifar10", "cifar10", "It is in {place}: --data-dir {place}."),
        ("cifar10", "cifar10/10.0.0", "It is in {place}: --data-dir {place}."),
        ("cifar10", "..", "It is in {place}: --data-dir {place}."),
        ("imagenette", "imagenette/frepo", "It is in {place}: --data-dir {place}."),
    ],
)
def test_a_data_set_that_is_not_there_points_to_what_is(data_dir, name, below, expected):
    place = data_dir.parent if below == ".." else data_dir / below
    message = not_there(name, place)
    assert message == f"data set '{name}' is not prepared in {place}. {expected.format(place=data_dir)}"


def test_one_that_is_like_nothing_there_is_not_guessed_at(data_dir):
    assert not_there("zebras", data_dir) == f"data set 'zebras' is not prepared in {data_dir}."


def test_an_archive_that_was_prepared_elsewhere_is_pointed_to(data_dir):
    with pytest.raises(FrepoError, match=r"It is in .*tensorflow_datasets\. Get https://"):
        own_source("imagenette", data_dir.parent)


@pytest.mark.parametrize("below", ["cifar10", "cifar10/10.0.0", ".."])
def test_a_list_of_nothing_points_to_the_directory_that_is_meant(data_dir, below, capsys):
    catalog(data_dir.parent if below == ".." else data_dir / below)
    assert capsys.readouterr().err.endswith(f"cifar10, imagenette in {data_dir}: --data-dir {data_dir}\n")
    catalog(data_dir)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cifar-10", r"'cifar-10' is not allowed, did you mean `cifar10`\?"),
        ("Tiny-ImageNet", r"did you mean `tiny_imagenet`\?"),
        ("food_101", r"did you mean `food101`\?"),
        ("zebras", r"'zebras' is no known data set; known are"),
        ("cifar10/3.0.2", r"A version comes after a colon: 'cifar10:3\.0\.2'"),
    ],
)
def test_preparing_a_data_set_of_a_wrong_name_names_the_right_one(tmp_path, name, expected):
    with pytest.raises(FrepoError, match=expected):
        prepare(name, None, tmp_path / "data")
    assert not (tmp_path / "data").exists()
