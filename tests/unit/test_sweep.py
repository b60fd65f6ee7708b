"""A file of many experiments: `extends`, the axes and cases of `[sweep]`, and errors that name them by line."""

import json
import math
import time
from functools import partial
from pathlib import Path

import pytest
import tomli
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from frepo.errors import SpecError
from frepo.execute.survey import survey
from frepo.plan import compile_plan
from frepo.spec import Vgg11, json_schema, load_spec, load_specs
from frepo.spec.document import DEEPEST, merged

ROOT = Path(__file__).parents[2]

# The line numbers below count from name = line 1.
BASE = """\
name = "base"
seed = 7

[dataset]
name = "digits"

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
SWEEP = """\
extends = "base.toml"
name = "main"

[sweep]
seed = [0, 1]
distill.ipc = [1, 10]

[[sweep.case]]
label = "slow"
"distill.learning_rate" = 0.001

[[sweep.case]]
label = "fast"
"distill.learning_rate" = 0.01
"pool.size" = 2
"""


@pytest.fixture
def files(tmp_path):
    """Return what writes spec files and loads the last of them."""

    def files(*overrides, base=BASE, **texts):
        for name, text in {"base": base, **texts}.items():
            (tmp_path / f"{name}.toml").write_text(text)
            path = tmp_path / f"{name}.toml"
        return load_specs(path, overrides)

    return files


@pytest.fixture
def errors(spec_errors, files):
    """Return what loads files that are not valid and returns the lines of the message."""
    return partial(spec_errors, files)


def changed(old, new):
    assert SWEEP.count(old) == 1, old
    return SWEEP.replace(old, new)


def names(loaded):
    return [entry.spec.name for entry in loaded]


def test_every_combination_is_an_experiment_the_first_axis_slowest(files):
    loaded = files(main=SWEEP)
    assert names(loaded) == [
        f"main-seed{seed}-ipc{ipc}-{case}" for seed in (0, 1) for ipc in (1, 10) for case in ("slow", "fast")
    ]
    assert {entry.sweep for entry in loaded} == {"main"}
    assert list(loaded[3].swept.items()) == [("seed", 0), ("distill.ipc", 10), ("case", "fast")]
    spec = loaded[3].spec
    assert (spec.seed, spec.distill.ipc, spec.distill.learning_rate, spec.pool.size) == (0, 10, 0.01, 2)
    assert (spec.distill.steps, spec.architecture.width, loaded[2].spec.pool.size) == (1000, 32, 10)


def test_a_file_without_a_sweep_is_one_experiment(files):
    (loaded,) = files("seed=1")
    assert (loaded.spec.name, loaded.sweep, loaded.swept, loaded.bases) == ("base", None, {}, ())


def test_an_experiment_of_a_sweep_is_the_spec_that_it_stands_for(files, tmp_path):
    swept = files(main=SWEEP)[3].spec
    overrides = ["seed=0", "distill.ipc=10", "distill.learning_rate=0.01", "pool.size=2", f"name={swept.name}"]
    alone = load_spec(tmp_path / "base.toml", overrides).spec
    assert compile_plan(swept).fingerprint == compile_plan(alone).fingerprint


def test_the_texts_of_all_files_are_kept(files):
    loaded = files(middle='extends = "base.toml"\nseed = 3\n', top='extends = "middle.toml"\n[distill]\nipc = 2\n')[0]
    assert [base.path.name for base in loaded.bases] == ["middle.toml", "base.toml"]
    assert loaded.bases[1].text == BASE
    assert (loaded.spec.name, loaded.spec.seed, loaded.spec.distill.ipc, loaded.spec.distill.steps) == (
        "base",
        3,
        2,
        1000,
    )


def test_lists_are_replaced(files):
    (loaded,) = files(top='extends = "base.toml"\n[[application]]\ntype = "evaluate"\n')
    assert loaded.spec.application[0].baselines == ()


def test_a_base_lies_beside_the_file_that_extends_it(files, tmp_path):
    (tmp_path / "below").mkdir()
    (tmp_path / "base.toml").write_text(BASE)
    path = tmp_path / "below" / "x.toml"
    path.write_text('extends = "../base.toml"\n')
    assert load_spec(path).spec.name == "base"


def test_a_sweep_can_be_extended_too(files):
    loaded = files(main=SWEEP, short='extends = "main.toml"\n[sweep]\n"distill.ipc" = [3]\ncase = [{label = "x"}]\n')
    assert names(loaded) == ["main-seed0-ipc3-x", "main-seed1-ipc3-x"]


def test_one_experiment_is_asked_for_by_a_message_that_names_the_commands(files, tmp_path):
    files(main=SWEEP)
    with pytest.raises(SpecError, match=r"main\.toml:4: \[sweep\] makes 8 experiments .* frepo run, check and plan"):
        load_spec(tmp_path / "main.toml")


NAMED = {
    "number": ("distill.learning_rate", "[1, 3e-4]", ["learning_rate1", "learning_rate0.0003"]),
    "truth": ("distill.learn_labels", "[true, false]", ["learn_labels-true", "learn_labels-false"]),
    "text": ("dataset.name", '["mnist", "imagenet_resized/64x64"]', ["mnist", "imagenet_resized-64x64"]),
    "table": ("architecture", '[{ type = "vgg11" }, { type = "conv", width = 8 }]', ["vgg11", "conv-width8"]),
    "list": ("application.0.augmentation", '[[], ["flip", "crop"]]', ["augmentation-none", "flip-crop"]),
}


@pytest.mark.parametrize(("field", "values", "parts"), NAMED.values(), ids=NAMED)
def test_names_are_made_from_values(files, field, values, parts):
    base = BASE.replace('"digits"', '"cifar10"')
    loaded = files(base=base, s=f'extends = "base.toml"\n[sweep]\n{field} = {values}\n')
    assert names(loaded) == [f"base-{part}" for part in parts]
    if field == "architecture":
        assert loaded[0].spec.architecture == Vgg11(type="vgg11")  # the table is replaced, its width with it


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["distill.steps=5"], {5}),
        (['distill={method="frepo", ipc=2, steps=6}'], {6}),
        (["sweep.distill.ipc=[4]", "sweep.seed=[0]", 'sweep.case=[{label="x"}]'], {1000}),
    ],
)
def test_overrides_are_those_of_every_experiment(files, overrides, expected):
    loaded = files(*overrides, main=SWEEP)
    assert {entry.spec.distill.steps for entry in loaded} == expected
    assert len(loaded) == (1 if "sweep" in overrides[0] else 8)


def test_a_loaded_experiment_can_be_overridden_further(files):
    again = files(main=SWEEP)[3].overridden("distill.steps=9")
    assert (again.spec.name, again.spec.distill.steps, again.overrides) == (
        "main-seed0-ipc10-fast",
        9,
        ("distill.steps=9",),
    )


SPEEDS = '"distill.learning_rate" = 0.01\n"pool.size" = 2'
INVALID = {
    "a value of an axis": (
        changed("[1, 10]", "[1, 0, 10]"),
        "main.toml:6: [sweep] distill.ipc = 0: distill.ipc: input should be greater than or equal to 1, got 0",
    ),
    "a field of a case": (
        changed('"pool.size"', '"pool.szie"'),
        """main.toml:12: [[sweep.case]] "fast": pool.szie: unknown field, did you mean `size`?; allowed here: """,
    ),
    "a word of a case": (
        changed('"pool.size" = 2', '"distill.optimizer" = "lam"'),
        """main.toml:12: [[sweep.case]] "fast": distill.optimizer: 'lam' is not allowed, did you mean `lamb`?; """,
    ),
    "what comes with a case": (
        changed(SPEEDS, '"dataset.preprocess.reg" = 0.1\n"dataset.chunk_size" = 5'),
        """main.toml:12: [[sweep.case]] "fast": dataset.preprocess.type: this field is required and chooses the kind""",
    ),
    "an axis that is no list": (
        changed("[0, 1]", "0"),
        "main.toml:5: [sweep] seed: must be a list of values, at least",
    ),
    "an axis without values": (
        changed("[0, 1]", "[]"),
        "main.toml:5: [sweep] seed: must be a list of values, at least",
    ),
    "an axis in single and double quotes": (
        changed("seed = [0, 1]", '"distill.ipc" = [1]'),
        "main.toml:5: [sweep] names distill.ipc twice, with and without quotes",
    ),
    "two points of one name": (
        changed("[0, 1]", "[0, 0]"),
        'main.toml:4: [sweep]: the experiment of seed = 0, distill.ipc = 1, case = "slow" and the experiment of seed',
    ),
    "a case without a label": (changed('label = "fast"\n', ""), 'main.toml:12: [[sweep.case]]: needs a label = "NAME"'),
    "a label that is no name": (changed('"fast"', '"a/b"'), 'main.toml:12: [[sweep.case]]: needs a label = "NAME"'),
    "a case in single brackets": (
        changed('[[sweep.case]]\nlabel = "slow"', '[sweep.case]\nlabel = "slow"').split("[[")[0],
        "main.toml:8: [sweep] case: write [[sweep.case]] in double brackets",
    ),
    "a case that may mean two things": (
        changed('"pool.size" = 2', "distill.flip = false"),
        """main.toml:12: [[sweep.case]] "fast": distill is a table here and in the spec, whose other fields""",
    ),
    "an axis that takes another away": (
        changed('"pool.size" = 2', '"distill.ipc" = 2'),
        'main.toml:12: [[sweep.case]] "fast": sets distill.ipc, and so takes away distill.ipc of main.toml:6: [sweep]',
    ),
    "the name": (changed("seed", "name"), "main.toml:5: [sweep]: name cannot be swept"),
    "a place that is not there": (
        changed("seed = [0, 1]", "application.3.steps = [1]"),
        "main.toml:5: [sweep] application.3.steps = 1: the spec has no application.3",
    ),
    "a place in a list that is not there": (
        'extends = "base.toml"\n[sweep]\ndataset.classes.0 = [1]\n',
        "main.toml:3: [sweep] dataset.classes.0 = 1: the spec has no dataset.classes.0",
    ),
    "no axis": ('extends = "base.toml"\n[sweep]\n', "main.toml:2: [sweep] needs an axis"),
    "no table": ('extends = "base.toml"\nsweep = 3\n', "main.toml:2: [sweep] needs an axis"),
    "a long name": (changed('"fast"', f'"{"x" * 90}"'), "main.toml:4: [sweep]: the name 'main-seed0-ipc1-xxx"),
    "too many": (
        changed("[0, 1]", str(list(range(10_000)))),
        "main.toml:4: [sweep] makes 40,000 experiments, at most 10,000 are allowed",
    ),
    "the base": (changed('"main"', '"a b"'), "main.toml:2: name: 'a b' is not allowed; it must match"),
    "no path": (changed('"base.toml"', "3"), "main.toml:1: extends: must be the path of a spec"),
    "no such base": (
        changed('"base.toml"', '"bsae.toml"'),
        "main.toml:1: extends: bsae.toml: no such file, did you mean `base.toml`?",
    ),
    "a circle": (
        changed('"base.toml"', '"main.toml"'),
        "main.toml:1: extends: goes in a circle: main.toml -> main.toml",
    ),
}


@pytest.mark.parametrize(("text", "expected"), INVALID.values(), ids=INVALID)
def test_an_error_names_file_line_axis_value_and_field_once(errors, text, expected):
    (line,) = errors(main=text)
    assert line.startswith(expected)


def test_an_error_of_a_base_names_the_base(errors):
    (line,) = errors(base=BASE.replace("width", "widht"), main=SWEEP)
    assert line.startswith("base.toml:8: architecture.widht: unknown field, did you mean `width`?")


def test_what_the_nearer_file_replaces_is_found_there(errors):
    top = 'extends = "base.toml"\n[[application]]\nnum_models = 2\n'
    assert errors(top=top)[0].startswith("top.toml:2: application.0.type: this field is required")


def test_an_error_of_some_combinations_names_the_first(errors):
    text = 'extends = "base.toml"\n[sweep]\nseed = [0, 1, 2]\narchitecture.width = [7, 8]\n' + (
        'architecture.normalization = ["batch", "group"]\n'
    )
    (line,) = errors(main=text)
    assert line.startswith('main.toml:5: [sweep] architecture.normalization = "group": architecture')
    assert line.endswith("width that is a multiple of 4, not 7 (in base-seed0-width7-group and 2 more)")


def test_an_override_of_a_swept_field_names_both(errors):
    (line,) = errors("distill.ipc=3", main=SWEEP)
    assert line.startswith("--set distill.ipc=3: is set by main.toml:6: [sweep] distill.ipc = 1 too: leave it out")
    (line,) = errors("sweep.seed=[0, -1]", main=SWEEP)
    assert line.startswith("--set sweep.seed=[0, -1]: [sweep] seed = -1: seed: input should be greater")


def test_a_chain_that_is_too_long_is_refused(errors, files):
    chain = {f"f{number}": f'extends = "f{number - 1}.toml"\n' for number in range(1, DEEPEST + 1)}
    (line,) = errors(f0=BASE, **chain)
    assert line.startswith(f"f1.toml:1: extends: is the {DEEPEST}th file after another")
    del chain[f"f{DEEPEST}"]
    assert names(files(f0=BASE, **chain)) == ["base"]


tables = st.recursive(
    st.integers(0, 3), lambda below: st.dictionaries(st.sampled_from("abc"), below, max_size=3), max_leaves=8
)


def of_one_shape(*values):
    """Return whether a key is a table in all of them or in none: else a number would hide what lies behind it."""
    held = [value for value in values if value is not None]
    dicts = [value for value in held if isinstance(value, dict)]
    keys = {key for value in dicts for key in value}
    return len(dicts) in (0, len(held)) and all(of_one_shape(*(d.get(key) for d in dicts)) for key in keys)


@settings(derandomize=True, deadline=None)
@given(a=tables, b=tables, c=tables)
def test_merging_is_associative_and_an_empty_table_changes_nothing(a, b, c):
    if isinstance(a, dict):
        assert merged(a, {}) == merged({}, a) == merged(a, a) == a
    if of_one_shape(a, b, c):
        assert merged(merged(a, b), c) == merged(a, merged(b, c))


axes = st.fixed_dictionaries(
    {},
    optional={
        "seed": st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True),
        "distill.ipc": st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True),
        "distill.flip": st.just([True, False]),
        "distill.learning_rate": st.lists(st.floats(1e-6, 1), min_size=1, max_size=3, unique=True),
        "architecture": st.just([{"type": "vgg11"}, {"type": "conv", "width": 8}]),
    },
).filter(bool)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(axes=axes)
def test_there_are_as_many_experiments_as_combinations_and_their_names_differ(tmp_path_factory, axes):
    path = tmp_path_factory.getbasetemp() / "law.toml"
    overrides = [f"sweep.{name}={toml(values)}" for name, values in axes.items()]
    path.write_text(BASE.replace('"digits"', '"cifar10"') + "[sweep]\nseed = [0]\n")
    found = load_specs(path, overrides)
    assert len(found) == math.prod(map(len, axes.values()))
    assert len(set(names(found))) == len(found)
    axis_of = {"seed": [0], **axes}
    assert {name: [*dict.fromkeys(json.dumps(entry.swept[name]) for entry in found)] for name in axis_of} == {
        name: [json.dumps(value) for value in values] for name, values in axis_of.items()
    }


def toml(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(below)}" for key, below in value.items()) + "}"
    return f"[{', '.join(map(toml, value))}]" if isinstance(value, list) else json.dumps(value)


THOUSAND = (
    BASE + f"[sweep]\nseed = {list(range(10))}\ndistill.ipc = {list(range(1, 11))}\npool.size = {list(range(1, 11))}\n"
)


def test_a_thousand_experiments_are_checked_in_a_moment(files):
    files()
    began = time.process_time()
    assert len(files(base=THOUSAND)) == 1000
    assert time.process_time() - began < 1.5  # 0.15 on a quiet machine


def test_a_thousand_wrong_experiments_are_as_many_errors_as_wrong_values(errors):
    lines = errors(base=THOUSAND.replace("[1, 2,", "[0, -2,", 1))
    assert len(lines) == 2


def test_a_survey_counts_a_stage_that_experiments_share_once(files, tmp_path):
    found = survey(files(main=SWEEP), tmp_path / "runs")
    # Of each seed and ipc: two distillations with an evaluation each, and one random selection with its evaluation.
    assert (found.asked_for, len(found.graph.stages), found.shared, len(found.done)) == (32, 24, 8, 0)
    assert found.axes == {"seed": [0, 1], "distill.ipc": [1, 10], "case": ["slow", "fast"]}


def test_the_schema_takes_files_that_leave_fields_to_others_and_still_refuses_unknown_ones():
    validator = Draft202012Validator(json_schema())
    assert not list(validator.iter_errors(tomli.loads(SWEEP)))
    assert not list(validator.iter_errors(tomli.loads('extends = "x.toml"\n[distill]\nsteps = 3\n')))
    (error,) = validator.iter_errors(tomli.loads('extends = "x.toml"\n[pool]\nszie = 3\n'))
    assert "'szie' was unexpected" in error.message
    (error,) = validator.iter_errors(tomli.loads(changed('label = "fast"\n', "")))
    assert "'label' is a required property" in error.message


def test_the_main_table_is_the_specs_of_the_paper_with_seeds():
    loaded = load_specs(ROOT / "specs" / "paper" / "main_table.toml")
    assert len(loaded) == 42
    for entry in loaded:
        case = entry.swept["case"]
        alone = load_spec(ROOT / "specs" / "paper" / f"{case.replace('-', '_')}.toml", [f"seed={entry.swept['seed']}"])
        assert entry.spec.model_copy(update={"name": alone.spec.name}) == alone.spec
