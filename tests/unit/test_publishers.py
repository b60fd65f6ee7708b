"""Files in the publishers' layouts give the arrays that were written, whichever form they come in."""

import gzip
import hashlib
import io
import json
import os
import pickle
import re
import signal
import tarfile
import threading
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import duckdb
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from frepo import progress
from frepo.data import prepare as preparing
from frepo.data.catalog import catalog
from frepo.data.fetch.class_names import CLASS_NAMES
from frepo.data.fetch.download import Remote
from frepo.data.fetch.obtain import MIRROR
from frepo.data.fetch.publishers import ARCHIVES, PUBLISHED
from frepo.data.fetch.readers import read_published
from frepo.data.load import forget, load_dataset
from frepo.data.outside import mark_of_files
from frepo.data.prepare import fetch_missing, prepare
from frepo.data.sources.known import KNOWN
from frepo.data.sources.places import own_directory
from frepo.errors import FrepoError, Interrupted
from frepo.exchange.imports.imported import Said, imported
from frepo.runtime import RuntimeOptions
from frepo.spec import Dataset

PER_BATCH = {"train": 5 * 40, "test": 20}


def generated(name):
    """Return images and labels for training and testing, each class among them, two images twice."""
    generator = np.random.default_rng(7)
    classes = len(CLASS_NAMES[name])
    shape = tuple(map(int, KNOWN[name].pixels.split("x")))
    splits = {}
    for split, count in PER_BATCH.items():
        images = generator.integers(0, 256, (count, *shape), np.uint8)
        images[1] = images[0]
        splits[split] = images, generator.permutation(np.arange(count) % classes).astype(np.int32)
    return splits


def planes(images):
    return images.transpose(0, 3, 1, 2).reshape(len(images), -1)


def batches(name, splits):
    """Yield the name, the images and the labels of each batch of CIFAR."""
    (images, labels), test = splits["train"], splits["test"]
    if name == "cifar100":
        yield "train", images, labels
    else:
        for number in range(5):
            part = slice(40 * number, 40 * (number + 1))
            yield f"data_batch_{number + 1}", images[part], labels[part]
    yield "test" if name == "cifar100" else "test_batch", *test


def write_tar(path, folder, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return [path]


def binary(name, splits, folder):
    files = {"readme.html": b"<html>"}
    for batch, images, labels in batches(name, splits):
        columns = [labels] if name == "cifar10" else [labels // 5, labels]
        rows = np.concatenate([np.stack(columns, 1).astype(np.uint8), planes(images)], axis=1)
        files[f"{batch}.bin"] = rows.tobytes()
    number = name.removeprefix("cifar")
    return write_tar(folder / f"cifar-{number}-binary.tar.gz", f"cifar-{number}-batches-bin", files)


class Python2(pickle._Pickler):
    """Writes what Python 2 wrote, in which text is bytes."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_text(self, value):
        content = value if isinstance(value, bytes) else value.encode("latin-1")
        size = len(content)
        short = size < 256
        self.write((pickle.SHORT_BINSTRING if short else pickle.BINSTRING) + size.to_bytes(1 if short else 4, "little"))
        self.write(content)
        self.memoize(value)

    dispatch[bytes] = dispatch[str] = save_text


def by_python2(value):
    buffer = io.BytesIO()
    Python2(buffer, protocol=2).dump(value)
    return buffer.getvalue()


def pickles(name, splits):
    for batch, images, labels in batches(name, splits):
        kept = {"labels": labels.tolist()} if name == "cifar10" else {"fine_labels": labels.tolist()}
        names = [f"{number}.png" for number in range(len(labels))]
        yield batch, by_python2({"batch_label": "a batch", "data": planes(images), "filenames": names, **kept})


def pickled(name, splits, folder):
    number = name.removeprefix("cifar")
    files = {**dict(pickles(name, splits)), "batches.meta": by_python2({"label_names": ["a"]})}
    return write_tar(folder / f"cifar-{number}-python.tar.gz", f"cifar-{number}-batches-py", files)


def png(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def parquet(name, splits, folder, order=slice(None, None, -1)):
    """Write the Hub's files, with rows in another order than the archives have."""
    paths = []
    label = "label" if name == "cifar10" else "fine_label"
    for split, (images, labels) in splits.items():
        path = folder / f"{split}-00000-of-00001.parquet"
        with duckdb.connect() as connection:
            connection.execute(f'CREATE TABLE t (img STRUCT(bytes BLOB, path VARCHAR), "{label}" BIGINT)')
            rows = [
                [{"bytes": png(image), "path": None}, int(label)] for image, label in zip(images, labels, strict=True)
            ]
            connection.executemany("INSERT INTO t VALUES (?, ?)", rows[order])
            connection.execute(f"COPY t TO '{path}' (FORMAT parquet)")
        paths.append(path)
    return paths


def idx(name, splits, folder, pack=gzip.compress, suffix=".gz"):
    paths = []
    for split, word in (("train", "train"), ("test", "t10k")):
        images, labels = splits[split]
        for array, kind in ((images[..., 0], "images-idx3"), (labels.astype(np.uint8), "labels-idx1")):
            path = folder / f"{word}-{kind}-ubyte{suffix}"
            header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
            path.write_bytes(pack(header + array.tobytes()))
            paths.append(path)
    return paths


def mat(name, splits, folder):
    paths = []
    for split, (images, labels) in splits.items():
        path = folder / f"{split}_32x32.mat"
        stored = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]
        savemat(path, {"X": images.transpose(1, 2, 3, 0), "y": stored}, do_compression=True)
        paths.append(path)
    return paths


FORMS = {
    "mnist": (idx, partial(idx, pack=bytes, suffix="")),
    "fashion_mnist": (idx,),
    "cifar10": (binary, pickled, parquet),
    "cifar100": (binary, pickled, parquet),
    "svhn_cropped": (mat,),
}


def in_order(images, labels):
    """Return images and labels in the order that is documented."""
    keys = [(hashlib.sha256(image.tobytes()).hexdigest(), label) for image, label in zip(images, labels, strict=True)]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return images[order], labels[order]


def load(name, tmp_path, data_dir):
    forget()
    return load_dataset(Dataset(name=name), data_dir, tmp_path / "cache")


@pytest.mark.parametrize("name", FORMS)
def test_every_form_of_a_data_set_gives_the_same_arrays_in_the_same_order(tmp_path, name):
    splits, fingerprints = generated(name), set()
    for number, write in enumerate(FORMS[name]):
        folder = tmp_path / f"form{number}"
        folder.mkdir()
        write(name, splits, folder)
        directory = prepare(name, folder, tmp_path / f"data{number}")
        assert directory == own_directory(name, tmp_path / f"data{number}")
        data = load(name, tmp_path, tmp_path / f"data{number}")
        for split in splits:
            images, labels = in_order(*splits[split])
            np.testing.assert_array_equal(getattr(data, f"{split}_images"), images)
            np.testing.assert_array_equal(getattr(data, f"{split}_labels"), labels)
        fingerprints.add(data.info.fingerprint)
        assert data.info.class_names == CLASS_NAMES[name]
    assert len(fingerprints) == 1


@pytest.mark.parametrize(("name", "write"), [("cifar10", pickled), ("cifar100", binary)])
def test_an_archive_is_taken_by_itself_and_unpacked_too(tmp_path, name, write):
    (archive,) = write(name, generated(name), tmp_path)
    prepare(name, archive, tmp_path / "data")
    with tarfile.open(archive) as opened:
        opened.extractall(tmp_path / "cache" / "datasets", filter="data")  # as torchvision and Keras leave it
    prepare(name, tmp_path / "cache", tmp_path / "unpacked")
    first, second = (load(name, tmp_path, tmp_path / place).info for place in ("data", "unpacked"))
    assert first == second


def test_two_data_sets_of_one_layout_in_a_folder_are_not_guessed_between(tmp_path):
    for name in ("mnist", "fashion_mnist"):
        (tmp_path / "root" / name).mkdir(parents=True)
        idx(name, generated(name), tmp_path / "root" / name)
    with pytest.raises(FrepoError, match=r"several times: .*/fashion_mnist; .*/mnist; name one folder"):
        prepare("mnist", tmp_path / "root", tmp_path / "data")
    prepare("mnist", tmp_path / "root" / "mnist", tmp_path / "data")


def damage_gzip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def shorten(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


@pytest.mark.parametrize("harm", [damage_gzip, shorten])
@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("mnist", idx),
        ("cifar10", binary),
        ("cifar10", pickled),
        ("cifar10", parquet),
        ("svhn_cropped", mat),
    ],
)
def test_damaged_files_are_named_and_nothing_is_prepared(tmp_path, name, write, harm):
    folder = tmp_path / "files"
    folder.mkdir()
    paths = write(name, generated(name), folder)
    harm(paths[0])
    with pytest.raises(FrepoError, match=re.escape(paths[0].name.removesuffix(".gz"))):
        prepare(name, folder, tmp_path / "data")
    assert not list((tmp_path / "data").rglob("*.*"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes([0, 0, 8]),
        bytes([0, 0, 8, 3, 0, 0]),
        bytes([0, 0, 8, 3, 0, 0, 0, 0]),
        bytes([0, 0, 8, 3]) + np.array([2**31, 2**31, 4], ">u4").tobytes(),  # 2**64 pixels, which is 0 in 64 bits
    ],
)
def test_an_idx_file_that_lies_about_its_size_or_ends_in_its_header_is_damaged(tmp_path, content):
    idx("mnist", generated("mnist"), tmp_path, pack=bytes, suffix="")
    (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(FrepoError, match="train-images-idx3-ubyte is damaged"):
        read_published("mnist", [tmp_path])


def broken_png():
    content = bytearray(png(np.zeros((32, 32, 3), np.uint8)))
    content[content.index(b"IHDR") - 1] = 5  # the length of the header
    return bytes(content)


@pytest.mark.parametrize(
    ("image", "label", "expected"),
    [
        (png(np.zeros((32, 32, 3), np.uint8)), 2**40, "1 images with 1 labels, not all 0 to 9"),
        (png(np.zeros((32, 32, 3), np.uint8)), None, "1 images with 1 labels, not all 0 to 9"),
        (
            png(np.zeros((32, 30, 3), np.uint8)),
            0,
            r"row 0 of .*\.parquet has an image of \(32, 30, 3\), not \(32, 32, 3\)",
        ),
        (broken_png(), 0, r"row 0 of .*train-00000-of-00001\.parquet cannot be read as an image \(.+\)"),
        (b"", 0, r"row 0 of .*\.parquet cannot be read as an image \(.+\)"),
        (None, 0, r"row 0 of .*\.parquet has no image in the file"),
    ],
    ids=["a large label", "no label", "another size", "a broken image", "an empty image", "no image"],
)
def test_a_parquet_file_with_a_bad_image_or_label_is_named(tmp_path, image, label, expected):
    paths = parquet("cifar10", generated("cifar10"), tmp_path)
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t (img STRUCT(bytes BLOB, path VARCHAR), label BIGINT)")
        connection.execute("INSERT INTO t VALUES (?, ?)", [{"bytes": image, "path": None}, label])
        connection.execute(f"COPY t TO '{paths[0]}' (FORMAT parquet)")
    with pytest.raises(FrepoError, match=expected):
        read_published("cifar10", [tmp_path])


def bytes_read():
    return int(re.search(r"rchar: (\d+)", Path("/proc/self/io").read_text())[1])


@pytest.mark.parametrize("write", [binary, pickled])
def test_an_archive_is_unpacked_once(tmp_path, write):
    (archive,) = write("cifar10", generated("cifar10"), tmp_path)
    before = bytes_read()
    read_published("cifar10", [archive])
    assert bytes_read() - before < 1.5 * archive.stat().st_size


@pytest.mark.parametrize("name", FORMS)
def test_a_folder_without_them_says_what_is_needed(tmp_path, name):
    with pytest.raises(FrepoError, match=f"does not hold .*{name}"):
        prepare(name, tmp_path, tmp_path / "data")


def test_labels_that_no_class_has_are_refused(tmp_path):
    splits = generated("cifar10")
    splits["test"][1][3] = 10
    pickled("cifar10", splits, tmp_path)
    with pytest.raises(FrepoError, match="20 images with 20 labels, not all 0 to 9"):
        prepare("cifar10", tmp_path, tmp_path / "data")


class Hostile:
    def __init__(self, function, *arguments):
        self._call = function, arguments

    def __reduce__(self):
        return self._call


PLANES = np.zeros((2, 3 * 32 * 32), np.uint8)


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(Hostile(os.mkdir, "made")),
        pickle.dumps(Hostile(os.mkdir, "made"), protocol=2),
        pickle.dumps({"data": Hostile(eval, "open('made', 'w')")}, protocol=2),
        by_python2({"data": PLANES, "labels": [1, Hostile(os.mkdir, "made")]}),
        by_python2({"data": PLANES, "labels": [1, 2], "more": Hostile(print, 1)}),
        by_python2({"data": np.array([os.getcwd], object), "labels": [1, 2]}),
        by_python2({"data": PLANES.astype(np.float64), "labels": [1, 2]}),
        by_python2({"data": PLANES[:, 1:], "labels": [1, 2]}),
        by_python2({"data": PLANES.tobytes(), "labels": [1, 2]}),
        by_python2({"data": PLANES, "labels": [1, 2.0]}),
        by_python2({"data": PLANES, "labels": [1, True]}),
        by_python2({"data": PLANES, "labels": [1, 2**31]}),
        by_python2({"data": PLANES, "labels": [1, [2]]}),
        by_python2({"data": PLANES, "labels": "12"}),
        by_python2({"data": PLANES, "labels": PLANES[0, :2]}),
        by_python2({"data": PLANES}),
        by_python2([PLANES, [1, 2]]),
        by_python2({"data": PLANES, "labels": [1, 2]})[:-100],
        b"\x80\x02}(U\x04datacnumpy.core.multiarray\n_reconstruct\n)RU\x06labels](K\x01K\x02eu.",
        b"\x80\x02" + b"]q\x00" + 2**19 * b"h\x00a" + b".",
        b"cos\nmkdir\n(S'made'\ntR.",
        b"cnumpy\nndarray\n((I1000000\ntR.",
        b"\x80\x02cnumpy\nndarray\n.",
        b"garbage",
        b"",
    ],
)
def test_a_pickle_of_anything_else_than_a_batch_is_refused(tmp_path, monkeypatch, content):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    files = dict(pickles("cifar10", generated("cifar10")))
    (archive,) = write_tar(tmp_path / "cifar-10-python.tar.gz", "batches", {**files, "data_batch_3": content})
    with pytest.raises(
        FrepoError, match=r"cifar-10-python\.tar\.gz/batches/data_batch_3 is not a batch of cifar10: \S"
    ):
        read_published("cifar10", [archive])
    assert not list((tmp_path / "here").iterdir())


def test_as_many_labels_and_names_as_cifar100_has_are_read(tmp_path):
    labels = (np.arange(50_000) % 100).tolist()
    train = {"filenames": [f"{number}.png" for number in labels], "fine_labels": labels, "coarse_labels": labels}
    files = dict(pickles("cifar100", generated("cifar100")))
    content = by_python2({**train, "data": np.zeros((1, 3 * 32 * 32), np.uint8)})
    (archive,) = write_tar(tmp_path / "cifar-100-python.tar.gz", "batches", {**files, "train": content})
    with pytest.raises(FrepoError, match="1 images with 50,000 labels"):  # a small file, read to its end
        read_published("cifar100", [archive])


def test_a_damaged_prepared_data_set_is_found(tmp_path):
    pickled("cifar10", generated("cifar10"), tmp_path)
    directory = prepare("cifar10", tmp_path, tmp_path / "data")
    path = directory / "train_images.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    said = r"train_images\.npy differs from what was written\) and set aside as frepo\.damaged: the same command"
    with pytest.raises(FrepoError, match=said):
        load("cifar10", tmp_path, tmp_path / "data")
    prepare("cifar10", tmp_path, tmp_path / "data")
    load("cifar10", tmp_path, tmp_path / "data")


# Fetching


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Serve generated files of mnist and return (their folder, the paths asked for); PUBLISHED leads to them."""
    folder, asked = tmp_path / "www", []
    folder.mkdir()

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}"
    source = []
    for path in idx("mnist", generated("mnist"), folder):
        content = path.read_bytes()
        source.append(Remote(path.name, len(content), hashlib.sha256(content).hexdigest(), f"{base}/{path.name}"))
    monkeypatch.setitem(PUBLISHED, "mnist", (tuple(source),))
    monkeypatch.delenv(MIRROR, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield folder, asked
    server.shutdown()
    server.server_close()


def test_a_data_set_is_fetched_once_and_only_the_prepared_form_is_kept(tmp_path, published, capsys):
    data_dir = tmp_path / "data"
    fetch_missing(Dataset(name="mnist"), data_dir)
    said = capsys.readouterr().err
    assert f"mnist is not in {data_dir} and is fetched now, once (--offline forbids it)" in said
    assert "licence: CC BY-SA 3.0; to cite: LeCun" in said
    assert "warning: mnist has 60,000 images for training, but 200 are here" in said
    assert [path.name for path in data_dir.rglob("*") if path.is_file()].count("index.json") == 1
    assert not list(data_dir.rglob("*.gz"))
    assert mark_of_files(Dataset(name="mnist"), data_dir) is not None
    assert len(published[1]) == 4
    fetch_missing(Dataset(name="mnist"), data_dir)
    assert len(published[1]) == 4
    images, _ = in_order(*generated("mnist")["train"])
    np.testing.assert_array_equal(load("mnist", tmp_path, data_dir).train_images, images)
    with pytest.raises(FrepoError, match="is prepared already in"):
        prepare("mnist", None, data_dir)
    rows = {row[0]: row for row in catalog(data_dir)}
    assert rows["mnist"][-3:] == ("CC BY-SA 3.0", KNOWN["mnist"].citation, str(own_directory("mnist", data_dir)))


def test_a_failed_fetch_leaves_no_data_set_and_goes_on_later(tmp_path, published):
    folder, asked = published
    last = folder / "t10k-labels-idx1-ubyte.gz"
    last.rename(folder / "away")
    with pytest.raises(FrepoError, match="'mnist' could not be fetched"):
        fetch_missing(Dataset(name="mnist"), tmp_path / "data")
    assert not (tmp_path / "data" / "mnist").exists()
    (folder / "away").rename(last)
    fetch_missing(Dataset(name="mnist"), tmp_path / "data")
    assert len(asked) == 6  # two of them for the last file: 404 is logged twice
    assert own_directory("mnist", tmp_path / "data").is_dir()


def test_what_tfds_has_prepared_here_or_nearby_is_not_fetched(tmp_path, published):
    version = tmp_path / "data" / "mnist" / "3.0.1"
    version.mkdir(parents=True)
    (version / "dataset_info.json").write_text("{}")
    fetch_missing(Dataset(name="mnist"), tmp_path / "data")
    fetch_missing(Dataset(name="mnist"), tmp_path / "data" / "mnist")
    with pytest.raises(FrepoError, match=r"is prepared already in .*3\.0\.1"):
        prepare("mnist", None, tmp_path / "data")
    assert published[1] == []


def test_what_another_process_has_prepared_in_the_meantime_is_taken(tmp_path, published, monkeypatch):
    def note(_):  # said when it was seen that the data set is not there
        monkeypatch.setattr(preparing, "note", progress.note)
        prepare("mnist", published[0], tmp_path / "data")

    monkeypatch.setattr(preparing, "note", note)
    fetch_missing(Dataset(name="mnist"), tmp_path / "data")
    assert published[1] == []
    assert own_directory("mnist", tmp_path / "data").is_dir()


def test_a_data_set_without_its_index_is_said_to_be_damaged_and_fetched_again(tmp_path, published, capsys):
    own_directory("mnist", tmp_path / "data").mkdir(parents=True)
    fetch_missing(Dataset(name="mnist"), tmp_path / "data")
    said = capsys.readouterr().err
    assert "mnist/frepo is damaged: it has no index.json; set aside as frepo.damaged, to be prepared again" in said
    assert len(load("mnist", tmp_path, tmp_path / "data").train_labels) == 200


def test_one_that_has_waited_for_another_holds_the_lock_against_a_third(tmp_path):
    lock, second_has, second_may_end, third_has = (tmp_path / "mnist.lease", *(threading.Event() for _ in range(3)))

    def second():
        with preparing.alone(lock):
            second_has.set()
            second_may_end.wait(10)

    def third():
        with preparing.alone(lock):
            third_has.set()

    threads = [threading.Thread(target=second), threading.Thread(target=third)]
    with preparing.alone(lock):
        threads[0].start()
        assert not second_has.wait(0.1)
    assert second_has.wait(10)
    threads[1].start()
    assert not third_has.wait(0.1)
    second_may_end.set()
    for thread in threads:
        thread.join(10)
    assert third_has.is_set()


class Interrupting(BaseHTTPRequestHandler):
    """Stops this process, as Ctrl-C does, when it asks for a file."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        os.kill(os.getpid(), signal.SIGINT)
        self.send_error(404)


def test_a_signal_while_an_import_fetches_its_data_set_stops_it(tmp_path, published, monkeypatch):
    (tmp_path / "spec.toml").write_text('name = "a"\ndataset.name = "mnist"\ndistill = {method = "frepo", ipc = 1}')
    np.savez(tmp_path / "set.npz", images=np.zeros((10, 28, 28, 1), np.float32), labels=np.arange(10))
    options = RuntimeOptions(runs_dir=tmp_path / "runs", database=tmp_path / "r.duckdb", data_dir=tmp_path / "data")
    with ThreadingHTTPServer(("127.0.0.1", 0), Interrupting) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        monkeypatch.setenv(MIRROR, f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(Interrupted, match="stopped by SIGINT"):
            imported(tmp_path / "set.npz", tmp_path / "spec.toml", (), options, Said())
        server.shutdown()
    assert not (tmp_path / "data" / "mnist").exists()


def test_a_process_waits_for_another_that_fetches_the_same(tmp_path, published, capsys):
    lock = tmp_path / "data" / "downloads" / "frepo" / "mnist.lease"
    held, done = threading.Event(), threading.Event()

    def other():
        with preparing.alone(lock):
            held.set()
            done.wait(10)

    threads = [
        threading.Thread(target=other),
        threading.Thread(target=fetch_missing, args=(Dataset(name="mnist"), tmp_path / "data")),
    ]
    threads[0].start()
    assert held.wait(10)
    threads[1].start()
    threads[1].join(0.3)
    assert published[1] == []
    done.set()
    for thread in threads:
        thread.join(20)
    assert own_directory("mnist", tmp_path / "data").is_dir()
    assert "waiting for another process" in capsys.readouterr().err


def test_a_run_fetches_what_its_spec_names_and_offline_says_the_command(tmp_path, published, workplace):
    import frepo

    spec = workplace.spec(dataset='name = "mnist"', distill='method = "random"\nipc = 1', pool=None, application=None)
    places = {"runs_dir": tmp_path / "runs", "db": tmp_path / "r.duckdb", "data_dir": tmp_path / "data"}
    (tmp_path / "data").mkdir()
    with pytest.raises(FrepoError, match=r"not prepared in .*\n.*frepo data prepare mnist"):
        frepo.run(spec, offline=True, **places)
    assert published[1] == []
    frepo.run(spec, **places)
    assert len(published[1]) == 4
    record = json.loads(next((tmp_path / "runs").rglob("stage.json")).read_text())
    assert record["dataset"]["num_train"] == 200


# Constants


def test_addresses_digests_and_names_have_their_form():
    for name, sources in PUBLISHED.items():
        assert KNOWN[name].licence
        assert KNOWN[name].citation
        for source in sources:
            for remote in source:
                assert re.fullmatch(r"https?://[\w.-]+(/[\w.~-]+)+(\?download=1)?", remote.url), remote.url
                assert re.fullmatch(r"[0-9a-f]{64}", remote.sha256)
                assert remote.size > 1000
                assert remote.name in remote.url
        digests = {remote.name: remote.sha256 for source in sources for remote in source}
        assert all(digests[remote.name] == remote.sha256 for source in sources for remote in source)
    assert {name for name, known in KNOWN.items() if known.comes_from == "publisher"} == set(CLASS_NAMES)
    assert {name for name, known in KNOWN.items() if known.comes_from == "archive"} == set(ARCHIVES)
    for name, names in CLASS_NAMES.items():
        assert len(set(names)) == KNOWN[name].classes
    assert CLASS_NAMES["cifar100"] == tuple(sorted(CLASS_NAMES["cifar100"]))


CACHES = [
    ("cifar10", pickled, "keras", "cifar-10-batches-py-target"),
    ("cifar100", pickled, "keras", "cifar-100-python-target"),
    ("cifar10", pickled, "data", ""),  # the archive, as torchvision leaves it
    ("fashion_mnist", idx, "keras", "fashion-mnist"),
    ("fashion_mnist", idx, "data", "FashionMNIST/raw"),
    ("mnist", idx, "data", "MNIST/raw"),
]


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """Lay files where another library has downloaded them; what would fetch them says so."""

    def cached(name, write, library, folder):
        root = tmp_path / "keras" / "datasets" if library == "keras" else tmp_path / "data"
        (root / folder).mkdir(parents=True)
        write(name, generated(name), root / folder)
        for archive in (root / folder).glob("*.tar.gz") if folder else ():
            with tarfile.open(archive) as opened:
                opened.extractall(root / folder, filter="data")
            archive.unlink()
        counts = [len(generated(name)[split][1]) for split in ("train", "test")]
        monkeypatch.setitem(KNOWN, name, replace(KNOWN[name], train=counts[0], test=counts[1]))
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))

    def refuse(name, into):
        raise FrepoError(f"{name} would be fetched")

    monkeypatch.setattr("frepo.data.fetch.obtain.obtain", refuse)
    return cached


@pytest.mark.parametrize(("name", "write", "library", "folder"), CACHES)
def test_what_another_library_has_downloaded_is_not_fetched_again(
    tmp_path, cached, capsys, name, write, library, folder
):
    cached(name, write, library, folder)
    fetch_missing(Dataset(name=name), tmp_path / "prepared")
    assert f"{name} is taken from " in capsys.readouterr().err
    images, _ = in_order(*generated(name)["train"])
    np.testing.assert_array_equal(load(name, tmp_path, tmp_path / "prepared").train_images, images)


def test_what_it_has_not_whole_is_passed_over(tmp_path, cached, monkeypatch, capsys):
    cached(*CACHES[-1])
    monkeypatch.setitem(KNOWN, "mnist", replace(KNOWN["mnist"], train=60_000))
    with pytest.raises(FrepoError, match="mnist would be fetched"):
        fetch_missing(Dataset(name="mnist"), tmp_path / "prepared")
    assert "is passed over: it has not the 60,000 and " in capsys.readouterr().err
    (tmp_path / "data" / "MNIST" / "raw" / "train-labels-idx1-ubyte.gz").write_bytes(b"damaged")
    with pytest.raises(FrepoError, match="mnist would be fetched"):
        fetch_missing(Dataset(name="mnist"), tmp_path / "prepared")
    assert "is passed over: " in capsys.readouterr().err
    assert not (tmp_path / "prepared" / "mnist").exists()
