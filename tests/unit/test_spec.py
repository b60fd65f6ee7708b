import itertools
import json
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import tomli
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from frepo.data.prepare import prepare
from frepo.data.sources.known import KNOWN
from frepo.errors import SpecError
from frepo.plan import compile_plan
from frepo.spec import (
    Conv,
    Evaluate,
    ExperimentSpec,
    Pool,
    RandomSelection,
    Standardize,
    json_schema,
    load_spec,
    load_specs,
    names,
)
from frepo.spec.architecture import Vgg11

SPECS = Path(__file__).parents[2] / "specs"
SPEC_FILES = sorted(SPECS.rglob("*.toml"))

# The line numbers below count from name = line 1.
SPEC = """\
name = "small"
seed = 7

[dataset]
name = "digits"
preprocess = { type = "zca" }

[architecture]
width = 32

[distill]
method = "frepo"
ipc = 1
steps = 1000

[[application]]
type = "evaluate"
baselines = ["random"]
"""

CROSS = (
    SPEC
    + """
[[application]]
type = "cross_architecture"
architectures = [{ width = 16 }, { type = "vgg11", width = 128 }]
"""
)


def changed(old: str, new: str) -> str:
    assert SPEC.count(old) == 1, old
    return SPEC.replace(old, new)


@pytest.fixture
def load(tmp_path):
    def load(text: str, *overrides: str) -> ExperimentSpec:
        path = tmp_path / "spec.toml"
        path.write_text(text, encoding="utf-8", newline="")
        return load_spec(path, overrides).spec

    return load


@pytest.fixture
def errors(spec_errors, load):
    """Return what loads a spec that is not valid and returns the lines of the message."""
    return partial(spec_errors, load)


def test_the_shortest_spec_resolves_to_the_stated_defaults(load):
    spec = load('name = "s"\ndataset = { name = "digits" }\ndistill = { method = "frepo", ipc = 3 }\n')
    assert spec.model_dump() == {
        "name": "s",
        "seed": 0,
        "dataset": {
            "name": "digits",
            "path": None,
            "test_fraction": None,
            "resolution": None,
            "classes": None,
            "label_classes": None,
            "train_fraction": None,
            "chunk_size": None,
            "chunk_index": None,
            "preprocess": {"type": "standardize", "fitted_to": None},
        },
        "architecture": {
            "type": "conv",
            "width": 128,
            "depth": 3,
            "pooling": "average",
            "normalization": "batch",
            "precision": "float32",
        },
        "distill": {
            "method": "frepo",
            "ipc": 3,
            "steps": 500_000,
            "batch_size": 1024,
            "learn_labels": True,
            "flip": False,
            "optimizer": "lamb",
            "learning_rate": 3e-4,
            "validation_fraction": None,
            "reg": 1e-6,
        },
        "pool": {"size": 10, "max_online_updates": 100, "learning_rate": 3e-4, "batch_size": 1000},
        "application": (),
    }


def test_each_table_has_its_stated_defaults(load):
    spec = load(SPEC)
    assert spec.dataset.preprocess.model_dump() == {"type": "zca", "reg": 0.1, "block": None, "fitted_to": None}
    assert spec.architecture == Conv(width=32)
    assert spec.pool == Pool()
    assert spec.application[0].model_dump() == {
        "type": "evaluate",
        **RECIPE,
        "baselines": ("random",),
        "full_epochs": 50,
        "feature_epochs": 10,
        "normalization": "identity",
    }


RECIPE = {
    "num_models": 5,
    "steps": None,
    "batch_size": 500,
    "loss": "mse",
    "temperature": None,
    "labels": "soft",
    "optimizer": "adam",
    "momentum": None,
    "weight_decay": 0.0,
    "learning_rate": 3e-4,
    "learning_rates": (),
    "schedule": "cosine",
    "warmup_steps": 500,
    "augmentation": None,
    "augmentation_mode": "one",
    "predictors": ("network",),
    "krr_reg": 1e-6,
    "accuracy_points": 5,
}


def test_the_other_applications_have_their_stated_defaults(load):
    crossed = load(CROSS).application[1]
    assert crossed.model_dump() == {
        "type": "cross_architecture",
        **RECIPE,
        "baselines": (),
        "full_epochs": 50,
        "feature_epochs": 10,
        "architectures": tuple(entry.model_dump() for entry in (Conv(width=16), Vgg11(width=128))),
        "normalizations": (),
    }
    assert load(SPEC, 'application=[{type="fair_scores"}]').application[0].model_dump() == {
        "type": "fair_scores",
        **RECIPE,
        "normalization": "identity",
        "full_epochs": 50,
        "improvement_weight": 0.5,
        "augmented_weight": 0.5,
    }


def test_each_architecture_is_evaluated_with_each_normalization(load):
    networks = load(CROSS + 'normalizations = ["identity", "instance"]\n').application[1].networks()
    assert [(network.type, network.normalization) for network in networks] == [
        ("conv", "identity"),
        ("conv", "instance"),
        ("vgg11", "identity"),
        ("vgg11", "instance"),
    ]


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ('loss = "xent"', "loss = 'xent' needs labels = 'hard'; soft labels go with 'mse' and 'soft_xent'"),
        ('loss = "soft_xent"\nlabels = "hard"', "loss = 'soft_xent' needs labels = 'soft'; hard labels go with 'mse'"),
        ("temperature = 2.0", "temperature is read by loss = 'soft_xent' only"),
        ("momentum = 0.5", "momentum is read by optimizer = 'sgd' only"),
        ("learning_rates = [1e-3]\nlearning_rate = 1e-3", "set learning_rate or learning_rates, not both"),
        ("learning_rates = [1e-3, 1e-3]", "names an entry twice"),
        ("learning_rates = [1e-3]", "set validation_fraction = 0.1 in [distill]"),
        ("predictors = []", "should have at least 1 item"),
    ],
)
def test_a_recipe_that_contradicts_itself_is_refused(errors, lines, reason):
    (line,) = errors(SPEC + lines + "\n")
    assert reason in line


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            'normalizations = ["batch"]\n',
            None,
        ),
        (
            'normalizations = ["batch", "batch"]\n',
            "normalizations: names an entry twice",
        ),
    ],
)
def test_normalizations_are_said_once(errors, load, text, reason):
    if reason is None:
        load(CROSS + text)
        (line,) = errors(CROSS.replace("width = 16", 'width = 16, normalization = "batch"') + text)
        assert "normalizations replaces the normalization of each architecture" in line
    else:
        assert reason in errors(CROSS + text)[0]


def test_group_norm_of_crossed_networks_needs_widths_that_4_divides(errors):
    (line,) = errors(CROSS.replace("width = 16", "width = 18") + 'normalizations = ["group"]\n')
    assert "needs a width that is a multiple of 4, not 18" in line


def test_an_error_in_a_listed_architecture_names_it(errors):
    (line,) = errors(CROSS.replace('"vgg11"', '"vgg12"'))
    assert line.startswith(
        "spec.toml:22: application.1.architectures.1.type: 'vgg12' is not allowed, did you mean `vgg11`?"
    )


def test_all_real_images_leave_nothing_to_compare(errors, load):
    full = 'name = "s"\ndataset.name = "digits"\ndistill = { method = "full", epochs = 3 }\n[[application]]\n'
    assert load(full + 'type = "evaluate"\n').distill.epochs == 3
    for application in ('type = "fair_scores"\n', 'type = "evaluate"\nbaselines = ["random"]\n'):
        assert "or its baselines, or change [distill] method" in errors(full + application)[0]


def test_epochs_of_a_choice_by_pixels_are_refused(errors):
    distill = '{ method = "herding", on = "pixels", ipc = 1, epochs = 3 }'
    (line,) = errors(f'name = "s"\ndataset.name = "digits"\ndistill = {distill}\n')
    assert "epochs is read with on = 'features' only" in line


def test_a_method_that_selects_needs_only_ipc(load):
    spec = load('name = "s"\ndataset.name = "mnist"\ndistill = { method = "random", ipc = 2 }\n')
    assert spec.distill == RandomSelection(method="random", ipc=2)
    assert spec.dataset.preprocess == Standardize(type="standardize")


def test_whole_numbers_are_taken_for_floats(load):
    assert load(SPEC, "distill.learning_rate=1") == load(SPEC, "distill.learning_rate=1.0")


def test_a_loaded_spec_keeps_its_file_text_and_overrides(tmp_path):
    path = tmp_path / "spec.toml"
    path.write_text(SPEC)
    loaded = load_spec(path, ("seed=1",))
    assert (loaded.path, loaded.text, loaded.overrides) == (path, SPEC, ("seed=1",))


def test_a_spec_cannot_be_changed(load):
    with pytest.raises(ValueError, match="frozen"):
        load(SPEC).seed = 1


INVALID = {
    "unknown key": (
        changed("ipc = 1\n", "ipc = 1\nstpes = 3\n"),
        "spec.toml:14: distill.stpes: unknown field, did you mean `steps`?; allowed here: method, ipc, steps, ",
    ),
    "unknown key at the top": (
        changed("seed = 7", "sede = 7"),
        "spec.toml:2: sede: unknown field, did you mean `seed`?; allowed here: name, seed, dataset, ",
    ),
    "unknown key in an inline table": (
        changed('type = "zca"', 'type = "zca", regg = 1.0'),
        "spec.toml:6: dataset.preprocess.regg: unknown field, did you mean `reg`?; allowed here: fitted_to, type, reg",
    ),
    "unknown key of the other method": (
        changed('method = "frepo"', 'method = "random"'),
        "spec.toml:14: distill.steps: unknown field; allowed here: method, ipc",
    ),
    "unknown key in an array of tables": (
        SPEC + '[[application]]\ntype = "evaluate"\nnum_model = 3\n',
        "spec.toml:21: application.1.num_model: unknown field, did you mean `num_models`?; allowed here: num_mod",
    ),
    "unknown table": (
        SPEC + "\n[pol]\nsize = 1\n",
        "spec.toml:20: pol: unknown field, did you mean `pool`?; allowed here: name, ",
    ),
    "wrong type": (
        changed("ipc = 1\n", 'ipc = "1"\n'),
        "spec.toml:13: distill.ipc: input should be a valid integer, got '1'",
    ),
    "float for a count": (changed("width = 32", "width = 32.0"), "spec.toml:9: architecture.width: input should be a"),
    "bool for a number": (changed("seed = 7", "seed = true"), "spec.toml:2: seed: input should be a valid integer"),
    "date for a number": (changed("seed = 7", "seed = 2020-02-02"), "spec.toml:2: seed: input should be a valid inte"),
    "number for a bool": (
        changed("ipc = 1\n", "ipc = 1\nflip = 1\n"),
        "spec.toml:14: distill.flip: input should be a valid boolean, got 1",
    ),
    "table for a number": (
        changed("seed = 7", "seed = { a = 1 }"),
        "spec.toml:2: seed: input should be a valid integer, got a table",
    ),
    "array for a number": (
        changed("seed = 7", "seed = [\n 1,\n]"),
        "spec.toml:2: seed: input should be a valid integer, got an array",
    ),
    "table for a list": (changed("[[application]]", "[application]"), "spec.toml:16: application: input should be a "),
    "string for a list": (changed('["random"]', '"random"'), "spec.toml:18: application.0.baselines: input should be"),
    "negative steps": (
        changed("steps = 1000", "steps = -1"),
        "spec.toml:14: distill.steps: input should be greater than or equal to 1, got -1",
    ),
    "seed too large": (
        changed("seed = 7", "seed = 4294967296"),
        "spec.toml:2: seed: input should be less than 4294967296, got 4294967296",
    ),
    "learning rate too large": (
        changed("steps = 1000", "learning_rate = 100.5"),
        "spec.toml:14: distill.learning_rate: input should be less than or equal to 100, got 100.5",
    ),
    "nan": (
        changed("steps = 1000", "reg = nan"),
        "spec.toml:14: distill.reg: input should be a finite number, got nan",
    ),
    "infinity": (
        changed("steps = 1000", "learning_rate = inf"),
        "spec.toml:14: distill.learning_rate: input should be a finite number, got inf",
    ),
    "bad literal": (
        changed("width = 32", 'normalization = "bach"'),
        "spec.toml:9: architecture.normalization: 'bach' is not allowed, did you mean `batch`?; "
        "allowed: batch, identity, layer, instance, group",
    ),
    "bad literal in a list over lines": (
        changed('["random"]', '[\n  "randm",\n]'),
        "spec.toml:18: application.0.baselines.0: 'randm' is not allowed, did you mean `random`?; allowed: random",
    ),
    "bad literal far from all": (
        changed("steps = 1000", 'optimizer = "zzz"'),
        "spec.toml:14: distill.optimizer: 'zzz' is not allowed; allowed: lamb, adam",
    ),
    "missing field": (changed("ipc = 1\n", ""), "spec.toml:11: distill.ipc: this field is required"),
    "missing discriminator": (
        changed('method = "frepo"\n', ""),
        "spec.toml:11: distill.method: this field is required and chooses the kind of table",
    ),
    "missing discriminator of an inline table": (
        changed('type = "zca"', "reg = 0.5"),
        "spec.toml:6: dataset.preprocess.type: this field is required and chooses the kind of table",
    ),
    "unknown discriminator": (
        changed('method = "frepo"', 'method = "frpo"'),
        "spec.toml:12: distill.method: 'frpo' is not allowed, did you mean `frepo`?; allowed: frepo, rcig, rat_bptt",
    ),
    "error in the chosen branch": (
        changed('type = "zca"', 'type = "zca", reg = 0.0'),
        "spec.toml:6: dataset.preprocess.reg: input should be greater than 0, got 0.0",
    ),
    "repeated list entry": (
        changed('["random"]', '["random", "random"]'),
        "spec.toml:18: application.0.baselines: names an entry twice",
    ),
    "repeated augmentation": (
        SPEC + 'augmentation = ["flip", "crop", "flip"]\n',
        "spec.toml:19: application.0.augmentation: names an entry twice",
    ),
    "warm-up as long as the training": (
        SPEC + "steps = 500\n",
        "spec.toml:16: application.0: warmup_steps = 500 must be less than steps = 500",
    ),
    "warm-up longer than the shortest default": (
        SPEC + "warmup_steps = 1000\n",
        "spec.toml:16: application.0: warmup_steps = 1000 must be less than steps = 1000",
    ),
    "group norm with a width that 4 does not divide": (
        changed("width = 32", 'width = 30\nnormalization = "group"'),
        "spec.toml:8: architecture: normalization = 'group' needs a width that is a multiple of 4, not 30",
    ),
    "name with a slash": (
        changed('"small"', '"a/b"'),
        r"spec.toml:1: name: 'a/b' is not allowed; it must match ^[A-Za-z0-9][A-Za-z0-9._\-]*$",
    ),
    "name that leaves the directory": (changed('"small"', '".."'), "spec.toml:1: name: '..' is not allowed; it must m"),
    "data set name with a space": (changed('"digits"', '"di gits"'), "spec.toml:5: dataset.name: 'di gits' is not "),
    "not TOML": (changed("seed = 7", "seed = "), "spec.toml:2: not valid TOML: Invalid value (column 8)"),
    "key twice": (changed("seed = 7", "seed = 7\nseed = 8"), "spec.toml:3: not valid TOML: Cannot overwrite a value"),
    "windows line ends": (
        changed("ipc = 1\n", "ipc = 0\n").replace("\n", "\r\n"),
        "spec.toml:13: distill.ipc: input should be greater than or equal to 1, got 0",
    ),
    "quoted key": (changed("ipc = 1\n", '"ipc" = 0\n'), "spec.toml:13: distill.ipc: input should be greater than or"),
    "dotted keys": (
        'name = "s"\ndataset.name = "digits"\n\ndistill.method = "frepo"\ndistill.ipc = 0\n',
        "spec.toml:5: distill.ipc: input should be greater than or equal to 1, got 0",
    ),
}


@pytest.mark.parametrize(("text", "expected"), INVALID.values(), ids=INVALID)
def test_an_error_names_line_field_what_is_allowed_and_the_nearest_name(errors, text, expected):
    lines = errors(text)
    assert len(lines) == 1
    assert lines[0].startswith(expected)


def test_a_pool_that_nothing_reads_is_refused(errors):
    text = SPEC.replace('"frepo"', '"random"').replace("steps = 1000\n", "") + "\n[pool]\nsize = 2\n"
    (line,) = errors(text)
    assert re.match(r"spec\.toml:\d+: ", line)
    assert "[pool] is read by method = 'frepo' and 'rcig' only" in line
    assert "remove it, or change [distill] method" in line


def test_group_norm_of_the_evaluated_networks_needs_a_width_that_4_divides(errors):
    (line,) = errors(SPEC.replace("width = 32", "width = 30") + 'normalization = "group"\n')
    assert "needs a width that is a multiple of 4, not 30" in line


def test_every_error_has_a_line_of_its_own(errors):
    text = SPEC.replace("seed = 7", "seed = -7").replace("width = 32", "width = 0").replace("ipc = 1\n", "ipc = 0\n")
    assert [line.split(": ")[:2] for line in errors(text)] == [
        ["spec.toml:2", "seed"],
        ["spec.toml:9", "architecture.width"],
        ["spec.toml:13", "distill.ipc"],
    ]


def test_an_empty_file_lacks_the_required_fields(errors):
    assert errors("") == [f"spec.toml:1: {name}: this field is required" for name in ("name", "dataset", "distill")]


def test_a_long_value_is_shown_short(errors):
    (line,) = errors(changed("seed = 7", f'seed = "{"x" * 500}"'))
    assert line.endswith("xxx...")
    assert len(line) < 150


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SpecError, match=r"nowhere\.toml: no such file"):
        load_spec(tmp_path / "nowhere.toml")


def test_a_directory_is_no_spec(tmp_path):
    with pytest.raises(SpecError, match="cannot be read: Is a directory"):
        load_spec(tmp_path)


def test_bytes_that_are_not_utf8_are_refused(tmp_path):
    path = tmp_path / "spec.toml"
    path.write_bytes(SPEC.encode() + b"# \xff\n")
    with pytest.raises(SpecError, match=r"spec\.toml: not a text file \(TOML is UTF-8 text\)"):
        load_spec(path)


def test_nesting_without_end_is_an_error_of_the_user(errors):
    (line,) = errors("a = " + "[" * 5000)
    assert line.startswith("spec.toml:")


@pytest.mark.parametrize(
    ("override", "read", "value"),
    [
        ("seed=3", lambda spec: spec.seed, 3),
        ("distill.steps=2_000", lambda spec: spec.distill.steps, 2000),
        ("distill.learning_rate = 1e-2", lambda spec: spec.distill.learning_rate, 0.01),
        ("distill.flip=true", lambda spec: spec.distill.flip, True),
        ("dataset.preprocess.reg=0.5", lambda spec: spec.dataset.preprocess.reg, 0.5),
        ('dataset.preprocess={type="standardize"}', lambda spec: spec.dataset.preprocess.type, "standardize"),
        ("pool.size=2", lambda spec: spec.pool.size, 2),
        ("application.0.num_models=1", lambda spec: spec.application[0].num_models, 1),
        ("application.0.augmentation=[]", lambda spec: spec.application[0].augmentation, ()),
        ('application=[{type="evaluate"}]', lambda spec: spec.application, (Evaluate(type="evaluate"),)),
        ("name=bare-word", lambda spec: spec.name, "bare-word"),
        ('name="quoted"', lambda spec: spec.name, "quoted"),
        ("architecture.normalization=group", lambda spec: spec.architecture.normalization, "group"),
    ],
)
def test_an_override_sets_a_field(load, override, read, value):
    assert read(load(SPEC)) != value
    assert read(load(SPEC, override)) == value


def test_the_last_override_of_a_field_wins(load):
    assert load(SPEC, "seed=3", "seed=4").seed == 4


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("distill", "write table.field=value, for example distill.steps=1000"),
        ("=1", "write table.field=value, for example distill.steps=1000"),
        ("distill..ipc=1", "write table.field=value, for example distill.steps=1000"),
        (".distill=1", "write table.field=value, for example distill.steps=1000"),
        ("name.first=1", "name is not a table"),
        ("distill.ipc.x=1", "distill.ipc is not a table"),
        ("name.first.second=1", "the spec has no name.first"),
        ("application.7.steps=600", "the spec has no application.7"),
        ("application.1={}", "the spec has no application.1"),
        ("application.first.steps=600", "the spec has no application.first"),
        ("distill.ipc=0", "distill.ipc: input should be greater than or equal to 1, got 0"),
        ("distill.ipc=", "distill.ipc: input should be a valid integer, got ''"),
        ("distill.stpes=3", "distill.stpes: unknown field, did you mean `steps`?; allowed here: method, ipc, steps, "),
        ("pool.sizes=3", "pool.sizes: unknown field, did you mean `size`?; allowed here: size, "),
        ("application.0.num_models=no", "application.0.num_models: input should be a valid integer, got 'no'"),
        ("application.0=3", "application.0: input should be a valid dictionary"),
        (
            "distill.method=frpo",
            "distill.method: 'frpo' is not allowed, did you mean `frepo`?; allowed: frepo, rcig, rat_bptt, dm",
        ),
        ("name=a/b", "name: 'a/b' is not allowed"),
        ("dataset.5=1", "dataset.5: keys should be strings"),
        ('dataset.preprocess={type="zca", reg=-1.0}', "dataset.preprocess.reg: input should be greater than 0"),
        ('distill={method="frepo"}', "distill.ipc: this field is required"),
    ],
)
def test_an_error_in_an_override_names_the_override(errors, override, reason):
    (line,) = errors(SPEC, override)
    assert line.startswith(f"--set {override}: {reason}")


def test_an_override_does_not_take_the_blame_for_the_file(errors):
    assert errors(changed("seed = 7", "seed = -1"), "distill.ipc=2")[0].startswith("spec.toml:2: seed: ")


@pytest.mark.parametrize(
    ("text", "overrides", "expected"),
    [
        (SPEC, ["distill.method=random"], "distill.steps (spec.toml:14): unknown field; allowed here: method, ipc"),
        (SPEC, ["distill={method='full'}"], "application (spec.toml:16): method = 'full' uses all real images"),
        (SPEC, ["architecture.type=vgg11", "architecture.depth=2"], "architecture.depth: unknown field"),
        (
            SPEC,
            ["seed=1", "architecture.width=30", "application.0.normalization=group"],
            "application (spec.toml:16): no",
        ),
        (
            SPEC,
            ["application.0.normalization=group", "architecture.width=30"],
            "application (spec.toml:16): normalizati",
        ),
        (SPEC + "[pool]\nsize = 2\n", ["distill={method='random', ipc=1}"], "pool (spec.toml:19): [pool] is read by"),
        (SPEC, ["application.0.warmup_steps=9999"], "application.0 (spec.toml:16): warmup_steps = 9999 must be less"),
        (SPEC, ["dataset.name=image_folder"], "dataset (spec.toml:4): name = 'image_folder' needs path"),
        (SPEC, ["distill.ipc=0", "distill.ipc=-1"], "distill.ipc: input should be greater than or equal to 1, got -1"),
    ],
)
def test_the_override_that_an_error_came_with_is_blamed(errors, text, overrides, expected):
    (line,) = errors(text, *overrides)
    assert line.startswith(f"--set {overrides[-1]}: {expected}")


@pytest.mark.parametrize("override", ["seed=1", "application.0.num_models=3", "distill.method=random"])
def test_an_override_near_an_error_of_the_file_is_not_blamed(errors, override):
    text = SPEC.replace("steps = 1000\n", "") + "warmup_steps = 1000\n"
    (line,) = errors(text, override)
    assert line.startswith("spec.toml:15: application.0: warmup_steps = 1000 must be less")


@pytest.mark.parametrize("value", ["1", "1e3", "true", "2024-05-06", "12:30:00", "0x10"])
def test_what_toml_takes_for_something_else_than_a_string_is_to_be_quoted(errors, load, value):
    (line,) = errors(SPEC, f"name = {value}")
    assert line.startswith(f"--set name = {value}: name: input should be a valid string, got ")
    assert line.endswith(f"""; put it in quotes, and all of it for the shell: --set 'name="{value}"'""")
    if ":" not in value:
        assert load(SPEC, f'name="{value}"').name == value
    (line,) = errors(changed('"small"', value))
    assert line.startswith("spec.toml:1: name: input should be a valid string, got ")
    assert line.endswith("; put it in quotes")
    assert "quotes" not in errors(SPEC, "name={}")[0]


def test_an_override_of_several_lines_is_one_value(errors):
    assert "distill.ipc: input should be a valid integer, got '2" in "".join(errors(SPEC, "distill.ipc=2\nseed=3"))


def test_a_mark_at_the_start_of_a_file_is_no_part_of_it(tmp_path, errors):
    path = tmp_path / "spec.toml"
    path.write_bytes(b"\xef\xbb\xbf" + SPEC.replace("\n", "\r\n").encode())
    assert load_spec(path).text == SPEC
    path.write_bytes(b"\xef\xbb\xbf" + SPEC.replace("seed = 7", "seed = -7").encode())
    with pytest.raises(SpecError, match=r"spec\.toml:2: seed: "):
        load_spec(path)


def test_a_spec_from_a_pipe_is_read_once():
    reader, writer = os.pipe()
    os.write(writer, SPEC.encode())
    os.close(writer)
    loaded = load_spec(f"/dev/fd/{reader}", ["seed=1"])
    os.close(reader)
    again = loaded.overridden("distill.ipc=2")
    assert (again.spec.seed, again.spec.distill.ipc, again.text) == (1, 2, SPEC)
    assert again.overrides == ("seed=1", "distill.ipc=2")
    with pytest.raises(SpecError, match=r"--set distill\.ipc=0: distill\.ipc: input should be"):
        loaded.overridden("distill.ipc=0")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("CIFAR10", "'CIFAR10' is no known data set, did you mean `cifar10`?"),
        ("cifar-10", "'cifar-10' is not allowed, did you mean `cifar10`?; it must match ^[A-Za-z]"),
        ("Cifar_10:3.0.2", "'Cifar_10:3.0.2' is no known data set, did you mean `cifar10`?"),
        (
            "mnsit",
            "'mnsit' is no known data set, did you mean `mnist`?; of a data set of your own that TFDS has prepared",
        ),
        ("FashionMNIST", "'FashionMNIST' is no known data set, did you mean `fashion_mnist`?"),
        ("tiny-imagenet", "'tiny-imagenet' is not allowed, did you mean `tiny_imagenet`?"),
        ("svhn", "'svhn' is no known data set, did you mean `svhn_cropped`?"),
        ("imagefolder", "'imagefolder' is no known data set, did you mean `image_folder`?"),
        (
            "no_such_set",
            "'no_such_set' is no known data set; known are digits, image_folder, parquet, tiny_imagenet, ",
        ),
        ("no_such_set/config", "'no_such_set/config' is no known data set; known are"),
    ],
)
def test_a_name_of_no_data_set_is_an_error_with_the_one_that_was_meant(errors, name, reason):
    assert errors(changed('"digits"', f'"{name}"'))[0].startswith(f"spec.toml:5: dataset.name: {reason}")
    assert errors(SPEC, f"dataset.name={name}")[0].startswith(f"--set dataset.name={name}: dataset.name: {reason}")


def test_what_is_no_data_set_is_not_prepared(tmp_path):
    with pytest.raises(SpecError, match="'CIFAR10' is no known data set, did you mean `cifar10`"):
        prepare("CIFAR10", None, tmp_path / "data")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "name", ["stl10", "cifar10:3.0.2", "emnist/letters", "my_set:1.0.0", "cifar10_mine/small:1.0.0"]
)
def test_a_data_set_of_ones_own_is_named_with_its_version(load, name):
    assert load(SPEC, f"dataset.name={name}").dataset.name == name


def test_the_names_of_data_sets_are_those_of_tfds_and_of_the_catalog():
    import tensorflow_datasets as tfds

    assert set(names.TFDS) <= set(tfds.list_builders(with_community_datasets=False))
    assert {names.family_of(name) for name in KNOWN} <= set(names.KNOWN)
    assert set(names.MIRROR_CHANGES_CLASS) <= set(names.KNOWN)
    assert {names.family_of(name) for name in names.ALIASES.values()} <= set(names.KNOWN)
    assert all(
        f"`{name}`" in Evaluate.model_json_schema()["properties"]["augmentation"]["description"]
        for name in names.MIRROR_CHANGES_CLASS
    )


def test_checking_a_spec_imports_no_data_set_library():
    code = "import sys, frepo.spec; print({'tensorflow_datasets', 'jax', 'numpy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_a_rule_over_several_fields_holds_for_overrides(errors):
    (line,) = errors(SPEC, "application.0.warmup_steps=9999")
    assert "warmup_steps = 9999 must be less than steps = 1000" in line


def integers_and_numbers(node, definitions, path=()):
    """Yield every schema of a number below a schema, with its path; a table that several fields hold comes once."""
    if isinstance(node, list):
        node = dict(enumerate(node))
    if not isinstance(node, dict):
        return
    if node.get("type") in ("integer", "number"):
        yield path, node
    if "$ref" in node and (name := node["$ref"].rsplit("/", 1)[-1]) not in path:
        yield from integers_and_numbers(definitions[name], definitions, (*path, name))
    for key, below in node.items():
        if key not in ("default", "$defs"):
            yield from integers_and_numbers(below, definitions, (*path, key))


def test_every_number_of_a_spec_has_a_largest_value_that_databases_and_arrays_hold():
    schema = json_schema()
    found = list(integers_and_numbers(schema, schema["$defs"]))
    fields = {key for path, _ in found for table, key in itertools.pairwise(path) if table == "properties"}
    assert {"seed", "ipc", "steps", "width", "depth", "resolution", "num_models", "reg"} <= fields
    for path, node in found:
        assert "minimum" in node or "exclusiveMinimum" in node, path
        largest = node.get("maximum", node.get("exclusiveMaximum"))
        assert largest is not None, path
        assert largest <= 2**32, path


EXTREME = (2**31, 2**32, 2**63, 10**23, 10**400)


@pytest.mark.parametrize("value", EXTREME, ids=lambda value: f"{len(str(value))} digits")
@pytest.mark.parametrize(
    "field",
    [
        *("distill.ipc", "distill.steps", "distill.batch_size", "architecture.width", "architecture.depth"),
        *("pool.size", "pool.max_online_updates", "pool.batch_size", "dataset.resolution", "dataset.label_classes"),
        *("application.0.steps", "application.0.num_models", "application.0.full_epochs", "dataset.preprocess.block"),
        *("distill.reg", "distill.learning_rate", "application.0.krr_reg", "dataset.preprocess.reg"),
    ],
)
def test_extreme_numbers_are_refused(errors, field, value):
    assert f"--set {field}={value}: {field}: input should be" in errors(SPEC, f"{field}={value}")[0]


@pytest.mark.parametrize("value", EXTREME[1:], ids=lambda value: f"{len(str(value))} digits")
def test_extreme_numbers_in_lists_are_refused(errors, value):
    membership = f'application=[{{type="membership", chunk_size=5, chunk_indices=[{value}]}}]'
    assert "chunk_indices.0: input should be less than" in errors(SPEC, membership)[0]
    assert "dataset.classes.1: input should be less than" in errors(SPEC, f"dataset.classes=[0, {value}]")[0]
    continual = f'application=[{{type="continual", num_steps=2, num_classes=4, seeds=[{value}]}}]'
    assert "seeds.0: input should be less than" in errors(SPEC, continual)[0]


def test_a_seed_may_be_any_of_32_bits(load, errors):
    assert load(SPEC, "seed=4294967295").seed == 2**32 - 1
    assert "seed: input should be less than 4294967296" in errors(SPEC, "seed=4294967296")[0]


@pytest.mark.parametrize("digits", [5000, 20_000])
@pytest.mark.parametrize("prefix", ["", "0x"])
def test_numbers_that_python_does_not_print_are_an_error_of_the_user(errors, digits, prefix):
    text = prefix + "9" * digits
    assert errors(changed("seed = 7", f"seed = {text}"))[0].startswith("spec.toml:")
    assert errors(SPEC, f"seed={text}")[0].startswith("--set seed=")


def test_there_are_specs():
    assert SPECS / "quickstart.toml" in SPEC_FILES


@pytest.mark.parametrize("path", SPEC_FILES, ids=lambda path: path.relative_to(SPECS).as_posix())
def test_every_spec_of_the_repository_compiles_to_a_plan(path):
    for loaded in load_specs(path):
        plan = compile_plan(loaded.spec)
        assert plan.stages[0].work.kind in ("distill", "features")
        assert len(plan.stages) > len(loaded.spec.application)


@pytest.mark.parametrize("path", SPEC_FILES, ids=lambda path: path.relative_to(SPECS).as_posix())
def test_every_spec_of_the_repository_points_an_editor_to_the_schema(path):
    first = path.read_text().splitlines()[0]
    assert first.startswith("#:schema ")
    assert (path.parent / first.removeprefix("#:schema ")).resolve() == SPECS / "schema.json"


@pytest.mark.parametrize("path", SPEC_FILES, ids=lambda path: path.relative_to(SPECS).as_posix())
def test_no_spec_of_the_repository_mirrors_digits(path):
    for spec in (loaded.spec for loaded in load_specs(path)):
        if names.family_of(spec.dataset.name) in names.MIRROR_CHANGES_CLASS:
            assert not getattr(spec.distill, "flip", False)
            recipes = [stage.work.recipe for stage in compile_plan(spec).stages if hasattr(stage.work, "recipe")]
            assert recipes
            assert all("flip" not in recipe.operations for recipe in recipes)


def test_the_schema_file_is_up_to_date():
    assert json.loads((SPECS / "schema.json").read_text()) == json_schema()


def test_the_schema_is_a_schema():
    Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize("path", SPEC_FILES, ids=lambda path: path.relative_to(SPECS).as_posix())
def test_the_schema_accepts_every_spec(path):
    assert not list(Draft202012Validator(json_schema()).iter_errors(tomli.loads(path.read_text())))


@pytest.mark.parametrize(
    ("text", "at", "phrase"),
    [
        (changed("seed = 7", "sede = 7"), [], "'sede' was unexpected"),
        (changed("seed = 7", "seed = -1"), ["seed"], "-1 is less than the minimum of 0"),
        (changed("ipc = 1\n", 'ipc = "1"\n'), ["distill", "ipc"], "'1' is not of type 'integer'"),
        (changed("ipc = 1\n", ""), ["distill"], "'ipc' is a required property"),
        (changed('method = "frepo"\n', ""), ["distill"], "'method' is a required property"),
        (
            changed('"frepo"', '"frpo"'),
            ["distill", "method"],
            "'frpo' is not one of ['frepo', 'rcig', 'rat_bptt', 'dm', 'random'",
        ),
        (changed("steps = 1000", "stpes = 1000"), ["distill"], "'stpes' was unexpected"),
        (changed('"frepo"', '"random"'), ["distill"], "'steps' was unexpected"),
        (
            changed('type = "zca"', 'type = "zca", reg = 0'),
            ["dataset", "preprocess", "reg"],
            "0 is less than or equal to the minimum of 0",
        ),
        (changed('type = "zca"', 'type = "standardize", reg = 1'), ["dataset", "preprocess"], "'reg' was unexpected"),
        (changed('["random"]', '["randm"]'), ["application", 0, "baselines", 0], "'randm' is not one of ['random'"),
        (changed('"small"', '"a/b"'), ["name"], "'a/b' does not match"),
    ],
)
def test_the_schema_reports_the_one_error_of_a_wrong_spec_where_it_is(text, at, phrase):
    (error,) = Draft202012Validator(json_schema()).iter_errors(tomli.loads(text))
    assert list(error.absolute_path) == at
    assert phrase in error.message


def test_every_table_and_field_is_described_in_the_schema():
    schema = json_schema()
    tables = {**schema["$defs"], "spec": schema}
    fields = {(table, name): field for table, body in tables.items() for name, field in body["properties"].items()}
    assert set(tables) >= {"Conv", "Dataset", "Evaluate", "Frepo", "Pool", "RandomSelection", "Standardize", "Zca"}
    assert len(fields) > 30
    assert [table for table, body in tables.items() if not body.get("description")] == []
    assert [key for key, field in fields.items() if not field.get("description")] == []


LOOKS_LIKE_A_KEY = ["extra_1 = 5", "[pool]", "[[application]]", "# extra_2 = 1", "extra_1 = '''", "ipc = 0", "", "  "]
TOP = "top"
TABLES = ["pool", "dataset", "application"]
NEEDED = {
    TOP: ['name = "s"', 'distill = { method = "frepo", ipc = 1 }'],
    "pool": [],
    "dataset": ['name = "digits"'],
    "application": ['type = "evaluate"'],
}
HEADERS = {"pool": "[pool]", "dataset": "[ dataset ] # [pool]", "application": "[[application]]"}

fake_lines = st.lists(st.sampled_from(LOOKS_LIKE_A_KEY).filter(lambda line: "'''" not in line), max_size=3)
noise = st.one_of(
    st.just([""]),
    st.just(["\t  "]),
    st.sampled_from(LOOKS_LIKE_A_KEY).map(lambda line: [f"# {line}"]),
)
values = st.one_of(
    st.just(["1"]),
    st.just(['"extra_1 = 1"  # extra_2 = 3']),
    fake_lines.map(lambda lines: ["'''", *lines, "'''"]),
    fake_lines.map(lambda lines: ['"""', *lines, '\\""" """ # """']),
    st.just(["[", "  # extra_1 = 1", '  "extra_2 = 2",', "]"]),
    st.just(["{ extra_1 = 1 }"]),
)
written_keys = st.sampled_from(["{}", '"{}"', "'{}'", "  {}"])


@st.composite
def documents(draw):
    """Return the lines of a spec that is valid but for its extra keys, and the line of each of those."""
    lines: list[str] = []
    where: dict[str, int] = {}
    number = 0
    for table in [TOP, *draw(st.permutations(TABLES))]:
        if table != TOP:
            lines.append(HEADERS[table])
        entries = [("", [line]) for line in NEEDED[table]]
        for _ in range(draw(st.integers(0, 3))):
            number += 1
            head, *rest = draw(values)
            path = {TOP: "", "application": "application.0."}.get(table, f"{table}.")
            written = draw(written_keys).format(f"extra_{number}")
            entries.append((f"{path}extra_{number}", [f"{written} = {head}", *rest]))
        for key, entry in draw(st.permutations(entries)):
            for comment in draw(st.lists(noise, max_size=2)):
                lines += comment
            if key:
                where[key] = len(lines) + 1
            lines += entry
    return lines, where


@settings(derandomize=True, deadline=None, max_examples=60)
@given(document=documents(), newline=st.sampled_from(["\n", "\r\n"]))
def test_the_line_of_an_error_is_the_line_where_the_key_stands(tmp_path_factory, document, newline):
    lines, where = document
    text = newline.join([*lines, ""])
    path = tmp_path_factory.getbasetemp() / "generated.toml"
    path.write_bytes(text.encode())
    if not where:
        assert load_spec(path).spec.name == "s"
        return
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    found = re.findall(r"^.*?generated\.toml:(\d+): (\S+): unknown field", str(caught.value), re.MULTILINE)
    assert {key: int(line) for line, key in found} == where


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85"], ids=["line", "paragraph", "next line"])
def test_only_newlines_count_as_lines(errors, separator):
    (line,) = errors(changed("[dataset]", f"# a{separator}comment\n[dataset]\nextra = 1"))
    assert line.startswith("spec.toml:6: dataset.extra: ")
