import subprocess
import sys
from typing import Any

import pytest

from frepo.plan import NUMERICS_VERSION, Plan, compile_plan
from frepo.spec import ExperimentSpec

ALL = {"frepo", "evaluate-distilled", "random", "evaluate-random"}
LIGHT_MODULES = [
    "frepo.spec",
    "frepo.identity",
    "frepo.plan",
    "frepo.record",
    "frepo.store.connect",
    "frepo.store.ingest",
    "frepo.store.query",
    "frepo.store.tables",
    "frepo.report.page",
    "frepo.cli",
    "frepo.runner",
]


def plan(**changes: Any) -> Plan:
    """Return the plan of a small spec; `a__b=value` changes the field b of the table a."""
    spec: dict[str, Any] = {
        "name": "small",
        "seed": 0,
        "dataset": {"name": "digits"},
        "architecture": {"width": 32},
        "distill": {"method": "frepo", "ipc": 1},
        "application": [{"type": "evaluate", "baselines": ["random"]}],
    }
    for key, value in changes.items():
        *tables, field = key.split("__")
        node = spec
        for table in tables:
            node = node.setdefault(table, {})
        node[field] = value
    return compile_plan(ExperimentSpec.model_validate(spec))


def fingerprints(compiled: Plan) -> dict[str, str]:
    return {stage.label: stage.fingerprint for stage in compiled.stages}


def evaluate(**fields: Any) -> list[dict[str, Any]]:
    return [{"type": "evaluate", "baselines": ["random"], **fields}]


@pytest.mark.parametrize(
    ("changes", "changed"),
    [
        ({"name": "other"}, set()),
        ({"pool__size": 10}, set()),
        ({"architecture__depth": 3}, set()),
        ({"application": evaluate(num_models=5)}, set()),
        ({"seed": 1}, ALL),
        ({"dataset__name": "mnist"}, ALL),
        ({"dataset__preprocess": {"type": "zca"}}, ALL),
        ({"distill__ipc": 2}, ALL),
        ({"application": evaluate(num_models=3)}, {"evaluate-distilled", "evaluate-random"}),
        ({"application": evaluate(augmentation=["crop"])}, {"evaluate-distilled", "evaluate-random"}),
        ({"application": evaluate(normalization="batch")}, {"evaluate-distilled", "evaluate-random"}),
        ({"distill__steps": 7}, {"frepo", "evaluate-distilled"}),
        ({"distill__learning_rate": 0.5}, {"frepo", "evaluate-distilled"}),
        ({"pool__size": 2}, {"frepo", "evaluate-distilled"}),
        ({"architecture__normalization": "layer"}, {"frepo", "evaluate-distilled"}),
        ({"architecture__width": 16}, {"frepo", "evaluate-distilled", "evaluate-random"}),
        ({"architecture__depth": 2}, {"frepo", "evaluate-distilled", "evaluate-random"}),
    ],
    ids=str,
)
def test_a_change_reaches_the_stages_that_read_it_and_no_other(changes, changed):
    before, after = fingerprints(plan()), fingerprints(plan(**changes))
    assert set(before) == set(after) == ALL
    assert {label for label in ALL if before[label] != after[label]} == changed


def test_stages_stand_after_those_they_need():
    stages = plan().stages
    assert [stage.label for stage in stages] == ["frepo", "evaluate-distilled", "random", "evaluate-random"]
    assert [[need.label for need in stage.needs] for stage in stages] == [[], ["frepo"], [], ["random"]]


def test_leaving_out_a_baseline_keeps_the_other_stages():
    with_baseline, without = plan(), plan(application=[{"type": "evaluate"}])
    assert without.stages == with_baseline.stages[:2]
    assert fingerprints(without) == {
        label: found for label, found in fingerprints(with_baseline).items() if "random" not in label
    }


def test_equal_applications_are_computed_once():
    assert plan(application=evaluate() * 2).stages == plan().stages


def test_different_applications_share_what_they_read():
    labels = [stage.label for stage in plan(application=evaluate() + evaluate(num_models=2)).stages]
    assert sorted(labels) == sorted([*ALL, "evaluate-distilled", "evaluate-random"])


def test_the_random_baseline_of_a_random_selection_is_itself():
    compiled = plan(distill={"method": "random", "ipc": 1})
    assert [stage.label for stage in compiled.stages] == ["random", "evaluate-random"]
    assert compiled.stages == plan().stages[2:]


def test_without_applications_only_the_data_is_made():
    assert [stage.label for stage in plan(application=[]).stages] == ["frepo"]


def test_the_name_is_part_of_the_run_id_and_of_the_fingerprint_of_the_run():
    one, other = plan(), plan(name="other")
    assert one.fingerprint != other.fingerprint
    assert one.run_id == f"small-{one.fingerprint[:8]}"
    assert other.run_id == f"other-{other.fingerprint[:8]}"


@pytest.mark.parametrize("changes", [{"seed": 1}, {"application": []}, {"pool__size": 3}], ids=str)
def test_the_run_id_covers_every_field(changes):
    assert plan(**changes).run_id != plan().run_id


def test_a_directory_is_label_and_start_of_the_fingerprint():
    for stage in plan().stages:
        assert stage.directory == f"{stage.label}-{stage.fingerprint[:8]}"
        assert len(stage.fingerprint) == 64


def test_the_identity_says_what_was_hashed():
    distilled, evaluated, *_ = plan().stages
    assert distilled.identity["kind"] == "distill"
    assert distilled.identity["distill"]["ipc"] == 1
    assert distilled.identity["needs"] == []
    assert evaluated.identity["needs"] == [distilled.fingerprint]
    assert evaluated.identity["source"] == "distilled"
    assert "name" not in distilled.identity


@pytest.mark.parametrize("kind", ["distill", "evaluate"])
def test_a_new_version_of_the_numerics_changes_the_stages_of_that_kind(monkeypatch, kind):
    before = fingerprints(plan())
    monkeypatch.setitem(NUMERICS_VERSION, kind, 10_000)
    after = fingerprints(plan())
    changed = {label for label in ALL if before[label] != after[label]}
    assert changed == (ALL if kind == "distill" else {"evaluate-distilled", "evaluate-random"})


def test_a_laptop_without_jax_can_plan_query_and_report():
    code = f"import {', '.join(LIGHT_MODULES)}, sys; print(sorted({{'jax', 'flax', 'optax'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
