import tomllib
from pathlib import Path

import pytest

from budbreak.errors import BudbreakError, InvalidValue, MissingData, UnknownName
from budbreak.studies import Recipe, field_types, load_recipe, overridden
from budbreak.studies.recipe import make_recipe

SMALL = {"name": "small", "dataset": "digits", "network": "mlp", "epochs": 3}
RECIPES = sorted((Path(__file__).parent.parent.parent / "recipes").glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_is_valid(path):
    assert load_recipe(path).name == path.stem


def test_the_resolved_recipe_spells_every_field_and_comes_back():
    recipe = make_recipe({**SMALL, "milestones": [1, 2.5], "exclude": ["fc.*"]})
    body = tomllib.loads(recipe.to_toml())
    idle = {"sparsity", "probe_images"}  # without effect under a geometric schedule and magnitude
    assert list(body) == [key for key in field_types() if key not in idle]
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
    ({"schedule": "one-shot", "sparsity": 1.0}, InvalidValue, "sparsity is 1.0"),
    ({"schedule": "cubic", "sparsity": -0.1}, InvalidValue, "sparsity is -0.1"),
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
    ({"rewind": "lr"}, UnknownName, "rewind is 'lr'"),
    ({"name": "../x"}, InvalidValue, "names a folder"),
    ({"exclude": "fc.weight"}, InvalidValue, "it must be a list"),
    ({"augment": 1}, InvalidValue, "augment is 1"),
    ({"augment": True}, InvalidValue, "images of 8 x 8 pixels"),
    ({"nesterov": True, "momentum": 0}, InvalidValue, "add momentum = 0.9"),
    ({"levels": 10**8}, InvalidValue, "at most 1,000"),
    ({"seeds": 10**7}, InvalidValue, "at most 1,000"),
    ({"epochs": 10**9}, InvalidValue, "at most 100,000"),
    ({"batch_size": 1 << 4000}, InvalidValue, "4001 bits"),
    ({"learning_rate": 1 << 14000}, InvalidValue, "14001 bits"),
    ({"gamma": 1e200, "milestones": [1, 2]}, InvalidValue, "gamma is 1e+200"),
    ({"name": "x" * 300}, InvalidValue, "at most 100"),
    ({"exclude": ["x"] * 1000}, InvalidValue, "exclude has 1,000 items"),
]


@pytest.mark.parametrize(("change", "kind", "words"), WRONG, ids=[str(change)[:60] for change, _, _ in WRONG])
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


IDLE = [
    ({"sparsity": 0.9}, "sparsity", "schedule"),  # the default, but given all the same
    ({"schedule": "cubic", "rate": 0.2}, "rate", "schedule"),
    ({"schedule": "one-shot", "levels": 3}, "levels", "schedule"),
    ({"arms": ["host", "host-retrain"], "q": 0.02}, "q", "arms"),
    ({"gamma": 0.5}, "gamma", "milestones"),
    ({"milestones": [1], "gamma": 1.0}, "milestones", "gamma"),
    ({"probe_images": 100}, "probe_images", "criterion"),
    ({"rewind": "none", "rewind_epoch": 1}, "rewind_epoch", "rewind"),
]


@pytest.mark.parametrize(("change", "field", "because"), IDLE, ids=[field for _, field, _ in IDLE])
def test_a_field_without_effect_is_refused_also_as_a_flag(change, field, because, tmp_path):
    with pytest.raises(InvalidValue, match=rf"{field} is .* with {because} = .*\n.*no effect"):
        make_recipe({**SMALL, **change})
    path = tmp_path / "a.toml"
    path.write_text('dataset = "digits"\nnetwork = "mlp"\nepochs = 3\n')
    with pytest.raises(InvalidValue, match=f"{field} has no effect"):
        load_recipe(path, change)


@pytest.mark.parametrize(
    ("change", "field"),
    [({"criterion": "taylor", "probe_images": 100}, "probe_images"), ({"arms": ["host-split"], "q": 0.1}, "q")],
)
def test_a_field_with_an_effect_stays(change, field):
    assert field in make_recipe({**SMALL, **change}).effective


def test_a_flag_sets_aside_what_it_leaves_without_effect_in_the_file(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text('dataset = "digits"\nnetwork = "mlp"\nepochs = 3\nlevels = 4\nrate = 0.5\nq = 0.1\n')
    flags = {"schedule": "one-shot", "sparsity": 0.8}
    assert overridden(path, flags) == {"rate": "schedule", "levels": "schedule"}
    assert load_recipe(path, flags) == make_recipe({**SMALL, "name": "a", "q": 0.1, **flags})
    assert overridden(path, {"arms": ("host",)}) == {"q": "arms"}
    with pytest.raises(InvalidValue, match="rate has no effect"):
        load_recipe(path, {**flags, "rate": 0.5})


@pytest.mark.parametrize(
    "text",
    [
        "a" + ".a" * 40000 + " = 1",
        "a" + ".a" * 30000 + " = 1",
        "x = " + "[" * 5000,
        "epochs = " + "9" * 5000,
        "rate = \xff",
        "x = {a = " * 900,
    ],
    ids=["large", "dotted", "nested", "huge", "not utf-8", "tables"],
)
def test_hostile_files_are_refused_at_once(text, tmp_path):
    path = tmp_path / "a.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(BudbreakError) as caught:
        load_recipe(path)
    assert len(str(caught.value)) < 1000
