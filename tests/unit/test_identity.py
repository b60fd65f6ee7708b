import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frepo.plan.identity import canonical_json, differences, fingerprint

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
quick = settings(derandomize=True, deadline=None, max_examples=100)


def backwards(value):
    """Return an equal value whose mappings list their keys the other way round."""
    if isinstance(value, dict):
        return {key: backwards(value[key]) for key in reversed(value)}
    return [backwards(entry) for entry in value] if isinstance(value, list) else value


@quick
@given(json_values)
def test_canonical_json_reads_back_as_the_same_value(value):
    text = canonical_json(value)
    assert json.loads(text) == value
    assert canonical_json(json.loads(text)) == text


@quick
@given(json_values)
def test_the_order_of_keys_is_irrelevant(value):
    assert canonical_json(backwards(value)) == canonical_json(value)
    assert fingerprint(backwards(value)) == fingerprint(value)


@quick
@given(json_values, json_values)
def test_fingerprints_are_equal_exactly_when_the_texts_are(one, other):
    assert (fingerprint(one) == fingerprint(other)) == (canonical_json(one) == canonical_json(other))


def test_canonical_json_is_ascii_without_spaces_and_sorted():
    assert (
        canonical_json({"b": [True, None, 0.1, "é"], "a": 1, "c": {}}) == r'{"a":1,"b":[true,null,0.1,"\u00e9"],"c":{}}'
    )


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (True, 1), (0, False), ("1", 1), ([], {}), (None, "null")])
def test_values_of_different_types_have_different_fingerprints(one, other):
    assert fingerprint({"a": one}) != fingerprint({"a": other})


def test_the_fingerprint_of_a_known_value_stays_what_it_is():
    assert (
        fingerprint({"b": [True, None, 0.1, "é"], "a": 1, "c": {}})
        == "29364620f10652d9b5532ff8ef91d4e05028646af4b34045343534dec340118c"
    )


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (math.nan, r"value\.a\[1\] is nan"),
        (math.inf, r"value\.a\[1\] is inf"),
        (-math.inf, r"value\.a\[1\] is -inf"),
        ({1, 2}, r"value\.a\[1\] is \{1, 2\} \(set\)"),
        (Path("p"), r"value\.a\[1\] is .*Path"),
        (b"bytes", r"value\.a\[1\] is b'bytes' \(bytes\)"),
        ((1, 2), r"value\.a\[1\] is \(1, 2\) \(tuple\)"),
        (object(), r"value\.a\[1\] is .*object"),
        ({1: 2}, r"value\.a\[1\] has the key 1, which is not a string"),
        ({None: 2}, r"value\.a\[1\] has the key None, which is not a string"),
    ],
)
def test_what_has_no_stable_text_is_refused_and_named(value, where):
    with pytest.raises(TypeError, match=where):
        canonical_json({"a": [0, value]})
    with pytest.raises(TypeError, match=where):
        fingerprint({"a": [0, value]})


@quick
@given(json_values)
def test_equal_values_have_no_differences(value):
    assert differences(value, backwards(value)) == []


def test_differences_name_each_leaf_with_both_values():
    old = {"seed": 0, "distill": {"ipc": 1, "steps": 10}, "pool": {"size": 3}, "list": [1, 2], "same": [1]}
    new = {"seed": 1, "distill": {"ipc": 1, "steps": 20}, "pool": None, "list": [1, 3], "same": [1], "new": "n"}
    assert [str(change) for change in differences(old, new)] == [
        "seed: 0 -> 1",
        "distill.steps: 10 -> 20",
        'pool: {"size":3} -> null',
        "list: [1,2] -> [1,3]",
        'new: (absent) -> "n"',
    ]


def test_a_field_that_went_away_is_a_difference():
    assert differences({"a": {"b": 1}}, {"a": {}}) == [("a.b", "1", "(absent)")]


def test_lists_of_objects_are_compared_by_position():
    old = {"application": [{"type": "evaluate", "steps": 10}]}
    new = {"application": [{"type": "evaluate", "steps": 20}, {"type": "continual"}]}
    assert [str(change) for change in differences(old, new)] == [
        "application.0.steps: 10 -> 20",
        'application.1: (absent) -> {"type":"continual"}',
    ]
