import tomllib
from pathlib import Path

import pytest

from budbreak.errors import BudbreakError, InvalidValue, MissingData, UnknownName
from budbreak.runs.recipe import Recipe, field_types, load_recipe, make_recipe

SMALL = {"name": "small", "dataset": "digits", "network": "mlp", "epochs": 3}
RECIPES = sorted((Path(__file__).parent.parent.parent / "recipes").glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_is_valid(path):
    assert load_recipe(path).name == path.stem


def test_the_resolved_recipe_spells_every_field_and_comes_back():
    recipe = make_recipe({**SMALL, "milestones": [1, 2.5], "exclude": ["fc.*"], "augment": True})
    body = tomllib.loads(recipe.to_toml())
    assert list(body) == list(field_types())
    assert make_recipe(body) == recipe


def test_identity_is_that_of_the_resolved_values_not_of_the_spelling_or_the_name():
    spelt_out = make_recipe({**SMALL, "rate": 0.2, "momentum": 0.9, "name": "other"})
    assert spelt_out.identity == make_recipe(SMALL).identity
    assert make_recipe({**SMALL, "rate": 0.25}).identity != make_recipe(SMALL).identity


def test_overrides_win_over_the_file(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text('dataset = "digits"\nnetwork = "mlp"\nepochs = 3\n')
    recipe = load_recipe(path, {"epochs": 7})
    assert (recipe.epochs, recipe.name) == (7, "a")


WRONG = [
    ({"epoch": 3}, UnknownName, "did you mean 'epochs'?"),
    ({"criterion": "magnitud"}, UnknownName, "did you mean 'magnitude'?"),
    ({"dataset": "mnits"}, UnknownName, "did you mean 'mnist'?"),
    ({"network": "resnet20"}, UnknownName, "did you mean 'resnet-20'?"),
    ({"arms": ["host", "ap"]}, UnknownName, "ap"),
    ({"arms": ["host", "host"]}, InvalidValue, "none twice"),
    ({"arms": []}, InvalidValue, "at least one"),
    ({"rate": 20}, InvalidValue, "write 0.2"),
    ({"sparsity": 1.0}, InvalidValue, "sparsity is 1.0"),
    ({"sparsity": -0.1}, InvalidValue, "sparsity is -0.1"),
    ({"q": 0}, InvalidValue, "q is 0"),
    ({"epochs": 2.5}, InvalidValue, "epochs is 2.5"),
    ({"epochs": True}, InvalidValue, "epochs is True"),
    ({"levels": 0}, InvalidValue, "levels is 0"),
    ({"learning_rate": 0}, InvalidValue, "learning_rate is 0"),
    ({"learning_rate": float("nan")}, InvalidValue, "learning_rate is nan"),
    ({"milestones": [2, 1]}, InvalidValue, "milestones are [2.0, 1.0]"),
    ({"milestones": [3]}, InvalidValue, "within the 3 epochs"),
    ({"warmup": 4}, InvalidValue, "warmup is 4"),
    ({"rewind_epoch": 3}, InvalidValue, "rewind_epoch is 3"),
    ({"rewind": "none", "rewind_epoch": 1}, InvalidValue, "only weights rewind"),
    ({"rewind": "lr"}, UnknownName, "rewind is 'lr'"),
    ({"name": "../x"}, InvalidValue, "names a folder"),
    ({"exclude": "fc.weight"}, InvalidValue, "it must be a list"),
    ({"augment": 1}, InvalidValue, "augment is 1"),
]


@pytest.mark.parametrize(("change", "kind", "words"), WRONG, ids=[str(change) for change, _, _ in WRONG])
def test_wrong_values_are_refused_with_value_rule_and_fix(change, kind, words):
    with pytest.raises(kind) as caught:
        make_recipe({**SMALL, **change})
    assert words in str(caught.value)


def test_a_missing_required_field_is_named():
    with pytest.raises(InvalidValue, match="lacks 'epochs'"):
        make_recipe({key: value for key, value in SMALL.items() if key != "epochs"})


def test_a_file_that_is_absent_or_no_toml(tmp_path):
    (tmp_path / "mnist.toml").write_text("dataset = ")
    with pytest.raises(MissingData, match=r"mnist\.toml"):
        load_recipe(tmp_path / "mnits.toml")
    with pytest.raises(InvalidValue, match="not TOML"):
        load_recipe(tmp_path / "mnist.toml")


def test_every_field_is_explained():
    assert all(field.metadata["help"] for field in Recipe.__dataclass_fields__.values())
    assert issubclass(UnknownName, BudbreakError)
