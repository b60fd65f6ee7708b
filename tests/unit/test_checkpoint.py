import contextlib
import hashlib
import io
import re
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import serialization
from hypothesis import given, settings
from hypothesis import strategies as st

import frepo
from frepo.engine.checkpoint import restore_newest, save_state
from frepo.errors import FrepoError
from frepo.rundir.state import Unusable


class Member(NamedTuple):
    params: dict[str, jax.Array]
    opt_state: optax.OptState
    age: jax.Array


class State(NamedTuple):
    step: jax.Array
    member: Member
    key: jax.Array
    extra: dict[str, Any]


def make_state(seed: int) -> State:
    """Return a state with an optimiser in mid-course and floats of awkward bits."""
    params = {"w": jax.random.normal(jax.random.key(seed), (2, 3)), "b": jnp.array([-0.0, jnp.nan, jnp.inf, 1e-45])}
    optimizer = optax.chain(optax.scale_by_adam(), optax.scale_by_learning_rate(optax.constant_schedule(0.1)))
    _, opt_state = optimizer.update(params, optimizer.init(params), params)
    extra = {"half": jnp.arange(3, dtype=jnp.bfloat16), "flags": np.array([True, False]), "pair": (jnp.int8(3), None)}
    return State(
        jnp.int32(seed), Member(params, opt_state, jnp.arange(4)), jax.random.key_data(jax.random.key(seed)), extra
    )


OLD, NEW = make_state(1), make_state(2)


def bits(tree: Any) -> list[tuple[tuple[int, ...], str, bytes]]:
    return [(np.shape(leaf), str(np.asarray(leaf).dtype), np.asarray(leaf).tobytes()) for leaf in jax.tree.leaves(tree)]


def restore_quietly(directory: Path, like: Any) -> tuple[Any, str]:
    """Return what was restored and what was said about it."""
    with contextlib.redirect_stderr(io.StringIO()) as said:
        return restore_newest(directory, like), said.getvalue()


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> dict[str, bytes]:
    """Return the files that hold the state after step 1 and that after step 2."""
    directory = tmp_path_factory.mktemp("saved")
    return {save_state(directory, step, state).name: _bytes(directory, step) for step, state in ((1, OLD), (2, NEW))}


def _bytes(directory: Path, step: int) -> bytes:
    return next(directory.glob(f"*{step}.state")).read_bytes()


@pytest.mark.parametrize("like", [OLD, jax.eval_shape(lambda: OLD)], ids=["arrays", "shapes"])
def test_a_state_comes_back_bit_for_bit(tmp_path, like):
    save_state(tmp_path / "made" / "here", 17, NEW)
    found = restore_newest(tmp_path / "made" / "here", like)
    assert found is not None
    step, state = found
    assert step == 17
    assert jax.tree.structure(state) == jax.tree.structure(NEW)
    assert bits(state) == bits(NEW)
    assert bits(state) != bits(OLD)


def test_a_restored_optimizer_goes_on_as_if_nothing_had_happened(tmp_path):
    save_state(tmp_path, 1, NEW)
    _, restored = restore_newest(tmp_path, OLD) or pytest.fail("nothing was restored")
    optimizer = optax.chain(optax.scale_by_adam(), optax.scale_by_learning_rate(optax.constant_schedule(0.1)))
    updates = [optimizer.update(s.member.params, s.member.opt_state, s.member.params) for s in (NEW, restored)]
    assert bits(updates[0]) == bits(updates[1])


def test_without_a_saved_state_there_is_none(tmp_path):
    assert restore_newest(tmp_path, OLD) is None
    assert restore_newest(tmp_path / "nothing", OLD) is None


@pytest.mark.parametrize("steps", [[1, 2, 3, 4], [9, 10, 11], [5, 5, 6, 1_000_000]])
def test_the_newest_two_are_kept_and_the_newest_is_used(tmp_path, steps):
    for step in steps:
        save_state(tmp_path, step, {"a": np.int32(step)})
    assert sorted(int(path.stem) for path in tmp_path.iterdir()) == sorted(set(steps))[-2:]
    assert restore_newest(tmp_path, {"a": np.int32(0)}) == (steps[-1], {"a": steps[-1]})


def test_a_failed_save_leaves_the_earlier_ones(tmp_path, file_size_limit):
    save_state(tmp_path, 1, OLD)
    with file_size_limit(100), pytest.raises(OSError, match="File too large"):
        save_state(tmp_path, 2, NEW)
    assert [path.name for path in tmp_path.iterdir()] == ["000000000001.state"]
    assert bits(restore_newest(tmp_path, NEW)[1]) == bits(OLD)


def assert_old_is_used(saved: dict[str, bytes], newest: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        old_name, new_name = saved
        (directory / old_name).write_bytes(saved[old_name])
        (directory / new_name).write_bytes(newest)
        (step, state), said = restore_quietly(directory, NEW)
        assert (step, bits(state)) == (1, bits(OLD))
        aside = Path(new_name).with_suffix(".damaged")
        assert sorted(path.name for path in directory.iterdir()) == [old_name, aside.name]
        assert (directory / aside).read_bytes() == newest
        assert re.fullmatch(
            rf"warning: the saved state .*{new_name} is damaged \(.+\); set aside as {aside},.*\n", said
        )


@settings(derandomize=True, deadline=None, max_examples=250)
@given(position=st.integers(0), change=st.integers(1, 255))
def test_a_changed_byte_is_noticed_and_the_older_state_used(saved, position, change):
    content = bytearray(list(saved.values())[1])
    content[position % len(content)] ^= change
    assert_old_is_used(saved, bytes(content))


@settings(derandomize=True, deadline=None, max_examples=120)
@given(length=st.integers(0))
def test_a_file_cut_off_anywhere_is_noticed_and_the_older_state_used(saved, length):
    content = list(saved.values())[1]
    assert_old_is_used(saved, content[: length % len(content)])


def test_bytes_behind_the_end_are_noticed(saved):
    assert_old_is_used(saved, list(saved.values())[1] + b"\x00")


def test_when_all_are_damaged_there_is_none(tmp_path):
    for step in (1, 2):
        save_state(tmp_path, step, OLD).write_bytes(b"frepo-state-1\nnothing")
    found, said = restore_quietly(tmp_path, OLD)
    assert found is None
    assert said.count("warning: ") == 2
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".damaged", ".damaged"]


ARRAY = np.zeros(3, np.float32)


@pytest.mark.parametrize(
    ("state", "like"),
    [
        ({"a": ARRAY}, {"a": np.zeros(4, np.float32)}),
        ({"a": ARRAY}, {"a": np.zeros((3, 1), np.float32)}),
        ({"a": ARRAY}, {"a": np.float32(0)}),
        ({"a": ARRAY}, {"a": np.zeros(3, np.int32)}),
        ({"a": ARRAY}, {"a": jax.ShapeDtypeStruct((3,), jnp.bfloat16)}),
        ({"a": ARRAY}, {"a": ARRAY, "b": ARRAY}),
        ({"a": ARRAY, "b": ARRAY}, {"a": ARRAY, "b": None}),
        ({"a": (ARRAY,)}, {"a": (ARRAY, ARRAY)}),
        ({"a": {"b": ARRAY}}, {"a": ARRAY}),
        ({"a": ARRAY}, {"a": {"b": ARRAY}}),
        ({"a": (ARRAY,)}, {"a": (ARRAY, optax.EmptyState())}),
    ],
    ids=[
        *("longer", "more axes", "scalar", "integers", "half precision", "a field more"),
        *("none", "longer tuple", "array for table", "table for array", "an empty part more"),
    ],
)
def test_an_intact_state_of_another_structure_is_an_error_and_stays(tmp_path, state, like):
    for step in (1, 2):
        save_state(tmp_path, step, state)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(FrepoError, match=r"2\.state is intact, but has another structure: \['[ab]'\].* --fresh"):
        restore_newest(tmp_path, like)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_state_that_cannot_be_read_at_the_moment_is_an_error_and_stays(tmp_path):
    save_state(tmp_path, 1, OLD)
    (tmp_path / "000000000002.state").symlink_to("000000000002.state")  # reading it is an OSError, for root, too
    with pytest.raises(FrepoError, match=r"2\.state cannot be read \(Too many levels.*\).*run the same command again"):
        restore_newest(tmp_path, NEW)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000000001.state", "000000000002.state"]


def test_a_directory_in_place_of_a_state_is_set_aside_and_the_older_one_used(tmp_path, capsys):
    save_state(tmp_path, 1, OLD)
    (tmp_path / "000000000002.state").mkdir()
    assert restore_newest(tmp_path, NEW)[0] == 1
    assert "2.state is a directory; set aside as 000000000002.damaged" in capsys.readouterr().err
    for step in (3, 4):
        save_state(tmp_path, step, NEW)
    assert sorted(path.name for path in tmp_path.glob("*.state")) == ["000000000003.state", "000000000004.state"]


def test_a_state_that_is_not_accepted_is_set_aside_and_the_older_one_used(tmp_path, capsys):
    for step in (1, 2):
        save_state(tmp_path, step, OLD)

    def accept(made_under, path):
        if path.stem.endswith("2"):
            raise Unusable("does not suit")

    assert restore_newest(tmp_path, NEW, accept)[0] == 1
    assert "2.state does not suit; set aside as 000000000002.damaged" in capsys.readouterr().err


def test_a_state_of_a_newer_version_is_no_damage(tmp_path):
    body = b"in a form of its own"
    magic = b"frepo-state-3\n"
    (tmp_path / "000000000002.state").write_bytes(magic + hashlib.sha256(magic + body).digest() + body)
    with pytest.raises(FrepoError, match="of a newer frepo"):
        restore_newest(tmp_path, NEW)
    assert [path.name for path in tmp_path.iterdir()] == ["000000000002.state"]


def test_a_state_of_the_first_version_is_read(tmp_path):
    payload = serialization.to_bytes(NEW)
    (tmp_path / "000000000002.state").write_bytes(b"frepo-state-1\n" + hashlib.sha256(payload).digest() + payload)
    made_under = []
    step, state = restore_newest(tmp_path, OLD, lambda said, _: made_under.append(said)) or pytest.fail("not read")
    assert (step, bits(state), made_under) == (2, bits(NEW), [{}])


def test_a_state_says_what_it_was_made_under_before_it_is_used(tmp_path):
    path = save_state(tmp_path, 1, OLD, {"XLA_FLAGS": None, "jax": "0"})

    def refuse(*said):
        raise FrepoError(str(said))

    with pytest.raises(FrepoError, match=re.escape(str(({"XLA_FLAGS": None, "jax": "0"}, path)))):
        restore_newest(tmp_path, {"another": "structure"}, refuse)
    assert [path.name for path in tmp_path.iterdir()] == [path.name]


def test_a_state_of_another_program_is_refused(tmp_path):
    (tmp_path / "000000000001.state").write_bytes(serialization.to_bytes({"a": ARRAY}))
    found, said = restore_quietly(tmp_path, {"a": ARRAY})
    assert found is None
    assert "its digest does not match" in said


def test_nothing_is_ever_unpickled():
    sources = {path: path.read_text() for path in Path(frepo.__file__).parent.rglob("*.py")}
    assert len(sources) > 20
    modules = r"^\s*(import|from) (c?pickle|cloudpickle|dill|joblib|shelve|marshal)\b"
    forbidden = re.compile(modules + r"|allow_pickle\s*=\s*True", re.MULTILINE)
    assert [str(path) for path, text in sources.items() if forbidden.search(text)] == []
    loads = [call for text in sources.values() for call in re.findall(r"np\.load\([^\n]*", text)]
    assert loads
    assert [call for call in loads if "allow_pickle=False" not in call] == []
