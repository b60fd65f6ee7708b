"""Importing: what is looked at in which order, and specs that can be read once only."""

import os
from pathlib import Path

import numpy as np
import pytest

from frepo.errors import FrepoError, SpecError
from frepo.exchange.imports.imported import Said, imported
from frepo.execute import runner
from frepo.runtime import RuntimeOptions
from frepo.store.query import query

SPEC = """
name = "taken"
dataset.name = "{}"
distill = {{ method = "frepo", ipc = 1 }}
"""


@pytest.fixture
def options(tmp_path) -> RuntimeOptions:
    return RuntimeOptions(
        offline=True, runs_dir=tmp_path / "runs", database=tmp_path / "results.duckdb", data_dir=tmp_path / "no_data"
    )


def piped(text: str) -> Path:
    """Return a path that can be read once."""
    reader, writer = os.pipe()
    os.write(writer, text.encode())
    os.close(writer)
    return Path(f"/dev/fd/{reader}")


def test_the_file_is_read_before_the_data_set(tmp_path, options):
    (tmp_path / "spec.toml").write_text(SPEC.format("cifar10"))
    (tmp_path / "set.npz").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(FrepoError, match=r"set\.npz is a Git LFS pointer"):
        imported(tmp_path / "set.npz", tmp_path / "spec.toml", (), options, Said())
    np.savez(tmp_path / "set.npz", images=np.zeros((10, 32, 32, 3), np.float32), labels=np.arange(10))
    with pytest.raises(FrepoError, match=r"the data directory .*no_data does not exist"):
        imported(tmp_path / "set.npz", tmp_path / "spec.toml", (), options, Said())


def test_a_spec_that_imported_images_do_not_suit_is_refused_before_either(tmp_path, options):
    continual = 'application=[{type="continual", num_steps=2, num_classes=4}]'
    (tmp_path / "spec.toml").write_text(SPEC.format("cifar10"))
    with pytest.raises(SpecError, match="distils parts of the data, which imported images are not"):
        imported(tmp_path / "nowhere", tmp_path / "spec.toml", (continual,), options, Said())
    assert not (tmp_path / "runs").exists()


def test_a_spec_from_a_pipe_is_imported_for_with_logits_and_pixels_said(tmp_path, options, capsys):
    images = np.linspace(0, 255, 640, dtype=np.float32).reshape(10, 8, 8, 1)
    np.savez(tmp_path / "set.npz", images=images, labels=9 * np.eye(10, dtype=np.float32) - 1)
    spec = piped(SPEC.format("digits"))
    loaded = imported(tmp_path / "set.npz", spec, ("seed=3",), options, Said(pixels=255))
    assert loaded.spec.distill.method == "imported"
    assert not (options.runs_dir / "taken").exists()  # nothing is computed yet
    (run_id,) = runner.run([loaded], options)
    assert f"warning: {tmp_path / 'set.npz'}: labels are from -1 to 8 and look like logits" in capsys.readouterr().err
    assert query(options.database, "SELECT run_id, seed, ipc, method FROM runs").rows == ((run_id, 3, 1, "imported"),)
