import errno
import os
import stat
import time
from pathlib import Path

import pytest

from frepo.rundir.files import LEFT_FOR_SECONDS, directory_written_atomically, sha256_of_file, write_atomically


@pytest.fixture
def umask():
    def set_umask(mask: int) -> None:
        os.umask(mask)

    before = os.umask(0o022)
    yield set_umask
    os.umask(before)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.parametrize("content", [b"", b"new", b"\x00\r\n" * 100_000], ids=["empty", "short", "long"])
def test_a_written_file_holds_exactly_the_content(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    write_atomically(path, content)
    assert path.read_bytes() == content
    assert names(tmp_path) == ["file"]


def test_a_full_disk_leaves_the_old_content_and_nothing_else(tmp_path, file_size_limit):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with file_size_limit(1000), pytest.raises(OSError, match="File too large") as caught:
        write_atomically(path, b"new" * 1000)
    assert caught.value.errno == errno.EFBIG
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("function", ["fsync", "replace", "chmod"])
@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken disk"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_a_failing_system_call_leaves_the_old_content_and_nothing_else(tmp_path, monkeypatch, function, error):
    def fail(*arguments):
        raise error

    path = tmp_path / "file"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, function, fail)
    with pytest.raises(type(error)):
        write_atomically(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_file_that_was_not_there_is_not_there_after_a_failure(tmp_path, file_size_limit):
    with file_size_limit(0), pytest.raises(OSError, match="File too large"):
        write_atomically(tmp_path / "file", b"new")
    assert names(tmp_path) == []


def test_the_content_is_synced_before_it_takes_the_name(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    seen = []
    sync = os.fsync

    def watched_sync(handle):
        is_directory = stat.S_ISDIR(os.fstat(handle).st_mode)
        seen.append(("directory" if is_directory else "file", path.read_bytes()))
        sync(handle)

    monkeypatch.setattr(os, "fsync", watched_sync)
    write_atomically(path, b"new")
    assert seen == [("file", b"old"), ("directory", b"new")]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600), (0o002, 0o664)])
def test_the_mode_of_a_file_honours_the_umask(tmp_path, umask, mask, mode):
    umask(mask)
    write_atomically(tmp_path / "file", b"content")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode
    assert os.umask(mask) == mask


def test_a_directory_appears_whole(tmp_path):
    path = tmp_path / "above" / "it"
    with directory_written_atomically(path) as content:
        (content / "sub").mkdir()
        (content / "sub" / "file").write_text("text")
        assert not path.exists()
    assert (path / "sub" / "file").read_text() == "text"
    assert names(path) == ["sub"]
    assert names(path.parent) == ["it"]


def test_the_mode_of_a_directory_honours_the_umask(tmp_path, umask):
    umask(0o027)
    with directory_written_atomically(tmp_path / "it"):
        pass
    assert stat.S_IMODE((tmp_path / "it").stat().st_mode) == 0o750


@pytest.mark.parametrize("error", [OSError("broken disk"), ValueError("no"), KeyboardInterrupt()], ids=repr)
def test_a_directory_whose_writing_fails_never_appears(tmp_path, error):
    def fill(content: Path) -> None:
        (content / "file").write_text("text")
        raise error

    with pytest.raises(type(error)), directory_written_atomically(tmp_path / "it") as content:
        fill(content)
    assert names(tmp_path) == []


def test_a_directory_that_another_process_finished_first_stays(tmp_path):
    path = tmp_path / "it"
    with directory_written_atomically(path) as content:
        (content / "file").write_text("late")
        path.mkdir()
        (path / "file").write_text("first")
    assert (path / "file").read_text() == "first"
    assert names(tmp_path) == ["it"]


def test_what_a_kill_has_left_of_a_directory_is_removed_a_day_later(tmp_path):
    old, young, busy, other = (tmp_path / name for name in (".it.a.tmp", ".it.b.tmp", ".it.c.tmp", ".at.a.tmp"))
    for left in (old, young, busy, other):
        (left / "content").mkdir(parents=True)
        (left / "content" / "file").write_text("half")
    past = time.time() - LEFT_FOR_SECONDS - 10
    for left in (old, busy, other):
        for path in (left / "content" / "file", left / "content", left):
            os.utime(path, (past, past))
    (busy / "content" / "file").write_text("more")
    with directory_written_atomically(tmp_path / "it"):
        pass
    assert names(tmp_path) == [".at.a.tmp", ".it.b.tmp", ".it.c.tmp", "it"]


def test_the_digest_of_a_file_is_that_of_its_bytes(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert sha256_of_file(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
