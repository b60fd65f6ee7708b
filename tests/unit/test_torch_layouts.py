"""Files that PyTorch writes, and the layouts in which other methods save their sets with it."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from frepo.errors import FrepoError
from frepo.exchange.imports.interpret import interpret
from frepo.exchange.imports.read import read_arrays

CLASSES, IPC, SHAPE = 3, 2, (4, 5, 3)
NUMBERS = np.repeat(np.arange(CLASSES), IPC)


def images() -> np.ndarray:
    """Return images with channels first, as PyTorch has them."""
    return np.random.default_rng(0).normal(size=(CLASSES * IPC, 3, 4, 5)).astype(np.float32)


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


def saved(torch: Any, path: Path, value: Any, *, legacy: bool = False) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=not legacy)
    return path


TYPES = ("float16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32")


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("dtype", TYPES)
def test_tensors_of_every_type_come_back(tmp_path, torch, dtype, legacy):
    values = np.arange(24).reshape(2, 3, 4).astype(dtype)
    given_images = torch.from_numpy(values).permute(2, 0, 1)
    path = saved(torch, tmp_path / "set.pt", {"images": given_images, "labels": given_images[1:, 1, 2:]}, legacy=legacy)
    found = read_arrays(path)
    np.testing.assert_array_equal(found.images, values.transpose(2, 0, 1), strict=True)
    np.testing.assert_array_equal(found.labels, values.transpose(2, 0, 1)[1:, 1, 2:], strict=True)


def test_half_numbers_of_google_come_back(tmp_path, torch):
    values = torch.arange(5).to(torch.bfloat16) / 3
    found = read_arrays(saved(torch, tmp_path / "set.pt", [values, values]))
    np.testing.assert_array_equal(found.images, values.float().numpy().astype(ml_dtypes.bfloat16), strict=True)


def test_truths_are_no_numbers(tmp_path, torch):
    path = saved(torch, tmp_path / "set.pt", [torch.zeros(2), torch.zeros(2, dtype=torch.bool)])
    with pytest.raises(FrepoError, match=r"\[1\] has numbers of the kind 'bool'; save them as float32"):
        read_arrays(path)


def test_whatever_is_saved_beside_the_set_is_gone_past(tmp_path, torch):
    network = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    beside = {
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "accuracy": [np.float64(0.3), np.float32(0.4), np.int64(3), np.bool_(True), 2**70, -1, None, "é", b"b", 0.5],
        "curve": np.zeros((0, 3)),
        "names": np.array(["plane"]),
        "size": torch.zeros(2, 3).shape,
        "none": torch.zeros(0),
        "truth": torch.ones(2, dtype=torch.bool),
        "nested": OrderedDict(a=OrderedDict(b=({3: 4},))),
    }
    first = torch.nn.Parameter(torch.arange(12.0).reshape(3, 4))
    found = read_arrays(saved(torch, tmp_path / "set.pt", {**beside, "images": first, "labels": np.arange(3)}))
    np.testing.assert_array_equal(found.images, np.arange(12, dtype=np.float32).reshape(3, 4), strict=True)
    np.testing.assert_array_equal(found.labels, np.arange(3), strict=True)


def test_arrays_of_numpy_come_back(tmp_path, torch):
    values = np.asfortranarray(np.arange(12, dtype=">f4").reshape(3, 4))
    found = read_arrays(saved(torch, tmp_path / "set.pt", [values, values[:, 0].astype(np.int16)]))
    np.testing.assert_array_equal(found.images, np.arange(12, dtype=np.float32).reshape(3, 4), strict=True)
    np.testing.assert_array_equal(found.labels, np.array([0, 4, 8], np.int16), strict=True)


# layouts


def fit(path: Path, labels: Path | None = None, **said: Any) -> tuple[np.ndarray, np.ndarray, str]:
    found = interpret(read_arrays(path, labels), SHAPE, CLASSES, IPC, pixels=None, **said)
    return found.images, found.labels, "\n".join(found.notes)


def check(found: tuple[np.ndarray, np.ndarray, str], *said: str) -> None:
    np.testing.assert_array_equal(found[0], images().transpose(0, 2, 3, 1))
    np.testing.assert_allclose(found[1], np.eye(CLASSES)[NUMBERS] - 1 / CLASSES, atol=1e-6)
    for words in said:
        assert words in found[2]
    assert "channels moved to the end" in found[2]


@pytest.fixture
def pair(torch) -> tuple[Any, Any]:
    return torch.from_numpy(images()), torch.from_numpy(NUMBERS)


@pytest.mark.parametrize("stem", ["{}_best", "{}", "{}_DC_CIFAR10_1_best"])
def test_two_tensors_in_two_files(tmp_path, torch, pair, stem):
    path, beside = (tmp_path / f"{stem.format(name)}.pt" for name in ("images", "labels"))
    saved(torch, path, pair[0])
    with pytest.raises(FrepoError, match=r"holds images only; name the file of their labels with --labels FILE"):
        read_arrays(path)
    saved(torch, beside, pair[1])
    saved(torch, tmp_path / "lr_best.pt", 0.02)
    check(fit(path), f"images are the tensor of {path} and labels the tensor in {beside.name} of {beside}", "MTT, DATM")
    assert read_arrays(tmp_path).path == path  # the folder they lie in
    other = saved(torch, tmp_path / "other.pth", pair[1].flip(0))
    assert read_arrays(path, other).labels.tolist() == NUMBERS[::-1].tolist()


def test_a_folder_of_several_sets_has_no_only_one(tmp_path, torch, pair):
    for step in ("100", "best"):
        for name, value in zip(("images", "labels"), pair, strict=True):
            saved(torch, tmp_path / f"{name}_{step}.pt", value)
    with pytest.raises(
        FrepoError, match=r"several files to choose from, name one: 'images_100\.pt', 'images_best\.pt'"
    ):
        read_arrays(tmp_path)


def test_labels_are_one_tensor_in_a_file_of_pytorch(tmp_path, torch, pair):
    path = saved(torch, tmp_path / "set.pt", pair[0])
    with pytest.raises(FrepoError, match=r"there is no file .*nowhere"):
        read_arrays(path, tmp_path / "nowhere")
    np.save(tmp_path / "labels.npy", NUMBERS)
    with pytest.raises(FrepoError, match=r"labels\.npy is no Flax checkpoint and no"):
        read_arrays(path, tmp_path / "labels.npy")
    np.savez(tmp_path / "labels.npz", images=NUMBERS, labels=NUMBERS)
    with pytest.raises(
        FrepoError, match=r"labels\.npz is no file of torch\.save, or is cut off; save labels with torch\.save"
    ):
        read_arrays(path, tmp_path / "labels.npz")
    saved(torch, tmp_path / "labels.pt", {"a": pair[1]})
    with pytest.raises(FrepoError, match=r"labels\.pt holds a dictionary with 'a', not labels: one tensor"):
        read_arrays(path, tmp_path / "labels.pt")
    (tmp_path / "labels.pt").write_bytes(path.read_bytes()[:-9])
    with pytest.raises(FrepoError, match=r"labels\.pt is no file of torch\.save, or is cut off"):
        read_arrays(path, tmp_path / "labels.pt")


def test_the_last_of_several_experiments(tmp_path, torch, pair):
    worse = [pair[0] * 0, pair[1]]
    accuracies = {"ConvNet": [np.float64(0.3)]}
    path = saved(torch, tmp_path / "res.pt", {"data": [worse, list(pair)], "accs_all_exps": accuracies})
    check(fit(path), "images are data[1][0]", "a list of 2 sets as its data, as DC, DSA and DM save them: the last was")
    path = saved(torch, tmp_path / "res.pt", {"data": [list(pair)], "accs_all_exps": {}})
    check(fit(path), "a list of 1 sets as its data, as DC, DSA and DM save them")
    check(fit(saved(torch, tmp_path / "datm.pt", {"data": tuple(pair)})), "[images, labels] as its data, as DATM")


def test_a_list_of_images_and_labels(tmp_path, torch, pair):
    path = saved(torch, tmp_path / "data_best.pt", list(pair))
    check(fit(path), "images are [0] and labels [1]", "it is [images, labels], as IDC, DREAM and NCFM save them")
    check(fit(saved(torch, tmp_path / "old.pt", pair, legacy=True)))


def rat_bptt(torch: Any, learned: Any = None) -> dict[str, Any]:
    """Return a checkpoint of RaT-BPTT, whose images are rows of numbers."""
    rows = torch.nn.Parameter(torch.from_numpy(images().reshape(len(NUMBERS), -1)))
    checkpoint = {
        "epoch": 3,
        "model_state_dict": {"module.data.weight": rows.detach().clone()},
        "optimizer_state_dict": torch.optim.Adam([rows]).state_dict(),
    }
    return checkpoint if learned is None else checkpoint | {"label_state_dict": {"module.label.weight": learned}}


def test_a_checkpoint_of_rat_bptt(tmp_path, torch):
    found = fit(saved(torch, tmp_path / "set.pth", rat_bptt(torch)))
    check(found, "images are model_state_dict/module.data.weight and labels their places", "a checkpoint of RaT-BPTT")
    learned = torch.nn.functional.one_hot(torch.from_numpy(NUMBERS)).float()
    check(fit(saved(torch, tmp_path / "set.pth", rat_bptt(torch, learned))), "labels label_state_dict/module.label.w")


def test_names_in_a_dictionary(tmp_path, torch, pair):
    check(fit(saved(torch, tmp_path / "set.pt", {"x": pair[0], "y": pair[1], "lr": 0.1})), "images are x and labels y")
    path = saved(torch, tmp_path / "set.pt", {"images": pair[0]})
    with pytest.raises(FrepoError, match="holds images only"):
        read_arrays(path)
    check(fit(path, saved(torch, tmp_path / "numbers.pt", pair[1])))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"net": 3}, "a dictionary with 'net': no images and labels in a layout that is known; save one of them"),
        ({}, "a dictionary with nothing: no images"),
        ([1, 2, 3], "a list of 3: no images"),
        (0.02, "holds neither list nor dictionary: no images"),
        ({"data": [[1, 2]]}, "no images and labels in a layout"),
    ],
)
def test_another_layout_is_refused(tmp_path, torch, value, message):
    with pytest.raises(FrepoError, match=message):
        read_arrays(saved(torch, tmp_path / "set.pt", value))


def test_several_sets_in_one_file_are_refused(tmp_path, torch, pair):
    both_ways = {"images": pair[0], "labels": pair[1], "data": [list(pair)]}
    with pytest.raises(FrepoError, match="several sets of images and labels"):
        read_arrays(saved(torch, tmp_path / "set.pt", both_ways))


def test_labels_of_pytorch_may_be_logits(tmp_path, torch, pair):
    small = torch.nn.functional.one_hot(pair[1]).float() * 1.5
    path = saved(torch, tmp_path / "set.pt", [pair[0], small])
    with pytest.raises(FrepoError, match=r"rows do not sum to 1: say --logits if .*, --no-logits if networks"):
        fit(path)
    for logits, words in ((True, "logits, whose softmax loss = 'soft_xent' trains on"), (False, "centred soft labels")):
        found = fit(path, logits=logits)
        np.testing.assert_array_equal(found[1], small.numpy())
        assert words in found[2]
    large = interpret(read_arrays(saved(torch, path, [pair[0], 9 * small])), SHAPE, CLASSES, IPC, pixels=None)
    assert any("labels are taken as they are: logits" in note for note in large.notes)
    assert "look like logits" in large.doubts[0]
    np.testing.assert_array_equal(large.labels, 9 * small.numpy())
    rows = torch.softmax(small, 1)
    chosen = fit(saved(torch, path, [pair[0], rows]), logits=True)[1]
    np.testing.assert_array_equal(chosen, rows.numpy())  # not centred, as probabilities are
    with pytest.raises(FrepoError, match="class numbers, which --logits does not suit"):
        fit(saved(torch, path, list(pair)), logits=True)
