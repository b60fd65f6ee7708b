import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from frepo.plan import FairParts, Plan, compile_plan
from frepo.plan.kinds import KINDS
from frepo.spec import ExperimentSpec

ALL = {"frepo", "evaluate-distilled", "random", "evaluate-random"}
LIGHT_MODULES = [
    "frepo.spec",
    "frepo.plan.identity",
    "frepo.plan",
    "frepo.rundir.record",
    "frepo.store.connect",
    "frepo.store.ingest",
    "frepo.store.query",
    "frepo.store.tables",
    "frepo.report.page",
    "frepo.cli",
    "frepo.execute.runner",
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
        ({"application": evaluate(learning_rate=0.5)}, {"evaluate-distilled", "evaluate-random"}),
        ({"application": evaluate(loss="soft_xent")}, {"evaluate-distilled", "evaluate-random"}),
        ({"application": evaluate(labels="hard")}, {"evaluate-distilled"}),
        ({"application": evaluate(full_epochs=3)}, set()),
        ({"distill__steps": 7}, {"frepo", "evaluate-distilled"}),
        ({"distill__learning_rate": 0.5}, {"frepo", "evaluate-distilled"}),
        ({"pool__size": 2}, {"frepo", "evaluate-distilled"}),
        ({"architecture__normalization": "layer"}, {"frepo", "evaluate-distilled"}),
        ({"architecture__width": 16}, {"frepo", "evaluate-distilled", "evaluate-random"}),
        ({"architecture__depth": 2}, {"frepo", "evaluate-distilled", "evaluate-random"}),
    ],
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value),
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


def test_networks_but_the_usual_one_are_named():
    batch = plan(application=evaluate(normalization="batch"))
    crossed = plan(application=[{"type": "cross_architecture", "architectures": [{"type": "vgg11"}, {"width": 8}]}])
    assert batch.stages[1].label == "evaluate-distilled-conv-batch"
    assert [s.label for s in crossed.stages[1:]] == ["evaluate-distilled-vgg11-batch", "evaluate-distilled-conv-batch"]


def test_an_evaluation_that_two_applications_ask_for_is_computed_once():
    same = {"type": "cross_architecture", "architectures": [{"width": 32, "normalization": "identity"}]}
    assert plan(application=[{"type": "evaluate"}, same]).stages == plan(application=[{"type": "evaluate"}]).stages


def test_a_choice_by_features_needs_a_network_trained_on_real_images():
    compiled = plan(application=evaluate(baselines=["herding", "k_means", "herding_pixels"]))
    labels = [stage.label for stage in compiled.stages]
    assert labels.count("features") == 1
    needs = {stage.label: [need.label for need in stage.needs] for stage in compiled.stages}
    assert needs["herding"] == needs["k_means"] == ["features"]
    assert needs["herding_pixels"] == []
    assert needs["evaluate-herding"] == ["herding"]


def test_all_real_images_need_no_stage_that_makes_data():
    spec = {"application": [{"type": "evaluate"}]}
    compiled = plan(distill={"method": "full", "epochs": 3}, **spec)
    assert [stage.label for stage in compiled.stages] == ["evaluate-full"]
    assert compiled.stages[0].identity["epochs"] == 3
    beside = plan(application=evaluate(baselines=["full"], full_epochs=3)).stages[2]
    assert beside.fingerprint == compiled.stages[0].fingerprint


def test_candidates_for_the_learning_rate_are_tried_on_every_source():
    changes = {"distill__validation_fraction": 0.1}
    compiled = plan(application=evaluate(learning_rates=[0.1, 0.2]), **changes)
    assert [stage.label for stage in compiled.stages] == [
        "frepo",
        *["tune-distilled"] * 2,
        "evaluate-distilled",
        "random",
        *["tune-random"] * 2,
        "evaluate-random",
    ]
    rates = [stage.work.recipe.learning_rate for stage in compiled.stages if stage.work.kind == "tune"]
    assert rates == [0.1, 0.2] * 2
    assert {stage.identity["validation_fraction"] for stage in compiled.stages if "recipe" in stage.identity} == {0.1}
    more = plan(application=evaluate(learning_rates=[0.1, 0.2, 0.3]), **changes)
    assert len(set(compiled.stages) & set(more.stages)) == 6, "the tunings that were done stay"


def test_baselines_choose_among_the_images_that_distillation_may_see():
    compiled = plan(application=evaluate(baselines=["random", "herding"]), distill__validation_fraction=0.1)
    made = [stage.work.distill for stage in compiled.stages if stage.work.kind == "distill"]
    assert [entry.validation_fraction for entry in made] == [0.1] * 3


def test_fair_scores_need_six_evaluations_and_share_those_that_are_there():
    recipe = {"num_models": 2, "augmentation": ["crop"]}
    compiled = plan(application=[{"type": "evaluate", **recipe}, {"type": "fair_scores", **recipe}])
    fair = compiled.stages[-1]
    assert fair.label == "fair-scores"
    parts = FairParts(*fair.needs)
    assert parts.distilled == compiled.stages[1]
    assert [part.work.source for part in parts] == ["full", "distilled", "distilled", "random", "distilled", "random"]
    assert [part.work.recipe.labels for part in parts] == ["hard", "hard", "soft", "hard", "soft", "hard"]
    assert [part.work.recipe.augmentation for part in parts] == [("crop",)] * 4 + [()] * 2
    assert compiled.stages.index(fair) == len(compiled.stages) - 1


ALL_OPERATIONS = ("flip", "color", "crop", "rotate", "translate", "cutout")


@pytest.mark.parametrize(
    ("name", "operations"),
    [
        *((name, ALL_OPERATIONS[1:]) for name in ("digits", "mnist", "mnist:3.0.1", "fashion_mnist", "emnist/letters")),
        *((name, ALL_OPERATIONS) for name in ("cifar10", "imagenet_resized/64x64", "tiny_imagenet", "my_mnist:1.0.0")),
    ],
)
def test_networks_are_not_trained_on_mirrored_digits_unless_it_is_said(name, operations):
    parts = [
        {"type": "evaluate", "baselines": ["random", "full"]},
        {"type": "fair_scores"},
        {"type": "cross_architecture", "architectures": [{"type": "vgg11"}]},
        {"type": "continual", "num_steps": 2, "num_classes": 4},
        {"type": "membership", "chunk_size": 10, "train_steps": [9], "attacks": ["lira"]},
    ]

    def of_recipes(**recipe: Any) -> list[tuple[str, ...]]:
        compiled = plan(dataset__name=name, application=[{**part, **recipe} for part in parts])
        return [stage.work.recipe.augmentation for stage in compiled.stages if hasattr(stage.work, "recipe")]

    assert set(of_recipes()) == {operations, ()}, "() is that of fair scores without augmentation"
    said = of_recipes(augmentation=["flip"])
    assert set(said) == {("flip",), ()}
    assert len(said) > 10


def test_the_default_augmentation_is_the_same_stage_as_the_operations_that_it_stands_for():
    named = plan(application=evaluate(augmentation=["color", "crop", "rotate", "translate", "cutout"]))
    assert fingerprints(named) == fingerprints(plan())


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


@pytest.mark.parametrize("application", ["evaluate", "continual", "membership", "fair_scores"])
def test_another_path_to_images_is_not_another_experiment(application):
    fields = {
        "continual": {"num_steps": 2, "num_classes": 4},
        "membership": {"chunk_size": 200, "train_steps": [10]},
    }.get(application, {})
    changes = {"dataset__name": "image_folder", "application": [{"type": application, **fields}]}
    one, moved = (plan(dataset__path=path, **changes) for path in ("photos", "/elsewhere/photos/"))
    assert (moved.run_id, fingerprints(moved)) == (one.run_id, fingerprints(one))
    assert {stage.identity["dataset"]["path"] for stage in one.stages if "dataset" in stage.identity} == {"photos"}
    other = plan(dataset__path="photos", dataset__test_fraction=0.1, **changes)
    assert not set(fingerprints(other).values()) & set(fingerprints(one).values())


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
    monkeypatch.setitem(KINDS, kind, replace(KINDS[kind], version=10_000))
    after = fingerprints(plan())
    changed = {label for label in ALL if before[label] != after[label]}
    assert changed == (ALL if kind == "distill" else {"evaluate-distilled", "evaluate-random"})


def test_a_laptop_without_jax_can_plan_query_and_report():
    code = f"import {', '.join(LIGHT_MODULES)}, sys; print(sorted({{'jax', 'flax', 'optax'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("command", [("--help",), ("check",), ("plan",)])
def test_commands_that_compute_nothing_and_ask_no_database_import_no_library_for_it(tmp_path, command):
    spec = tmp_path / "spec.toml"
    spec.write_text('name = "a"\ndataset = { name = "digits" }\ndistill = { method = "random", ipc = 1 }\n')
    arguments = command if command == ("--help",) else (*command, str(spec))
    code = (
        "import atexit, sys\n"
        "heavy = {'jax', 'flax', 'optax', 'numpy', 'duckdb', 'jinja2', 'PIL'}\n"
        "atexit.register(lambda: print(sorted(heavy & set(sys.modules)), file=sys.stderr))\n"
        "from frepo.cli import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "[]\n")
