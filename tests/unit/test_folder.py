"""Folders of images: which files are used, passed over or refused, and what is said of that."""

import os
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from frepo.data.cache import cached
from frepo.data.decode import decode
from frepo.data.sources import folder as folders
from frepo.data.sources.folder import folder_source
from frepo.errors import FrepoError

PIXELS = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)


def image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(PIXELS).save(path)
    return path


@pytest.fixture
def photos(tmp_path):
    """Two classes with two images each for training and one for testing, in `photos/`."""
    root = tmp_path / "photos"
    for name in ("cat", "dog"):
        for file in ("train/{}/0.png", "train/{}/1.png", "test/{}/0.png"):
            image(root / file.format(name))
    return root


def read(root, capsys):
    """Return the counts of images for training and testing, the names of classes, and what was said."""
    source = folder_source(root)
    train, test = source.open()
    return train.count, test and test.count, source.class_names, capsys.readouterr().err


def complaint(root):
    with pytest.raises(FrepoError) as caught:
        folder_source(root).open()
    return str(caught.value)


def decoded(root, tmp_path, resolution=None):
    return cached(tmp_path / "entry", lambda entry: {"digest": decode(folder_source(root), resolution, None, entry)})


@pytest.mark.parametrize(("train", "test"), [("Training", "Testing"), ("TRAIN", "Valid"), ("train", "eval")])
def test_the_usual_names_of_splits_are_known_in_any_case(photos, capsys, train, test):
    (photos / "train").rename(photos / "elsewhere")
    (photos / "elsewhere").rename(photos / train)
    (photos / "test").rename(photos / "elsewhere")
    (photos / "elsewhere").rename(photos / test)
    assert read(photos, capsys) == (4, 2, ("cat", "dog"), "")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("train", "trains", "photos has test/ but no train/"),
        ("test", "test_set", "photos has test_set/, which look like splits"),
        ("test", "Train", "photos has Train/ and train/; keep one"),
    ],
)
def test_a_folder_that_may_be_a_split_is_named(photos, old, new, expected):
    (photos / old).rename(photos / new)
    assert expected in complaint(photos)


def test_two_folders_that_look_like_splits_are_not_taken_for_classes(photos):
    (photos / "train").rename(photos / "seg_train")
    (photos / "test").rename(photos / "seg_test")
    assert "seg_test/ and seg_train/" in complaint(photos) or "seg_train/ and seg_test/" in complaint(photos)


def test_classes_with_splits_in_them_are_refused(tmp_path):
    for file in ("cat/train/0.png", "cat/test/0.png", "dog/train/0.png", "dog/val/0.png"):
        image(tmp_path / file)
    message = complaint(tmp_path)
    assert "a class with splits in it" in message
    assert message.endswith(f"{tmp_path / 'cat'}, {tmp_path / 'dog'}")


def test_the_folder_meant_is_named_where_the_path_is_one_too_high(photos):
    assert f"dataset.path = '{photos}' meant?" in complaint(photos.parent)


def test_what_is_no_folder_or_has_too_few_classes_is_refused(photos, tmp_path):
    assert complaint(tmp_path / "nowhere") == f"dataset.path: {tmp_path / 'nowhere'} is not a folder"
    for file in (photos / "train" / "dog").iterdir():
        file.rename(photos / "train" / f"dog-{file.name}")
    (photos / "train" / "dog").rmdir()
    assert "at least two classes; it has cat, and 2 images outside such folders" in complaint(photos)


def flat(folder):
    for file in sorted(folder.glob("*/*.png")):
        file.rename(folder / f"{file.parent.name}-{file.name}")
    for name in ("cat", "dog"):
        (folder / name).rmdir()


def emptied(folder):
    for file in folder.glob("*/*.png"):
        file.unlink()


def other_classes(folder):
    (folder / "cat").rename(folder / "images")
    (folder / "dog").rename(folder / "more")


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (flat, "test has an image outside the folders of classes: "),
        (emptied, "test has a class that has no images: "),
        (other_classes, "test has a class that has no training images: "),
        (lambda folder: [emptied(folder), flat(folder)], "test has no images"),
    ],
    ids=["flat", "empty classes", "other classes", "empty"],
)
def test_a_test_set_without_labels_is_refused_unless_a_good_one_stands_beside_it(photos, capsys, spoil, expected):
    spoil(photos / "test")
    message = complaint(photos)
    assert "no labelled test images" in message
    assert expected in message
    assert "test_fraction" in message
    image(photos / "val" / "dog" / "9.png")
    train, test, _, said = read(photos, capsys)
    assert (train, test) == (4, 1)
    assert f"{photos / 'val'} is used for testing: {photos / 'test'} has no labelled images" in said


def test_a_test_set_that_is_damaged_is_not_replaced_by_another(photos):
    emptied(photos / "test")
    (photos / "test" / "dog" / "0.png").symlink_to("nowhere.png")
    image(photos / "val" / "dog" / "9.png")
    assert "a link that leads nowhere" in complaint(photos)


def test_what_is_passed_over_is_said_and_the_rest_is_used(photos, capsys):
    image(photos / "train" / "cat" / "more" / "deep.PNG")
    for hidden in (".ipynb_checkpoints/0.png", "._0.png", "__MACOSX/._0.png", "more/.git/x.png"):
        image(photos / "train" / "cat" / hidden)
    (photos / "train" / "cat" / "Thumbs.db").touch()
    for beside in ("classes.csv", "train/README.md"):
        (photos / beside).touch()
    image(photos / "raw" / "0.png")
    image(photos / "val" / "cat" / "0.png")
    train, test, names, said = read(photos, capsys)
    assert (train, test, names) == (5, 2, ("cat", "dog"))
    assert f"{photos / 'val'} is not used: {photos / 'test'} is\n" in said
    assert (
        f"not used: {photos / 'raw'}, {photos / 'classes.csv'}, {photos / 'train' / 'README.md'} and 5 more\n" in said
    )


def test_links_count_as_what_they_lead_to(photos, tmp_path, capsys):
    image(tmp_path / "store" / "a.png")
    image(tmp_path / "store" / "inner" / "b.png")
    (photos / "train" / "cow").mkdir()
    (photos / "train" / "cow" / "linked").symlink_to(tmp_path / "store")
    (photos / "train" / "cow" / "c.png").symlink_to(tmp_path / "store" / "a.png")
    (photos / "train" / "hen").symlink_to(tmp_path / "store" / "inner")
    assert read(photos, capsys) == (8, 2, ("cat", "cow", "dog", "hen"), "")


def test_all_that_cannot_be_used_is_counted_at_once_and_the_first_are_shown(photos):
    for number in range(5):
        (photos / "train" / "cat" / f"{number}.txt").touch()
        (photos / "train" / "dog" / f"gone{number}.png").symlink_to("nowhere.png")
    image(photos / "train" / "loose.png")
    (photos / "train" / "empty").mkdir()
    (photos / "train" / "cat" / "round").symlink_to(photos)
    os.mkfifo(photos / "train" / "cat" / "pipe.png")
    image(photos / "test" / "cow" / "0.png")
    lines = complaint(photos).splitlines()[1:]
    assert [re.sub(r"/\S*/", "", line) for line in lines] == [
        "  an image outside the folders of classes: loose.png",
        "  neither a file nor a folder: pipe.png",
        "  a link to a folder that it lies in: round",
        f"  not an image ({', '.join(folders.SUFFIXES)}): 0.txt, 1.txt, 2.txt and 2 more",
        "  a link that leads nowhere: gone0.png, gone1.png, gone2.png and 2 more",
        "  a class that has no images: empty",
        "  a class that has no training images: cow",
    ]


def test_a_class_whose_name_is_not_utf8_is_refused(photos):
    os.rename(photos / "train" / "cat", os.fsencode(photos / "train") + b"/caf\xe9")  # noqa: PTH104 (bytes)
    message = complaint(photos)
    assert "a name that is not UTF-8" in message
    assert "caf\\udce9" in message.encode("ascii", "backslashreplace").decode()


def test_a_dangling_folder_of_a_class_or_of_a_split_is_refused(photos):
    (photos / "train" / "cow").symlink_to("nowhere")
    assert "a link that leads nowhere" in complaint(photos)
    (photos / "train" / "cow").unlink()
    (photos / "val").symlink_to("nowhere")
    assert "a link that leads nowhere" in complaint(photos)


def test_files_that_are_no_images_are_counted(photos):
    for number in range(5):
        (photos / "train" / "cat" / f"{number}.png").write_text("no")
    message = complaint(photos)
    assert message.startswith("5 images cannot be used:")
    assert message.count("cannot be read as an image") == 3
    assert message.endswith("and 2 more")


def test_damaged_and_small_images_are_counted(photos, tmp_path):
    with pytest.raises(FrepoError, match="4 images cannot be used") as caught:
        decoded(photos, tmp_path, resolution=3)
    assert "cat/0.png has 2x2 pixels, less than dataset.resolution = 3" in str(caught.value)
    for name in ("cat", "dog"):
        path = photos / "train" / name / "0.png"
        path.write_bytes(path.read_bytes()[:-25])
    with pytest.raises(FrepoError, match="2 images cannot be used") as caught:
        decoded(photos, tmp_path)
    assert "dog/0.png cannot be read as an image" in str(caught.value)


def test_a_jfif_file_is_a_jpeg(photos, capsys):
    Image.fromarray(PIXELS).save(photos / "train" / "cat" / "2.jfif", format="JPEG")
    assert read(photos, capsys)[0] == 5


def test_pillow_does_not_warn_while_images_are_decoded(photos, tmp_path, capsys):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 1, "a maker whose name is cut off"
    Image.fromarray(PIXELS).save(photos / "train" / "cat" / "2.jpg", exif=exif.tobytes()[:-10])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        arrays, _ = decoded(photos, tmp_path)
    assert len(arrays["train_images"]) == 5
    with pytest.warns(UserWarning, match="Truncated File Read"):  # the file is one that Pillow warns of
        folders.read_pixels(Path(photos / "train" / "cat" / "2.jpg"), 3)
