"""Data sets of the Hugging Face Hub, from a server of this process that answers as the Hub does."""

import hashlib
import io
import json
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import duckdb
import numpy as np
import pytest
from PIL import Image

from frepo.data.catalog import catalog
from frepo.data.fetch import download
from frepo.data.fetch.obtain import MIRROR
from frepo.data.load import forget, load_dataset
from frepo.data.outside import mark_of_files
from frepo.data.prepare import fetch_missing, prepare
from frepo.errors import FrepoError, SpecError
from frepo.spec import Dataset
from frepo.spec.names import family_of
from frepo.store.query import query

NAME = "hf://some-one/birds.v2"
COMMIT, CONVERTED = "0b27149" + "0" * 33, "c0ffee" * 6 + "abcd"
SECRET = "hf_secret"
IMAGES = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 3), np.uint8)
LABELS = [0, 1] * 5


def made(tmp_path, images, labels, names=("owl", "wren")):
    """Return the content of a parquet file as the Hub keeps it."""
    path = tmp_path / "made.parquet"
    features = json.dumps({"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}})
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t (image STRUCT(bytes BLOB, path VARCHAR), label BIGINT)")
        rows = zip(images, labels, strict=True)
        connection.executemany(
            "INSERT INTO t VALUES (?, ?)", [[{"bytes": png(image), "path": None}, n] for image, n in rows]
        )
        connection.execute(f"COPY t TO '{path}' (FORMAT parquet, KV_METADATA {{huggingface: '{features}'}})")
    return path.read_bytes()


def png(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


class Hub:
    """One data set. `asked` are the paths and tokens of all requests."""

    def __init__(self):
        self.files, self.asked, self.page = {}, [], 1000
        self.private = self.gated = False
        self.facts = {"cardData": {"license": ["mit", "other"]}, "citation": "@misc{one,\n  title={\x1b[2JBirds}}"}
        self.branches = {"main": COMMIT, COMMIT: COMMIT}
        self.mirrored = {}
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                token = self.headers.get("Authorization")
                owner.asked.append((self.path, token))
                path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
                kind, _, rest = path.lstrip("/").partition("/")
                closed = owner.private or (owner.gated and kind == "datasets")
                if kind in ("api", "datasets") and closed and token != f"Bearer {SECRET}":
                    self.reply(401, b"{}")
                elif kind == "api":
                    status, content, *headers = owner.api(
                        unquote(rest.removeprefix("datasets/some-one/birds.v2/")), query
                    )
                    self.reply(status, content, **(headers[0] if headers else {}))
                elif kind == "datasets":
                    found = rest.removeprefix(f"some-one/birds.v2/resolve/{COMMIT}/")
                    there = unquote(found) in owner.files
                    self.reply(302 if there else 404, b"", Location=f"http://localhost:{owner.port}/store/{found}")
                else:
                    source = owner.files if kind == "store" else owner.mirrored
                    content = source.get(unquote(rest))
                    self.reply(404, b"") if content is None else self.reply(200, content)

            def reply(self, status, content, **headers):
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def api(self, what, query):
        """Return status, content and headers of an answer."""
        kind, _, revision = what.partition("/")
        if revision not in self.branches:
            return 404, b'{"error": "Invalid rev id"}'
        if kind == "revision":
            return 200, json.dumps({**self.facts, "sha": self.branches[revision]}).encode()
        start = int(query.get("cursor", ["0"])[0])
        part = self.entries()[start : start + self.page]
        link = f'<https://elsewhere.example/api?recursive=true&cursor={start + self.page}>; rel="next"'
        headers = {"Link": link} if start + self.page < len(self.entries()) else {}
        return 200, json.dumps(part).encode(), headers

    def entries(self):
        found = [{"type": "directory", "oid": "d" * 40, "size": 0, "path": "data"}]
        for path, content in self.files.items():
            lfs = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
            found.append({"type": "file", "oid": "a" * 40, "size": len(content), "path": path, "lfs": lfs})
        return [*found, {"type": "file", "oid": "b" * 40, "size": 12, "path": "README.md"}]

    def paths(self):
        return [urlsplit(path).path for path, _ in self.asked]

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """Serve a data set in two shards for training and one for testing."""
    monkeypatch.setattr(download, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(urllib.request, "_opener", None)  # it is made of the environment, once
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", MIRROR, "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    hub = Hub()
    monkeypatch.setenv("HF_ENDPOINT", hub.url + "/")
    hub.files = {
        "data/train-00000-of-00002.parquet": made(tmp_path, IMAGES[:5], LABELS[:5]),
        "data/train-00001-of-00002.parquet": made(tmp_path, IMAGES[5:], LABELS[5:]),
        "data/test-00000-of-00001.parquet": made(tmp_path, IMAGES[:4], LABELS[:4]),
    }
    yield hub
    hub.close()


def table(**fields):
    return Dataset(**{"name": NAME, "revision": COMMIT, **fields})


def loaded(tmp_path, **fields):
    forget()
    return load_dataset(table(**fields), tmp_path / "data", tmp_path / "cache")


def fetched(tmp_path, **fields):
    fetch_missing(table(**fields), tmp_path / "data")
    return loaded(tmp_path, **fields)


def directory(tmp_path):
    return tmp_path / "data" / "hf" / "some-one" / "birds.v2" / COMMIT


def test_a_data_set_is_fetched_once_after_what_it_is_was_said(hub, tmp_path, capsys):
    hub.page = 2
    data = fetched(tmp_path)
    said = capsys.readouterr().err
    size = sum(map(len, hub.files.values())) / 1e6
    assert f"{NAME} is not in {directory(tmp_path)} and is fetched now, once (--offline forbids it)" in said
    assert f"{NAME}: licence: mit, other; to cite: @misc{{one, title={{[2JBirds}}}}" in said
    assert f"fetching {size:,.1f} MB from 127.0.0.1" in said
    np.testing.assert_array_equal(data.train_images, IMAGES)
    np.testing.assert_array_equal(data.train_labels, LABELS)
    np.testing.assert_array_equal(data.test_images, IMAGES[:4])
    assert data.info.class_names == ("owl", "wren")
    before = len(hub.asked)
    fetch_missing(table(), tmp_path / "data")
    assert len(hub.asked) == before
    assert mark_of_files(table(), tmp_path / "data") is not None
    (row,) = [row for row in catalog(tmp_path / "data") if row[0] == NAME]
    assert (row[-4], row[-3], row[-1]) == ("Hub", "mit, other", str(directory(tmp_path)))


def test_what_is_not_there_says_how_to_get_it(hub, tmp_path):
    with pytest.raises(
        FrepoError, match=rf"{NAME} at commit {COMMIT} is not in .*--offline.*: frepo data prepare {NAME} "
    ):
        loaded(tmp_path)
    assert hub.asked == []
    fetched(tmp_path)
    (directory(tmp_path) / "data" / "train-00001-of-00002.parquet").unlink()
    with pytest.raises(FrepoError, match=rf"lacks 1 of 3 files, first data/train-00001.*--revision {COMMIT}"):
        loaded(tmp_path)


def test_only_the_files_of_the_config_and_splits_are_fetched(hub, tmp_path):
    small = made(tmp_path, IMAGES[:4], [0, 1, 0, 1])
    hub.files = {f"{config}/{split}-0-of-1.parquet": small for config in "ab" for split in ("train", "val", "extra")}
    with pytest.raises(FrepoError, match=r"at commit .* has several configs: set dataset\.config to one of a, b"):
        fetched(tmp_path)
    assert not directory(tmp_path).exists()
    with pytest.raises(FrepoError, match=r"no config 'c'; it has a, b"):
        fetched(tmp_path, config="c")
    with pytest.raises(FrepoError, match=r"of config 'b' has no split 'trian', did you mean `train`\?; it has extra, "):
        fetched(tmp_path, config="b", train_split="trian")
    assert fetched(tmp_path, config="b").info.num_test == 4
    there = sorted(str(path.relative_to(directory(tmp_path))) for path in directory(tmp_path).rglob("*.parquet"))
    assert there == ["b/train-0-of-1.parquet", "b/val-0-of-1.parquet"]
    before = len(hub.asked)
    fetched(tmp_path, config="b", train_split="extra", test_split="train")
    assert [path.rpartition("/")[2] for path in hub.paths()[before:]] == ["extra-0-of-1.parquet"] * 2  # and its store


def test_a_data_set_without_test_images_has_some_split_off(hub, tmp_path):
    del hub.files["data/test-00000-of-00001.parquet"]
    assert fetched(tmp_path, test_fraction=0.2).info.num_test == 2


def test_another_file_than_the_stated_one_is_never_in_place(hub, tmp_path):
    path = "data/train-00001-of-00002.parquet"
    entries = hub.entries()
    hub.entries = lambda: entries
    hub.files[path] = bytes(len(hub.files[path]))
    with pytest.raises(FrepoError, match=rf"could not be fetched; .*\n.*{path} is another file than the published one"):
        fetched(tmp_path)
    assert not (directory(tmp_path) / path).exists()
    with pytest.raises(FrepoError, match="lacks"):
        loaded(tmp_path)


def test_a_file_that_was_damaged_later_is_found(hub, tmp_path):
    fetch_missing(table(), tmp_path / "data")
    path = directory(tmp_path) / "data" / "test-00000-of-00001.parquet"
    content = bytearray(path.read_bytes())
    content[20] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        FrepoError, match=r"test-00000-of-00001\.parquet is damaged: its SHA-256 is not that of the Hub; set aside as"
    ):
        loaded(tmp_path)
    assert path.with_name(f"{path.name}.damaged").read_bytes() == content
    fetch_missing(table(), tmp_path / "data")
    loaded(tmp_path)


def test_a_private_data_set_needs_a_token_that_no_other_host_gets(hub, tmp_path, monkeypatch):
    hub.private = True
    with pytest.raises(FrepoError, match=r"does not show .* \(401\): .*private or gated .*set HF_TOKEN to a token"):
        fetched(tmp_path)
    monkeypatch.setenv("HF_TOKEN", "another")
    with pytest.raises(FrepoError, match=r"\(401\): .*the account of HF_TOKEN may not see it"):
        fetched(tmp_path)
    monkeypatch.setenv("HF_TOKEN", SECRET)
    before = len(hub.asked)
    assert fetched(tmp_path).info.num_train == len(LABELS)
    for path, token in hub.asked[before:]:
        assert token == (None if path.startswith("/store/") else f"Bearer {SECRET}"), path
    assert sum(path.startswith("/store/") for path in hub.paths()) == 3


def test_files_of_a_gated_data_set_that_is_listed_need_a_token(hub, tmp_path, monkeypatch):
    hub.gated = True
    with pytest.raises(
        FrepoError, match=r"resolve/.*: 401 Unauthorized\n.*set HF_TOKEN, which files of private and gated"
    ):
        fetched(tmp_path)
    monkeypatch.setenv("HF_TOKEN", SECRET)
    assert fetched(tmp_path).info.num_train == len(LABELS)


def test_the_mirror_gives_files_only_and_gets_no_token(hub, tmp_path, monkeypatch):
    monkeypatch.setenv(MIRROR, f"{hub.url}/mirror")
    monkeypatch.setenv("HF_TOKEN", SECRET)
    base = f"hf/some-one/birds.v2/{COMMIT}"
    hub.mirrored = {f"{base}/{path}": content for path, content in hub.files.items()}
    assert fetched(tmp_path).info.num_train == len(LABELS)
    mirrored = [(path, token) for path, token in hub.asked if path.startswith("/mirror/")]
    assert len(mirrored) == 3
    assert {token for _, token in mirrored} == {None}
    assert not [path for path in hub.paths() if path.startswith("/datasets/")]
    hub.mirrored = dict.fromkeys(hub.mirrored, b"another file")
    fetch_missing(table(), tmp_path / "again")
    assert [path for path in hub.paths() if path.startswith("/datasets/")]


def test_an_unknown_commit_is_said_to_be_unknown(hub, tmp_path):
    with pytest.raises(
        FrepoError, match=rf"does not show {NAME} at {'1' * 40} \(404\): there is no such data set or com"
    ):
        fetched(tmp_path, revision="1" * 40)


def test_a_commit_without_parquet_files_names_the_one_of_the_conversion(hub, tmp_path):
    hub.files = {}
    with pytest.raises(FrepoError, match=rf"has no parquet files at commit {COMMIT}; nor has the Hub converted it"):
        fetched(tmp_path)
    hub.branches["refs/convert/parquet"] = CONVERTED
    with pytest.raises(FrepoError, match=rf'is another commit: set revision = "{CONVERTED}"'):
        fetched(tmp_path)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"path": "../../train.parquet"}, r"a file '\.\./\.\./train\.parquet', which is no plain path"),
        ({"path": "/etc/train.parquet"}, "which is no plain path"),
        ({"path": "a\\..\\train.parquet"}, "which is no plain path"),
        ({"path": "a\n/train.parquet"}, "which is no plain path"),
        ({"lfs": None}, r"states no SHA-256 of train\.parquet to check it by"),
        ({"lfs": {"oid": "1"}}, "states no SHA-256"),
        ({"lfs": {"oid": "a" * 64, "size": "1"}}, "does not answer as the Hub does; check HF_ENDPOINT"),
    ],
)
def test_a_list_of_files_that_cannot_be_trusted_is_refused(hub, tmp_path, change, expected):
    entry = {"type": "file", "path": "train.parquet", "size": 3, "lfs": {"oid": "a" * 64}, **change}
    hub.entries = lambda: [entry]
    with pytest.raises(FrepoError, match=expected):
        fetched(tmp_path)
    assert not directory(tmp_path).exists()


@pytest.mark.parametrize("answer", [b"<html>", b"[1]", b'"text"', b"{}"])
def test_a_server_that_is_not_the_hub_is_said_to_be_none(hub, tmp_path, answer):
    hub.api = lambda *_: (200, answer)
    with pytest.raises(FrepoError, match="does not answer as the Hub does; check HF_ENDPOINT"):
        fetched(tmp_path)


def test_without_a_server_the_way_out_is_named(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        FrepoError, match=r"http://127\.0\.0\.1:9/api/.*refused; HF_ENDPOINT names another server; .*'parquet'"
    ):
        fetched(tmp_path)


def test_a_damaged_index_is_named_and_fetched_again(hub, tmp_path, capsys):
    directory(tmp_path).mkdir(parents=True)
    (directory(tmp_path) / "index.json").write_text("{}")
    fetched(tmp_path)
    said = capsys.readouterr().err
    assert "index.json is damaged" in said
    assert "set aside as index.json.damaged" in said
    assert (directory(tmp_path) / "index.json.damaged").read_text() == "{}"


def test_preparing_prints_what_a_spec_needs(hub, tmp_path, capsys):
    assert prepare(NAME, None, tmp_path / "data") == directory(tmp_path)
    assert f'[dataset]\nname = "{NAME}"\nrevision = "{COMMIT}"\n' in capsys.readouterr().err
    prepare(NAME, None, tmp_path / "data", {"revision": "main", "test_split": "train"})
    assert f'revision = "{COMMIT}"\ntest_split = "train"\n' in capsys.readouterr().err
    with pytest.raises(FrepoError, match=r"does not show .* at v9 \(404\)"):
        prepare(NAME, None, tmp_path / "data", {"revision": "v9"})
    with pytest.raises(SpecError, match="--from: parquet files at hand need no preparation"):
        prepare(NAME, tmp_path, tmp_path / "data")
    with pytest.raises(SpecError, match=r"--train-split: for data sets of the Hugging Face Hub only"):
        prepare("cifar10", None, tmp_path / "data", {"train_split": "train"})


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"revision": None}, rf"needs revision = 'COMMIT', 40 hex digits, .*`frepo data prepare {NAME}`"),
        ({"revision": "main"}, "'main' is no commit of 40 hex digits; `frepo data prepare"),
        ({"name": "hf://birds"}, "'hf://birds' is not allowed; a data set of the Hugging Face Hub is hf://OWNER/NAME"),
        ({"name": "hf://a/../b"}, "is hf://OWNER/NAME"),
        ({"name": "digits"}, "revision is read by name = 'hf://OWNER/NAME' only"),
        ({"path": "here"}, "path is read by name = 'image_folder' and 'parquet' only"),
        (
            {"name": "digits", "revision": None, "config": "a"},
            "config is read by name = 'parquet' and 'hf://OWNER/NAME'",
        ),
        ({"name": "uoft-cs/cifar10", "revision": None}, "of the Hugging Face Hub it is hf://uoft-cs/cifar10"),
    ],
)
def test_a_table_that_means_nothing_is_refused(fields, expected):
    with pytest.raises(ValueError, match=expected):
        table(**fields)


def test_a_name_ends_in_what_decides_over_mirror_images():
    assert family_of("hf://zalando-datasets/fashion-mnist") == "fashion_mnist"


def test_results_of_other_commits_and_configs_are_other_tasks(fake_runs, database):
    for number, config in enumerate(("a", "b")):
        fake_runs(f"run{number}", dataset={"name": NAME, "revision": COMMIT, "config": config})
    rows = query(database(), "SELECT DISTINCT dataset, part FROM leaderboard WHERE origin = 'run' ORDER BY ALL").rows
    assert rows == ((NAME, "a, commit 0b27149"), (NAME, "b, commit 0b27149"))


def test_a_run_fetches_its_data_set_and_repeats_without_the_network(hub, workplace, commands_compile_quickly):
    data = ("--data-dir", str(workplace.path / "data"))
    spec = workplace.spec(
        dataset=f'name = "{NAME}"\nrevision = "{COMMIT}"',
        distill='method = "frepo"\nipc = 1\nsteps = 2\nbatch_size = 4',
        application='type = "evaluate"\nnum_models = 1\nsteps = 2\nwarmup_steps = 1\naugmentation = []',
    )
    err = workplace.frepo("run", spec, "--offline", *data, code=1)[1]
    assert f"frepo data prepare {NAME} --revision {COMMIT}" in err
    assert hub.asked == []
    out, err = workplace.frepo("run", spec, *data)
    assert NAME in out
    assert "fetching" in err
    before = len(hub.asked)
    workplace.frepo("run", spec, "--offline", "--fresh", *data)
    assert len(hub.asked) == before
    assert f"{NAME} " in workplace.frepo("data", "list", *data)[0]
    out, err = workplace.frepo("data", "prepare", NAME, *data)
    assert out.strip() == str(directory(workplace.path))
    assert f'revision = "{COMMIT}"' in err
