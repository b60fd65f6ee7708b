"""Every spec of the repository runs, on generated images in the real data sets' layouts, features and names.

Where tests may not take minutes, one of each data set does: the others differ from it in numbers, or in their method,
which the tests of methods run.
"""

import io
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from frepo.data.sources.known import KNOWN
from frepo.data.sources.prepared import WORDS
from frepo.spec import load_spec, load_specs

pytestmark = pytest.mark.usefixtures("commands_compile_quickly")

FILES = sorted((Path(__file__).parents[2] / "specs").rglob("*.toml"))
SWEEPS = [path for path in FILES if load_specs(path)[0].sweep]
SPECS = [path for path in FILES if path not in SWEEPS]
SHORT = (
    "architecture.width=4",
    "distill.steps=2",
    "distill.batch_size=32",
    "distill.reg=0.1",  # narrow networks have fewer features than the support has images
    "pool.size=2",
    "application.0.steps=3",
    "application.0.warmup_steps=1",
    "application.0.num_models=1",
    "application.0.batch_size=32",
    "application.0.augmentation=[]",
    "application.0.baselines=[]",
)


OF_ONE_METHOD = (
    *("distill.inner_steps=2", "distill.hessian_steps=2", "distill.max_pool_updates=1"),
    *("distill.total=3", "distill.window=2"),
)


def read_by(path, settings):
    """Return those of `settings` that the method of a spec reads, with further ones that only one does."""
    distill = load_spec(path).spec.distill
    settings = [*settings, *OF_ONE_METHOD]
    fields = [entry.partition("=")[0] for entry in settings if entry.startswith("distill.")]
    unread = [name for name in fields if not hasattr(distill, name.partition(".")[2])]
    unread += [] if "pool" in distill.reads else ["pool"]
    return [entry for entry in settings if not entry.startswith(tuple(unread))]


def noise(label, number, shape):
    random = np.random.default_rng([label, number])
    return random.integers(0, 256, shape, dtype=np.uint8)


def encoded(pixels, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(buffer, kind)
    buffer.seek(0)
    return buffer


def value_of(feature, label, number):
    """Return something for a feature of a TFDS data set; images without a fixed size differ in it."""
    if isinstance(feature, tfds.features.Image):
        height, width, channels = feature.shape
        return encoded(noise(label, number, (height or 40 + number, width or 50, channels)))
    if isinstance(feature, tfds.features.ClassLabel):
        return label % feature.num_classes
    if isinstance(feature, tfds.features.BBoxFeature):
        return tfds.features.BBox(0.0, 0.0, 1.0, 1.0)
    return "text"


def prepare_tfds(name, data_dir, per_class):
    """Prepare a TFDS data set of generated images, `per_class` for training and one for testing, without TensorFlow."""
    builder = tfds.builder(name, data_dir=data_dir, file_format="array_record")
    features = builder.info.features

    def examples(count):
        for number in range(count):
            for label in range(features["label"].num_classes):
                yield f"{number}-{label}", {key: value_of(f, label, number) for key, f in features.items()}

    test = "validation" if name.startswith("imagenet") else "test"
    builder._split_generators = lambda *_, **__: {"train": examples(per_class), test: examples(1)}
    builder.download_and_prepare()
    return Path(builder.data_path)


def write_archive(name, folder, per_class):
    """Write an archive with two classes and the layout of the publisher's; return its path."""
    if name == "tiny_imagenet":
        wnids = ("n01443537", "n02124075")
        path = folder / "tiny-imagenet-200.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("tiny-imagenet-200/words.txt", "".join(f"{wnid}\tname of {wnid}\n" for wnid in wnids))
            rows = []
            for label, wnid in enumerate(wnids):
                for number in range(per_class):
                    content = encoded(noise(label, number, (64, 64, 3)), "JPEG").read()
                    archive.writestr(f"tiny-imagenet-200/train/{wnid}/images/{wnid}_{number}.JPEG", content)
                archive.writestr(f"tiny-imagenet-200/val/images/val_{label}.JPEG", content)
                rows.append(f"val_{label}.JPEG\t{wnid}\t0\t0\t63\t63\n")
            archive.writestr("tiny-imagenet-200/val/val_annotations.txt", "".join(rows))
        return path
    path = folder / f"{name}2-160.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for label, wnid in enumerate(list(WORDS[name])[:2]):
            for split, count in (("train", per_class), ("val", 1)):
                for number in range(count):
                    content = encoded(noise(label, number, (130 + label, 160, 3)), "JPEG")
                    entry = tarfile.TarInfo(f"{name}2-160/{split}/{wnid}/{number}.JPEG")
                    entry.size = len(content.getbuffer())
                    archive.addfile(entry, content)
    return path


def applications_of(path):
    return tuple(application.type for application in load_spec(path).spec.application)


def by_data_set():
    groups = {}
    for path in SPECS:
        if applications_of(path) == ("evaluate",):
            groups.setdefault(load_spec(path).spec.dataset.name, []).append(path)
    return groups


PARTS = {
    "continual": (
        "application.0.seeds=[0]",
        "application.0.num_steps=2",
        "application.0.class_orders=[[3, 1, 2, 0]]",
        "application.0.steps=3",
        "application.0.warmup_steps=1",
    ),
    "membership": (
        "application.0.chunk_size=200",
        "application.0.chunk_indices=[0]",
        "application.0.train_steps=[3]",
        "application.0.shadow_models=2",
        'application.0.attacks=["threshold", "lira"]',
        "application.0.warmup_steps=0",
    ),
}


@pytest.mark.parametrize("kind", PARTS)
def test_the_specs_of_many_parts_run_cut_to_a_few(workplace, kind, long):
    paths = [path for path in SPECS if load_spec(path).spec.application[0].type == kind]
    assert paths
    if not long:
        paths = [path for path in paths if "cpu" in str(path)]
    for name in sorted({load_spec(path).spec.dataset.name for path in paths}):
        prepare_tfds(name, workplace.path / "data", 60 if kind == "membership" else 2)
    common = [entry for entry in SHORT if "baselines" not in entry and "application.0.steps" not in entry]
    settings = [*common, *PARTS[kind], "distill.ipc=1"]
    if kind == "continual":
        settings.append("application.0.baselines=[]")
    for path in paths:
        own = [entry for entry in settings if "class_orders" not in entry or "paper" in str(path)]
        own += ["application.0.num_classes=10"] if "cpu" in str(path) and kind == "continual" else []
        overrides = [word for setting in own for word in ("--set", setting)]
        out, _ = workplace.frepo("run", path, *overrides, "--data-dir", workplace.path / "data", warnings="error")
        assert load_spec(path).spec.name in out
        assert "average accuracy" in out or "AUC" in out


TOO_LONG = "takes minutes: set FREPO_TEST_LONG=1"
MINUTES = ("caltech_birds2011", "cifar100", "imagenet_resized/64x64", "imagenette", "imagewoof", "tiny_imagenet")
"""Data sets whose specs take minutes even so: they run where tests may take that long."""


@pytest.mark.parametrize(("name", "paths"), by_data_set().items(), ids=by_data_set())
def test_the_specs_of_a_data_set_run_with_steps_cut_to_a_handful(workplace, name, paths, long):
    if name in MINUTES and not long:
        pytest.skip(TOO_LONG)
    largest = max(load_spec(path).spec.distill.ipc for path in paths)
    data = ("--data-dir", workplace.path / "data")
    if KNOWN[name].comes_from in ("TFDS", "publisher"):
        prepare_tfds(name, workplace.path / "data", largest)
    elif KNOWN[name].comes_from == "archive":
        archive = write_archive(name, workplace.path, largest)
        workplace.frepo("data", "prepare", name, "--from", archive, *data)
    assert KNOWN[name].comes_from == "built in" or f"{name} " in workplace.frepo("data", "list", *data)[0]
    settings = list(SHORT)
    if KNOWN[name].pixels not in ("8x8x1", "28x28x1", "32x32x3") and "cub200" not in paths[0].stem:
        settings.append("dataset.preprocess.block=16")  # whole images of 64 pixels take minutes to whiten
    distill_of = {path: load_spec(path).spec.distill for path in paths}
    methods = sorted({distill.method for distill in distill_of.values()}, key=lambda name: (name != "frepo", name))
    for method in methods if long else methods[:1]:
        alike = [path for path, distill in distill_of.items() if distill.method == method]
        alike = alike if long else [min(alike, key=lambda path: distill_of[path].ipc)]
        cut = tuple(read_by(alike[0], settings))
        overrides = [word for setting in cut for word in ("--set", setting)]
        out, _ = workplace.frepo("run", *alike, *overrides, *data, warnings="error")
        # Cut like this some are one experiment, which has one line.
        different = {load_spec(path, cut).spec.model_copy(update={"name": "any"}).model_dump_json() for path in alike}
        assert out.count("top-1") == len(different), method
        for path in alike:
            assert load_spec(path).spec.name in out


def test_a_spec_of_two_applications_runs_cut_to_a_handful_of_steps(workplace, long):
    if not long:
        pytest.skip(TOO_LONG)
    (path,) = (path for path in SPECS if applications_of(path) == ("evaluate", "cross_architecture"))
    prepare_tfds("cifar10", workplace.path / "data", 2)
    other = '[{ type = "conv", width = 8, normalization = "identity" }]'
    settings = [
        *SHORT,
        *(entry.replace("application.0", "application.1") for entry in SHORT if entry.startswith("application.0")),
        f"application.1.architectures={other}",
    ]
    overrides = [word for setting in settings for word in ("--set", setting)]
    out, _ = workplace.frepo("run", path, *overrides, "--data-dir", workplace.path / "data", warnings="error")
    assert out.count("top-1") == 2


def test_no_kind_of_spec_is_left_out():
    kinds = {applications_of(path) for path in SPECS}
    assert kinds == {("evaluate",), ("evaluate", "cross_architecture"), *((kind,) for kind in PARTS)}


SWEPT = {
    "cpu/sweep_digits": (
        ["pool.size", "distill.reg"],
        "*-ipc1-seed0",
        ['sweep.case=[{label = "dm", "distill.method" = "dm"}, {label = "frepo", "distill.method" = "frepo"}]'],
    ),
    "paper/cross_architecture": (
        [],
        "*-identity-seed0",
        ['application.0.architectures=[{ type = "conv", width = 4, normalization = "identity" }]'],
    ),
}
"""Fields of SHORT that some method does not read, experiments to run, and what shortens these. The other sweeps differ
in numbers only from specs that run above."""


@pytest.mark.parametrize("name", SWEPT)
def test_some_experiments_of_a_sweep_run_cut_to_a_handful_of_steps(workplace, name, long):
    if name.startswith("paper") and not long:
        pytest.skip(TOO_LONG)
    unset, only, settings = SWEPT[name]
    (path,) = (path for path in SWEEPS if path.match(f"{name}.toml"))
    data = workplace.path / "data"
    if load_specs(path, settings)[0].spec.dataset.name == "cifar10":
        prepare_tfds("cifar10", data, 10)
    settings = [*(entry for entry in SHORT if not entry.startswith(tuple(unset))), *settings]
    overrides = [word for setting in settings for word in ("--set", setting)]
    out, _ = workplace.frepo("run", path, "--only", only, *overrides, "--data-dir", data, warnings="error")
    assert out.count("top-1") == (2 if "digits" in name else 1)


def test_a_data_set_that_tfds_prepared_as_tfrecords_is_read_without_tensorflow(workplace, as_tfrecords):
    data = workplace.path / "data"
    directory = prepare_tfds("svhn_cropped", data, 3)
    spec = workplace.spec(dataset='name = "svhn_cropped"', distill='method = "random"\nipc = 2', pool=None)
    command = ("run", spec, "--set", "application=[]", "--data-dir", data)
    workplace.frepo(*command)
    expected = (workplace.stage("tiny", "random") / "distilled.npz").read_bytes()
    as_tfrecords(directory)
    assert not list(directory.glob("*array_record*"))
    _, err = workplace.frepo(*command, "--fresh")
    assert "decoding svhn_cropped" in err
    assert (workplace.stage("tiny", "random") / "distilled.npz").read_bytes() == expected

    (path,) = directory.glob("*train.tfrecord*")
    path.write_bytes(path.read_bytes()[:-100])
    shutil.rmtree(workplace.path / "runs")
    _, err = workplace.frepo(*command, code=1)
    assert "ends in the middle of a record" in err
    assert path.name in err
