"""Data sets of strangers: image folders, parquet files, directories of TFDS, archives, publishers' files, the Hub."""

import gzip
import hashlib
import io
import json
import lzma
import os
import struct
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path

import duckdb
import numpy as np
import pytest
import tensorflow_datasets as tfds
from hostile_inputs import LENGTHS, PATHS, altered, as_json, damaged, json_of, png_bomb, png_of
from hypothesis import strategies as st
from PIL import Image, features
from scipy.io import savemat

PIXELS = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), np.uint8)
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "PPM", *(("WEBP",) if features.check("webp") else ()))


def encoded(number=0, kind="PNG", mode="RGB"):
    buffer = io.BytesIO()
    Image.fromarray(PIXELS[number]).convert(mode).save(buffer, kind)
    return buffer.getvalue()


SUFFIXES = {"PNG": "png", "JPEG": "jpg", "GIF": "gif", "BMP": "bmp", "TIFF": "tif", "PPM": "ppm", "WEBP": "webp"}
CLASSES = {
    f"{split}/{name}/{number}.png": encoded(number)
    for split in ("train", "test")
    for name in ("cat", "dog")
    for number in range(2)
}
POSTSCRIPT = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 8 8
%%EndComments
(%pipe%touch ran) (w) file closefile
%%EOF
"""


def chunks_of(content):
    """Return the chunks of a PNG."""
    found, place = [], 8
    while place < len(content):
        (size,) = struct.unpack_from(">I", content, place)
        found.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + size]))
        place += 12 + size
    return found


@st.composite
def pngs(draw):
    """Draw a PNG with a changed chunk, its checksums right."""
    chunks = chunks_of(encoded(mode=draw(st.sampled_from(("RGB", "L", "P", "RGBA", "1", "I;16")))))
    more = [
        (kind, draw(st.binary(max_size=40))) for kind in draw(st.lists(st.sampled_from((b"zTXt", b"iCCP", b"eXIf"))))
    ]
    chunks[1:1] = more
    place = draw(st.integers(0, len(chunks) - 1))
    chunks[place] = (chunks[place][0], draw(damaged(chunks[place][1] or b"\0")))
    return png_of(chunks)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Return what writes sound files into a folder of their own."""

    def sound(files):
        folder = tmp_path_factory.mktemp("sound")
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return folder

    return sound


@pytest.fixture(scope="module")
def folder(reader_of, sound):
    return reader_of("folder", sound(CLASSES))


def test_image_folders(folder, folder_of, try_all):
    def check(drawn):
        name, content = drawn
        error = folder(folder_of({**CLASSES, f"train/cat/{name}": content}))
        assert error is None or "input" in error

    kinds = [st.tuples(st.just(f"x.{SUFFIXES[kind]}"), damaged(encoded(kind=kind))) for kind in FORMATS]
    try_all(st.one_of(*kinds, st.tuples(st.sampled_from(("x.png", "x.jpg", "0.png")), pngs())), check)


def test_a_program_that_is_called_an_image_is_not_run(folder, folder_of):
    for name in ("x.png", "x.jpg"):
        assert f"{name} cannot be read as an image" in folder(folder_of({**CLASSES, f"train/cat/{name}": POSTSCRIPT}))


@pytest.mark.parametrize("size", [(8000, 8000), (9000, 9000), (14000, 14000), (60000, 2000)])
def test_an_image_of_many_pixels_is_refused_or_takes_bounded_memory(folder, folder_of, size):
    content = png_bomb(*size)
    assert len(content) < 300_000
    assert folder(folder_of({**CLASSES, "train/cat/x.png": content}), peak_mib=11 * 2**26 / 2**20)


def test_many_large_images_are_not_held_together(folder, folder_of, long):
    if not long:
        pytest.skip("takes long; set FREPO_TEST_LONG=1")
    content = png_bomb(4000, 4000)
    files = {f"{split}/{name}/{n}.png": content for split in ("train", "test") for name in "ab" for n in range(8)}
    assert folder(folder_of(files), peak_mib=600) is None


def test_folders_that_go_deep_or_lead_round_end(folder, folder_of):
    path = folder_of(CLASSES)
    deep = path / "train" / "cat"
    for _ in range(150):
        deep /= "d"
        deep.mkdir()
    assert "more than 100 folders deep" in folder(path)
    path = folder_of(CLASSES)
    for number in range(12):  # each leads to the next by two ways: 2^12 in all
        inner = path / "far" / str(number)
        inner.mkdir(parents=True)
        for way in "ab":
            (inner / way).symlink_to(f"../{number + 1}")
    (path / "far" / "12").mkdir()
    (path / "train" / "cat" / "more").symlink_to(path / "far" / "0")
    (path / "far").rename(path / ".far")
    (path / "train" / "cat" / "more").unlink()
    (path / "train" / "cat" / "more").symlink_to(path / ".far" / "0")
    assert "in more than 100 ways" in folder(path)


def parquet_of(images, labels, options="", metadata=None):
    told = json.dumps(metadata or {"info": {"features": {"label": {"names": ["a", "b"]}}}}).replace("'", "''")
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t (image STRUCT(bytes BLOB, path VARCHAR), label BIGINT)")
        connection.execute(
            "INSERT INTO t SELECT {'bytes': unnest(?::BLOB[]), 'path': 'x'}, unnest(?::BIGINT[])", [images, labels]
        )
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "rows.parquet"
            connection.execute(f"COPY t TO '{path}' (FORMAT parquet, KV_METADATA {{huggingface: '{told}'}} {options})")
            return path.read_bytes()


ROWS = parquet_of([encoded(n) for n in range(4)], [0, 1, 0, 1])
PARQUET = {"train.parquet": ROWS, "test.parquet": ROWS}


@pytest.fixture(scope="module")
def parquet(reader_of, sound):
    return reader_of("parquet", sound(PARQUET))


def test_parquet_files(parquet, folder_of, try_all):
    plain = parquet_of([encoded(n) for n in range(4)], [0, 1, 0, 1], ", COMPRESSION uncompressed")

    def check(files):
        error = parquet(folder_of({**PARQUET, **files}))
        assert error is None or "input" in error

    images = st.lists(st.one_of(damaged(encoded()), pngs(), st.none()), min_size=1, max_size=4)
    labels = st.lists(st.sampled_from((0, 1, -1, None, 2**62)), min_size=4, max_size=4)
    rows = st.builds(lambda images, labels: parquet_of(images, labels[: len(images)]), images, labels)
    told = altered({"info": {"features": {"label": {"names": ["a", "b"]}}}})
    metadata = told.map(lambda told: parquet_of([encoded(n) for n in range(4)], [0, 1, 0, 1], metadata=told))
    names = st.sampled_from(("train.parquet", "test.parquet", "train-1.parquet", "x.parquet"))
    files = st.dictionaries(names, st.one_of(damaged(ROWS), damaged(plain), rows, metadata), max_size=2)
    try_all(files, check, examples=20)


def test_metadata_without_end_in_a_parquet_file(parquet, folder_of):
    deep = '"}' + "[" * 100_000
    with_deep = parquet_of([encoded(n) for n in range(4)], [0, 1, 0, 1], metadata={"x": deep})
    assert parquet(folder_of({**PARQUET, "train.parquet": with_deep})) is None


@pytest.mark.parametrize(("size", "count"), [(2**22, 300), (2**28 + 1, 1)])
def test_an_image_that_every_row_repeats_takes_bounded_memory(parquet, folder_of, tmp_path, long, size, count):
    if not long:
        pytest.skip("takes long; set FREPO_TEST_LONG=1")
    path = tmp_path / "bomb.parquet"
    with duckdb.connect(config={"memory_limit": "3GB"}) as connection:
        connection.execute(
            f"COPY (SELECT {{'bytes': repeat('x', {size})::BLOB, 'path': ''}} AS image, i % 2 AS label "
            f"FROM range({count}) t(i)) TO '{path}' (FORMAT parquet, COMPRESSION zstd)"
        )
    assert path.stat().st_size < 2**22
    assert "input" in parquet(folder_of({**PARQUET, "train.parquet": path.read_bytes()}), peak_mib=2048)


def test_a_parquet_file_of_too_many_rows_is_refused(parquet, folder_of, tmp_path, long):
    if not long:
        pytest.skip("takes long; set FREPO_TEST_LONG=1")
    path = tmp_path / "rows.parquet"
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT ''::BLOB AS image, 1 AS label FROM range({2**26})) TO '{path}' "
            "(FORMAT parquet, COMPRESSION zstd)"
        )
    assert "rows; at most" in parquet(folder_of({**PARQUET, "train.parquet": path.read_bytes()}))


class Pets(tfds.core.GeneratorBasedBuilder):
    """Two classes of small pictures."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        image = tfds.features.Image(shape=(8, 8, 3))
        label = tfds.features.ClassLabel(names=["cat", "dog"])
        described = tfds.features.FeaturesDict({"image": image, "label": label})
        return tfds.core.DatasetInfo(builder=self, features=described)

    def _split_generators(self, _):
        return {split: self._generate_examples() for split in ("train", "test")}

    def _generate_examples(self):
        for number in range(4):
            yield str(number), {"image": io.BytesIO(encoded(number)), "label": number % 2}


@pytest.fixture(scope="module")
def pets(tmp_path_factory, as_tfrecords):
    """Return the files of a data set that TFDS has prepared, by the format of its records."""
    found = {}
    for file_format in ("array_record", "tfrecord"):
        builder = Pets(data_dir=tmp_path_factory.mktemp("pets"), file_format="array_record")
        builder.download_and_prepare()
        if file_format == "tfrecord":
            as_tfrecords(builder.data_path)
        paths = sorted(path for path in Path(builder.data_path).iterdir() if path.is_file())
        found[file_format] = {f"pets/1.0.0/{path.name}": path.read_bytes() for path in paths}
    return found


@pytest.fixture(scope="module")
def prepared_by_tfds(reader_of, sound, pets):
    return reader_of("tfds", sound(pets["tfrecord"]))


@pytest.mark.parametrize("file_format", ["array_record", "tfrecord"])
def test_directories_of_tfds(file_format, prepared_by_tfds, pets, folder_of, try_all, tfrecord):
    files = pets[file_format]
    records = [name for name in files if "-train." in name or "-test." in name]
    documents = [name for name in files if name.endswith(".json")]

    def check(drawn):
        name, content = drawn
        error = prepared_by_tfds(folder_of({**files, name: content}))
        assert error is None or "pets" in error

    changes = [st.tuples(st.just(name), damaged(files[name])) for name in files]
    changes += [st.tuples(st.just(name), json_of(json.loads(files[name]))) for name in documents] * 3
    if file_format == "tfrecord":
        payload = files[records[0]][12:-4][: struct.unpack("<Q", files[records[0]][:8])[0]]
        framed = damaged(payload).map(lambda changed: tfrecord(changed) * 4)
        changes += [st.tuples(st.sampled_from(records), framed)] * 2
    try_all(st.one_of(*changes), check)


@pytest.mark.parametrize("name", ["hostile_module.Feature", "antigravity.Feature", "os.path.Feature"])
@pytest.mark.parametrize("form", ["features.json", "legacy", "nested", "dataset_info.json"])
def test_a_data_set_names_no_module_to_import(prepared_by_tfds, pets, folder_of, name, form):
    files = dict(pets["array_record"])
    place = f"pets/1.0.0/{'dataset_info.json' if form == 'dataset_info.json' else 'features.json'}"
    document = json.loads(files[place])
    feature = {"pythonClassName": name, "jsonFeature": {"json": "{}"}}
    if form == "features.json":
        document["featuresDict"]["features"]["more"] = feature
    elif form == "legacy":
        document = {"type": name, "content": {}}
    elif form == "dataset_info.json":
        document["features"] = feature
    else:
        inner = json.dumps({"feature": {"type": name, "content": {}}, "length": None})
        sequence = "tensorflow_datasets.core.features.sequence_feature.Sequence"
        document["featuresDict"]["features"]["more"] = {"pythonClassName": sequence, "jsonFeature": {"json": inner}}
    files[place] = json.dumps(document).encode()
    assert f"names '{name}', which is not of TFDS" in prepared_by_tfds(folder_of(files))


@pytest.mark.parametrize("count", [2**40, 2**62])
def test_a_number_of_classes_that_fills_memory_is_refused(prepared_by_tfds, pets, folder_of, count):
    files = dict(pets["array_record"])
    document = json.loads(files["pets/1.0.0/features.json"])
    document["featuresDict"]["features"]["label"]["classLabel"]["numClasses"] = str(count)
    files["pets/1.0.0/features.json"] = json.dumps(document).encode()
    del files["pets/1.0.0/label.labels.txt"]
    assert "number of classes" in prepared_by_tfds(folder_of(files))


def with_template(pets, template, splits=("train", "test")):
    files = dict(pets["array_record"])
    document = json.loads(files["pets/1.0.0/dataset_info.json"])
    for split in document["splits"]:
        if split["name"] in splits:
            split["filepathTemplate"] = template
    files["pets/1.0.0/dataset_info.json"] = json.dumps(document).encode()
    return files


@pytest.mark.parametrize(
    "template", ["../{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}", "/etc/passwd", "gs://a/{SPLIT}"]
)
def test_records_that_lie_elsewhere_are_not_read(prepared_by_tfds, pets, folder_of, template):
    assert "pets" in prepared_by_tfds(folder_of(with_template(pets, template)))


@pytest.mark.parametrize("template", ["{FILELEFORMAT}-{SPLIT}", "{SPLIT:>999999999}", "{SPLIT.__class__}", "{0}", "{"])
@pytest.mark.parametrize("splits", [("train", "test"), ("test",)])
def test_a_template_of_file_names_is_a_plain_one(prepared_by_tfds, pets, folder_of, template, splits):
    assert "no template of TFDS" in prepared_by_tfds(folder_of(with_template(pets, template, splits)))


IMAGENETTE = {
    f"imagenette2/{split}/{wnid}/{number}.JPEG": encoded(number, "JPEG")
    for split in ("train", "val")
    for wnid in ("n01440764", "n02102040")
    for number in range(2)
}


def zipped(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def tarred(members, pack=lambda content: content):
    """Return a tar archive of (name, content) or of tarfile's own members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in members:
            member = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return pack(buffer.getvalue())


@pytest.fixture(scope="module")
def archive(reader_of, sound):
    return reader_of("archive", sound({"set.zip": zipped(IMAGENETTE.items())}) / "set.zip")


@pytest.fixture
def read_archive(archive, folder_of):
    def read_archive(content):
        error = archive(folder_of({"set.bin": content}) / "set.bin")
        assert error is None or "set.bin" in error or "imagenette" in error
        return error

    return read_archive


def test_archives(read_archive, try_all):
    pairs = list(IMAGENETTE.items())
    pack = (tarred(pairs), tarred(pairs, gzip.compress), tarred(pairs, lzma.compress), zipped(pairs))
    names = st.sampled_from(
        (*(path.replace("\0", "") for path in PATHS if path != "\ud800"), "imagenette2/train", "a" * 300)
    )
    more = st.lists(st.tuples(names, st.binary(max_size=20)), max_size=3)
    made = [more.map(lambda more: tarred([*pairs, *more]))]
    made += [st.lists(st.tuples(names, st.binary(max_size=20)), max_size=1).map(lambda more: zipped([*pairs, *more]))]
    try_all(st.one_of(*map(damaged, pack), *made, damaged(tarred(pairs)).map(gzip.compress)), read_archive)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
@pytest.mark.parametrize("target", ["/etc/passwd", "../../..", "0.JPEG"])
def test_links_and_devices_in_archives_are_refused(read_archive, kind, target):
    member = tarfile.TarInfo("imagenette2/train/n01440764/x.JPEG")
    member.type, member.linkname = kind, target
    assert "neither a file nor a folder" in read_archive(tarred([*IMAGENETTE.items(), (member, b"")]))


ZEROS = gzip.compress(bytes(2**24))
"""What unpacks to 16 MiB of zeros; one behind the other they unpack to as many."""


def tar_bomb(name, kind, size):
    """Return a compressed archive whose one member has `size` zeros."""
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, size
    return gzip.compress(member.tobuf(tarfile.USTAR_FORMAT)) + ZEROS * (size // 2**24)


@pytest.mark.parametrize("form", ["zip", "tar.gz", "attributes", "a name"])
def test_bombs_are_refused(read_archive, form):
    if form == "zip":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.writestr("a", bytes(2**28 + 2**25))
        content = buffer.getvalue()
    elif form == "tar.gz":
        content = tar_bomb("a", tarfile.REGTYPE, 2**29)
    else:
        content = tar_bomb("a", tarfile.XHDTYPE if form == "attributes" else tarfile.GNUTYPE_LONGNAME, 2**30)
    assert "cannot be unpacked" in read_archive(content)


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4) for n in array.shape) + array.tobytes()


def mnist():
    found = {}
    for split in ("train", "t10k"):
        found[f"{split}-images-idx3-ubyte"] = idx(np.zeros((10, 28, 28), np.uint8))
        found[f"{split}-labels-idx1-ubyte"] = idx(np.arange(10, dtype=np.uint8))
    return found


def mat(count=10, *, compressed=True):
    buffer = io.BytesIO()
    content = {"X": np.zeros((32, 32, 3, count), np.uint8), "y": np.arange(1, count + 1, dtype=np.uint8)[:, None]}
    savemat(buffer, content, do_compression=compressed)
    return buffer.getvalue()


SVHN = {"train_32x32.mat": mat(), "test_32x32.mat": mat()}


@pytest.fixture(scope="module")
def published(reader_of, sound):
    return reader_of("published", sound({f"mnist-x/{name}": content for name, content in mnist().items()}) / "mnist-x")


@pytest.fixture
def read_published(published, folder_of):
    def read_published(name, files, **bounds):
        path = folder_of({f"{name}-x/{file}": content for file, content in files.items()}) / f"{name}-x"
        error = published(path, **bounds)
        assert error is None or f"{name}-x" in error
        return error

    return read_published


def test_files_of_publishers(read_published, try_all):
    cifar = {f"data_batch_{number}.bin": bytes(3073) for number in range(1, 6)} | {"test_batch.bin": bytes(3073)}
    sets = [("mnist", mnist()), ("svhn_cropped", SVHN), ("cifar10", cifar)]
    sets += [("mnist", {f"{name}.gz": gzip.compress(content) for name, content in mnist().items()})]
    sets += [("mnist", {"all.tar.gz": tarred(mnist().items(), gzip.compress)}), ("svhn_cropped", {**SVHN})]
    sets[-1][1]["train_32x32.mat"] = mat(compressed=False)

    @st.composite
    def changed(draw):
        name, files = draw(st.sampled_from(sets))
        file = draw(st.sampled_from(sorted(files)))
        content = files[file]
        if file.endswith(".mat") and draw(st.booleans()):  # what is compressed is changed
            content = content[:128] + changed_mat(draw, mat(compressed=False)[128:])
            return name, {**files, file: content}
        return name, {**files, file: draw(damaged(content))}

    try_all(changed(), lambda drawn: read_published(*drawn))


def changed_mat(draw, elements):
    packed = zlib.compress(draw(damaged(elements)))
    return struct.pack("<II", 15, len(packed)) + packed


@pytest.mark.parametrize("form", ["gz", "tar.gz", "many in a tar"])
def test_bombs_among_files_of_publishers_are_refused(read_published, form):
    name = "train-images-idx3-ubyte"
    if form == "gz":
        files = {f"{file}.gz": gzip.compress(content) for file, content in mnist().items()}
        files[f"{name}.gz"] = gzip.compress(bytes([0, 0, 8, 3])) + ZEROS * 64
        error = read_published("mnist", files, peak_mib=600)
    elif form == "tar.gz":
        error = read_published("mnist", {"a.tar.gz": tar_bomb(name, tarfile.REGTYPE, 2**30)}, peak_mib=600)
    else:
        many = b"".join(tar_bomb(f"{number}/{name}", tarfile.REGTYPE, 2**27) for number in range(3))
        error = read_published("mnist", {"a.tar.gz": many}, peak_mib=600)
    assert "cannot be" in error
    assert "too large" in error


@pytest.mark.parametrize("start", [struct.pack("<II", 14, 2**32 - 8), struct.pack("<IIII", 14, 64, 2, 2**32 - 8)])
def test_a_variable_that_unpacks_without_end_is_refused(read_published, start):
    packer = zlib.compressobj(9)
    packed = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(bytes(2**24)) + packer.flush(zlib.Z_FULL_FLUSH)
    packed += again * 64
    content = mat()[:128] + struct.pack("<II", 15, len(packed)) + packed
    assert "more than" in read_published("svhn_cropped", {**SVHN, "train_32x32.mat": content}, peak_mib=600)


def test_a_pipe_among_files_of_publishers_is_refused(published, folder_of):
    path = folder_of({f"mnist-x/{name}": content for name, content in mnist().items()}) / "mnist-x"
    (path / "train-images-idx3-ubyte").unlink()
    os.mkfifo(path / "train-images-idx3-ubyte")
    assert published(path)


def digest(content):
    return hashlib.sha256(content).hexdigest()


def own_data(index, arrays, hub):
    """Return a data directory of data sets that frepo has prepared, with these three indexes."""
    images = {f"imagenette/frepo/{split}/{n}.png": encoded(n) for split in ("train", "test") for n in range(2)}
    return {
        **images,
        "imagenette/frepo/index.json": index,
        "mnist/frepo/index.json": arrays,
        **{f"mnist/frepo/{name}.npy": content for name, content in ARRAYS.items()},
        f"hf/a/b/{'0' * 40}/index.json": hub,
        f"hf/a/b/{'0' * 40}/train.parquet": ROWS,
        f"hf/a/b/{'0' * 40}/test.parquet": ROWS,
    }


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


ARRAYS = {
    f"{split}_{what}": npy(np.zeros((2, 4, 4, 1), np.uint8) if what == "images" else np.arange(2, dtype=np.int32))
    for split in ("train", "test")
    for what in ("images", "labels")
}
INDEX = {
    "class_names": ["a", "b"],
    "train": [["train/0.png", 0], ["train/1.png", 1]],
    "test": [["test/0.png", 0], ["test/1.png", 1]],
}
ARRAYS_INDEX = {"class_names": ["0", "1"], "sha256": {name: digest(content) for name, content in ARRAYS.items()}}
HUB_INDEX = {
    "licence": "mit",
    "citation": "",
    "files": [{"path": f"{s}.parquet", "size": len(ROWS), "sha256": digest(ROWS)} for s in ("train", "test")],
}


@pytest.fixture(scope="module")
def prepared(reader_of, sound):
    return reader_of("prepared", sound(own_data(*map(as_json, (INDEX, ARRAYS_INDEX, HUB_INDEX)))))


def test_data_directories(prepared, folder_of, try_all):
    indexes = st.tuples(json_of(INDEX), json_of(ARRAYS_INDEX), json_of(HUB_INDEX))

    @st.composite
    def arrays(draw):
        """Draw a directory with arrays of any content, their digests right."""
        changed = {name: draw(damaged(content)) for name, content in ARRAYS.items()}
        told = {"class_names": ["0", "1"], "sha256": {name: digest(content) for name, content in changed.items()}}
        files = own_data(as_json(INDEX), as_json(told), as_json(HUB_INDEX))
        return {**files, **{f"mnist/frepo/{name}.npy": content for name, content in changed.items()}}

    def check(files):
        error = prepared(folder_of(files))
        assert error is None or "input" in error

    try_all(st.one_of(indexes.map(lambda three: own_data(*three)), arrays()), check, examples=25)


@pytest.mark.parametrize("path", ["../../../../outside.png", "/tmp/outside.png", "train/../../x.png"])
def test_an_index_leads_to_no_file_outside(prepared, folder_of, path):
    index = {**INDEX, "train": [[path, 0], ["train/1.png", 1]]}
    assert "is no path inside" in prepared(folder_of(own_data(*map(as_json, (index, ARRAYS_INDEX, HUB_INDEX)))))


ANSWERS = {
    "revision": json.dumps({"sha": "0" * 40, "cardData": {"license": "mit"}, "citation": "x"}),
    "tree": json.dumps(
        [
            {"type": "file", "path": f"{split}.parquet", "lfs": {"oid": digest(ROWS), "size": len(ROWS)}}
            for split in ("train", "test")
        ]
    ),
    "resolve": ROWS.decode("latin-1"),
    "link": "",
}


@pytest.fixture(scope="module")
def hub(reader_of, sound):
    return reader_of("hub", sound({"answers": json.dumps(ANSWERS).encode()}) / "answers")


def test_answers_of_the_hub(hub, folder_of, try_all):
    def check(answers):
        error = hub(folder_of({"answers": json.dumps({**ANSWERS, **answers}).encode()}) / "answers")
        assert error is None or "hf://a/b" in error or "127.0.0.1" in error

    def text(document):
        return json_of(json.loads(document)).map(lambda content: content.decode("latin-1"))

    links = st.sampled_from(("", '<http://127.0.0.1/x>; rel="next"', '<>; rel="next"', '<http://[>; rel="next"', "x"))
    one = {
        "revision": text(ANSWERS["revision"]),
        "tree": text(ANSWERS["tree"]),
        "resolve": damaged(ROWS).map(lambda content: content.decode("latin-1")),
    }
    pages = st.fixed_dictionaries({"tree": text(ANSWERS["tree"]), "link": links.filter(lambda link: "x>" not in link)})
    try_all(
        st.one_of(*(st.fixed_dictionaries({name: drawn}) for name, drawn in one.items()), pages), check, examples=25
    )


def test_a_list_of_files_without_end_is_given_up(hub, folder_of):
    endless = {**ANSWERS, "link": '<http://127.0.0.1/x?cursor=1>; rel="next"'}
    assert "more than 1,000 pages" in hub(folder_of({"answers": json.dumps(endless).encode()}) / "answers")


def test_lengths_are_those_that_break_things():
    assert {2**31, 2**32 - 1, 2**63 - 1} <= set(LENGTHS)
