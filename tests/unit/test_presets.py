"""Recipes of the literature by name, and fields that came later."""

import pytest

from frepo.errors import SpecError
from frepo.plan import compile_plan
from frepo.spec import Dataset, Evaluate, Recipe, load_spec
from frepo.spec.application import CrossArchitecture, FairScores, Membership
from frepo.spec.recipe import complete
from frepo.spec.recipes import RECIPES

SPEC = """
name = "x"
[dataset]
name = "{dataset}"
[distill]
method = "random"
ipc = 1
[[application]]
type = "evaluate"
{fields}
"""


WHITENED = Dataset.model_validate({"name": "cifar10", "preprocess": {"type": "zca"}})


def loaded(tmp_path, fields, dataset="cifar10"):
    path = tmp_path / "spec.toml"
    path.write_text(SPEC.format(fields=fields, dataset=dataset))
    return load_spec(path).spec


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_valid_and_sets_what_it_says(tmp_path, name):
    application = loaded(tmp_path, f'recipe = "{name}"').application[0]
    for field, value in RECIPES[name].fields.items():
        assert getattr(application, field) == value
    assert RECIPES[name].architecture["normalization"] == application.normalization
    assert RECIPES[name].source


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_the_same_as_its_fields_written_out(tmp_path, name):
    def recipes(application):
        spec = loaded(tmp_path, "").model_copy(update={"application": (application,)})
        return [stage.fingerprint for stage in compile_plan(spec).stages]

    assert recipes(Evaluate(type="evaluate", recipe=name)) == recipes(Evaluate(type="evaluate", **RECIPES[name].fields))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ('recipe = "mtt"\noptimizer = "adam"', {"optimizer": "adam", "momentum": None, "decay": "decoupled"}),
        ('recipe = "mtt"\nsteps = 500', {"steps": 500, "epochs": None}),
        ('recipe = "rat_bptt"\nepochs = 20', {"steps": None, "epochs": 20}),
        ('recipe = "datm"\nlabels = "hard"\nloss = "xent"', {"labels": "hard", "loss": "xent", "batch_size": 128}),
        ('recipe = "datm"\nloss = "mse"', {"labels": "soft", "loss": "mse"}),
        ('recipe = "dsa"\nlearning_rate = 0.1', {"learning_rate": 0.1, "num_models": 20}),
        (
            'recipe = "rat_bptt"\naugmentation_strategy = "dsa"',
            {"augmentation_strategy": "dsa", "augmentation": None},
        ),
    ],
)
def test_a_field_that_is_given_stands_and_takes_its_own_with_it(tmp_path, fields, expected):
    application = loaded(tmp_path, fields).application[0]
    assert {name: getattr(application, name) for name in expected} == expected


def test_applications_take_from_a_recipe_what_they_read():
    crossed = CrossArchitecture(type="cross_architecture", recipe="mtt", architectures=({"type": "vgg11"},))
    assert crossed.epochs == 1000
    attacked = Membership(type="membership", recipe="rat_bptt", chunk_size=100)
    assert (attacked.steps, attacked.learning_rate) == (None, 1e-3)
    assert FairScores(type="fair_scores", recipe="dsa").augmentation_strategy == "dsa"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ('recipe = "mttt"', ":10: application.0.recipe: 'mttt' is not allowed, did you mean `mtt`?"),
        ("recipe = 3", ":10: application.0.recipe: "),
        ("epochs = 3\nsteps = 3", "set steps or epochs, not both"),
        (
            'augmentation = ["translate"]\naugmentation_strategy = "dsa"',
            "translate is no operation of 'dsa', which has color, crop, cutout, flip, scale, rotate",
        ),
        ('augmentation = ["scale"]', "scale is no operation of 'frepo', which has flip, "),
        ("mix_alpha = 2.0", "mix_alpha is read by mix = 'mixup' and 'cutmix' only"),
        ('optimizer = "lamb"\ndecay = "coupled"', "decay = 'coupled' is read by optimizer = 'adam' and 'sgd' only"),
        ('recipe = "mtt"\nmix = "blend"', ":11: application.0.mix: "),
    ],
)
def test_an_error_says_what_is_wrong(tmp_path, fields, expected):
    with pytest.raises(SpecError) as caught:
        loaded(tmp_path, fields)
    assert expected in str(caught.value)


def test_digits_are_not_mirrored(tmp_path):
    with pytest.raises(SpecError, match=r"mirror images of mnist are not of their class: set mirrored = false"):
        loaded(tmp_path, 'recipe = "rcig"', "mnist")
    spec = loaded(tmp_path, 'recipe = "rcig"\nmirrored = false', "mnist")
    (_, evaluate) = compile_plan(spec).stages
    assert evaluate.work.recipe.operations == ("color", "crop", "rotate", "translate", "cutout")
    spec = loaded(tmp_path, 'recipe = "dsa"', "mnist")
    assert compile_plan(spec).stages[1].work.recipe.operations == ("color", "crop", "cutout", "scale", "rotate")


def test_fields_that_came_later_are_left_out_where_they_change_nothing(tmp_path):
    spec = loaded(tmp_path, "")
    written = [spec.application[0].model_dump(mode="json"), compile_plan(spec).stages[1].identity["recipe"]]
    for table in written:
        assert not {*Recipe.added, "recipe"} & set(table)
        assert "steps" in table
    assert '"eps"' not in spec.model_copy(update={"dataset": WHITENED}).model_dump_json()
    changed = loaded(tmp_path, "epochs = 3\nmirrored = true")
    assert changed.application[0].model_dump(mode="json")["epochs"] == 3
    again = Evaluate.model_validate_json(changed.application[0].model_dump_json())
    assert again == changed.application[0]


def test_a_recipe_without_them_is_completed():
    written = Recipe(steps=600).model_dump(mode="json")
    assert set(complete(written)) == set(Recipe.model_fields)
    assert Recipe.model_validate(complete(written)) == Recipe(steps=600)


def test_whitening_with_eps_goes_without_the_other_fields(tmp_path):
    assert Dataset.model_validate({"name": "cifar10", "preprocess": {"type": "zca", "eps": 0.1}}).preprocess.eps == 0.1
    path = tmp_path / "spec.toml"
    path.write_text(SPEC.format(fields="", dataset="cifar10"))
    with pytest.raises(SpecError, match="eps goes without reg and without block"):
        load_spec(path, ['dataset.preprocess={type="zca", eps=0.1, block=16}'])


def test_the_recipes_are_listed(workplace):
    out, _ = workplace.frepo("recipes")
    for name, known in RECIPES.items():
        assert f"\n{name}: {known.source}\n" in f"\n{out}"
