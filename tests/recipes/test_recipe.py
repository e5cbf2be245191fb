"""Arms and their references, grids, and what the command line sets."""

import time

import pytest

from budbreak.criteria import Magnitude, Taylor
from budbreak.errors import InvalidValue, UnknownName
from budbreak.recipes.recipe import make_recipe
from small import plain, small


def references(**whole):
    return {arm.name: arm.reference for arm in small(**whole).arms}


def test_a_recipe_without_arms_has_one():
    (arm,) = small().arms
    assert (arm.name, arm.reference, arm.overrides) == ("host", None, {})


def test_arms_override_any_field_and_leave_the_others():
    base, other = small(arms={"host": {}, "other": {"prune.criterion": "taylor", "train": {"epochs": 5}}}).arms
    assert (base.setup.prune.criterion, other.setup.prune.criterion) == (Magnitude(), Taylor())
    assert (base.setup.train.epochs, other.setup.train.epochs) == (2, 5)
    assert other.setup.train.batch_size == base.setup.train.batch_size == 50
    assert other.overrides == {"prune.criterion": "taylor", "train.epochs": 5}


def test_each_arm_is_compared_with_its_reference_and_else_with_the_first():
    arms = {"host": {}, "ap": {}, "lamp": {"reference": "none"}, "lamp-ap": {"reference": "lamp"}}
    assert references(arms=arms) == {"host": None, "ap": "host", "lamp": None, "lamp-ap": "lamp"}
    late = {"ap": {"reference": "host"}, "host": {"reference": "none"}, "other": {"reference": "host"}}
    assert references(arms=late) == {"ap": "host", "host": None, "other": "host"}


WRONG_ARMS = [
    ({"host": {}, "ap": {"reference": "hsot"}}, UnknownName, "did you mean 'host'?"),
    ({"host": {}, "ap": {"reference": "nobody"}}, UnknownName, "another arm: it is one of 'host', 'none'"),
    ({"host": {}, "ap": {"reference": 3}}, UnknownName, "arm 'ap' has the reference 3"),
    ({"host": {}, "ap": {"reference": ["host"]}}, UnknownName, "arm 'ap' has the reference ['host']"),
    ({"host": {"reference": "host"}}, InvalidValue, "in a circle: host -> host"),
    ({"a": {"reference": "b"}, "b": {"reference": "c"}, "c": {"reference": "b"}}, InvalidValue, "circle: b -> c -> b"),
    ({"a": {"reference": "b"}, "b": {}}, InvalidValue, "circle: a -> b -> a"),
    ({"host": 3}, InvalidValue, "arms.host is 3\nit is a table"),
    (["host"], InvalidValue, 'arms is ["host"]\nit is a table'),
    ({"my host": {}}, InvalidValue, "write [arms.my-host]"),
    ({"a/b": {}}, InvalidValue, "an arm is named 'a/b'"),
    ({"none": {}}, InvalidValue, "and not 'none'"),
    ({"": {}}, InvalidValue, "write [arms.host]"),
    ({"x" * 41: {}}, InvalidValue, "up to 40 letters"),
    ({"host": {"train.epoch": 3}}, UnknownName, "did you mean 'epochs'?"),
    ({"host": {"epochs": 3}}, UnknownName, "did you mean epochs in [train]?"),
    ({"host": {"train": 3}}, InvalidValue, "an override names a field"),
    ({"host": {}, "ap": {"prune.then": ["pa"]}}, UnknownName, "arm 'ap': prune.then[0]"),
    ({"host": {}, "ap": {"prune.then": [], "prune": {"then": ["ap"]}}}, InvalidValue, "gives prune.then twice"),
    ({"host": {}, "ap": {"prune.rewind_epoch": 2}}, InvalidValue, "arm 'ap': prune.rewind_epoch is 2"),
]  # fmt: skip


@pytest.mark.parametrize(("arms", "kind", "words"), WRONG_ARMS, ids=[words for _, _, words in WRONG_ARMS])
def test_wrong_arms_are_refused(arms, kind, words):
    with pytest.raises(kind) as caught:
        small(arms=arms)
    assert words in str(caught.value)


@pytest.mark.parametrize("arms", [{"a": {"prune.criterion": "taylor"}}, {"a": {}}])
def test_what_is_wrong_in_the_sections_is_no_fault_of_an_arm_nor_hidden_by_it(arms):
    with pytest.raises(UnknownName) as caught:
        small({"prune.criterion": "magnitud"}, arms=arms)
    assert str(caught.value).startswith("prune.criterion is 'magnitud'")


def test_a_grid_is_a_product_of_overrides_over_all_arms():
    grid = {"prune.criterion": ["magnitude", "taylor"], "train": {"epochs": [2, 3]}}
    recipe = small(arms={"host": {}, "ap": {"prune.then": ["ap"]}}, grid=grid)
    cells = ["criterion=magnitude+epochs=2", "criterion=magnitude+epochs=3", "criterion=taylor+epochs=2",
             "criterion=taylor+epochs=3"]  # fmt: skip
    assert [arm.name for arm in recipe.arms] == [f"{arm}@{cell}" for arm in ("host", "ap") for cell in cells]
    last = recipe.arms[-1]
    assert (last.family, last.setup.train.epochs, last.setup.prune.criterion) == ("ap", 3, Taylor())
    assert last.overrides == {"prune.then": ["ap"], "prune.criterion": "taylor", "train.epochs": 3}


def test_arms_of_a_cell_are_compared_within_it_and_the_first_arms_cells_with_its_first():
    arms = {"host": {}, "ap": {}, "other": {"reference": "ap"}, "alone": {"reference": "none"}}
    found = references(arms=arms, grid={"train.epochs": [2, 3]})
    assert found == {
        "host@epochs=2": None, "host@epochs=3": "host@epochs=2",
        "ap@epochs=2": "host@epochs=2", "ap@epochs=3": "host@epochs=3",
        "other@epochs=2": "ap@epochs=2", "other@epochs=3": "ap@epochs=3",
        "alone@epochs=2": None, "alone@epochs=3": None,
    }  # fmt: skip
    assert references(arms={"host": {"reference": "none"}}, grid={"train.epochs": [2, 3]})["host@epochs=3"] is None


@pytest.mark.parametrize(
    ("path", "values", "names"),
    [
        ("data.augment", [False], ["augment=false"]),
        ("train.optimizer.learning_rate", [0.1, 1e-05], ["learning_rate=0.1", "learning_rate=1e-05"]),
        ("prune.then", [[], ["ap"]], ["then=#0", "then=#1"]),
        ("prune.exclude", [["a, b"]], ["exclude=#0"]),
        ("prune.schedule", ["dense", {"is": "one-shot", "sparsity": 0.9}], ["schedule=dense", "schedule=#1"]),
    ],
)
def test_a_cell_is_named_by_its_values_or_their_places(path, values, names):
    assert [arm.name for arm in small(grid={path: values}).arms] == [f"host@{name}" for name in names]


def test_fields_of_one_name_are_told_apart_and_values_that_look_alike_too(mine):
    grid = {"data.name": ["digits"], "network.name": ["mlp"]}
    assert [arm.name for arm in small(grid=grid).arms] == ["host@data.name=digits+network.name=mlp"]
    path = mine / "loose.py"
    path.write_text((mine / "mine.py").read_text().replace("power: float = 2.0", "power: object = 2.0"))
    grid = {"prune.criterion.power": [1, "1"]}
    names = [arm.name for arm in small({"prune.criterion": "loose:Mine"}, grid=grid).arms]
    assert names == ["host@power=#0", "host@power=#1"]


WRONG_GRIDS = [
    ({"train.epochs": 3}, InvalidValue, "it is a list of the values to try"),
    ({"train.epochs": []}, InvalidValue, "it is a list of the values to try"),
    ({"train.epochs": [2, 3, 2]}, InvalidValue, "each value is in the list once"),
    ({"train.epoch": [2]}, UnknownName, "did you mean 'epochs'?"),
    ({"epochs": [2]}, UnknownName, "did you mean epochs in [train]?"),
    ({"train": [2]}, InvalidValue, "an override names a field"),
    ({"train.epochs": [2, 0]}, InvalidValue, "arm 'host@epochs=0': train.epochs is 0"),
    ([1], InvalidValue, "grid is [1]"),
    ({"train.epochs": [2], "train": {"epochs": [3]}}, InvalidValue, "the grid gives train.epochs twice"),
    ({"train.epochs": list(range(1, 1001)), "train.batch_size": list(range(1, 1001))}, InvalidValue, "1,000,000 cells"),
]  # fmt: skip


@pytest.mark.parametrize(("grid", "kind", "words"), WRONG_GRIDS, ids=[words for _, _, words in WRONG_GRIDS])
def test_wrong_grids_are_refused(grid, kind, words):
    with pytest.raises(kind) as caught:
        small(grid=grid)
    assert words in str(caught.value)


def test_an_arm_and_the_grid_do_not_set_the_same_field():
    with pytest.raises(InvalidValue, match=r"arm 'long' sets train\.epochs, and so does the grid"):
        small(arms={"host": {}, "long": {"train": {"epochs": 9}}}, grid={"train.epochs": [2, 3]})
    (arm,) = small(arms={"host": {"prune.schedule.levels": 3}}, grid={"prune.schedule.rate": [0.5]}).arms
    assert (arm.setup.prune.schedule.rate, arm.setup.prune.schedule.levels) == (0.5, 3)


def test_a_grid_of_ten_thousand_cells_is_read_in_seconds():
    begin = time.process_time()
    recipe = small(grid={"train.epochs": list(range(2, 102)), "train.batch_size": list(range(1, 101))})
    assert len(recipe.arms) == 10_000
    assert len({arm.name for arm in recipe.arms}) == 10_000
    assert time.process_time() - begin < 15


def test_arms_are_chosen_by_name_with_or_without_their_cell_in_the_recipes_order():
    recipe = small(arms={"host": {}, "ap": {}}, grid={"train.epochs": [2, 3]})
    assert [arm.name for arm in recipe.only(["ap", "host@epochs=3"])] == [
        "host@epochs=3", "ap@epochs=2", "ap@epochs=3",
    ]  # fmt: skip
    with pytest.raises(UnknownName, match="did you mean 'host'"):
        recipe.only(["hots"])


def test_sets_change_the_sections_beneath_all_arms_and_the_folder():
    given = plain(arms={"host": {}, "taylor": {"prune.criterion": "taylor"}})
    changed = make_recipe(given, sets={"train.epochs": 7, "prune.schedule.levels": 4})
    assert [arm.setup.train.epochs for arm in changed.arms] == [7, 7]
    assert changed.arms[0].setup.prune.schedule.levels == 4
    assert make_recipe(given, sets={"prune.criterion": "gradient"}).arms[1].setup.prune.criterion == Taylor()
    assert changed.folder_name != make_recipe(given).folder_name


@pytest.mark.parametrize(
    ("sets", "whole", "words"),
    [
        ({"train.epochs": 3}, {"arms": {"a": {"train.epochs": 4}}}, "arm 'a' sets it"),
        ({"train.epochs": 3}, {"arms": {"a": {"train.epochs": 4}, "b": {"train": {"epochs": 5}}}}, "every arm sets it"),
        ({"prune.schedule.levels": 3}, {"arms": {"a": {"prune.schedule": "dense"}}}, "arm 'a' sets it"),
        ({"train.epochs": 3}, {"grid": {"train.epochs": [4, 5]}}, "the grid sets it"),
    ],
)
def test_a_set_that_every_arm_overrides_is_refused(sets, whole, words):
    with pytest.raises(InvalidValue, match=words):
        make_recipe(plain(**whole), sets=sets)


def test_a_set_that_some_arm_still_feels_is_taken():
    arms = {"a": {"train.epochs": 4}, "b": {}}
    assert [arm.setup.train.epochs for arm in make_recipe(plain(arms=arms), sets={"train.epochs": 3}).arms] == [4, 3]
    arms = {"a": {"prune.schedule.levels": 4}}
    sets = {"prune.schedule": {"is": "geometric", "rate": 0.5, "levels": 9}}
    (arm,) = make_recipe(plain(arms=arms), sets=sets).arms
    assert (arm.setup.prune.schedule.rate, arm.setup.prune.schedule.levels) == (0.5, 4)


SEARCHED = {"activations.space": "paper"}
SEARCHES = {"host": {}, "searched": SEARCHED, "wide": {"train.batch_size": 8}}


def test_what_is_set_has_to_go_together_with_the_arms_that_are_run_alone():
    """Trials have 10 epochs, which a training of 3 has not."""
    given = plain(arms=SEARCHES)
    with pytest.raises(InvalidValue, match=r"arm 'searched': activations\.epochs is 10"):
        make_recipe(given, sets={"train.epochs": 3})
    recipe = make_recipe(given, sets={"train.epochs": 3}, only=["wide"])
    assert [arm.name for arm in recipe.arms] == ["host", "wide"]
    assert make_recipe(recipe.plain, only=["wide"]) == recipe  # what a run writes down reads back
    with pytest.raises(InvalidValue, match=r"arm 'searched': activations\.epochs is 10"):
        make_recipe(given, sets={"train.epochs": 3}, only=["searched"])


def test_an_arm_runs_though_its_reference_does_not_go_together_with_what_is_set():
    given = plain(arms={"host": {"activations.space": "paper"}, "other": {}})
    (arm,) = make_recipe(given, sets={"train.epochs": 3}, only=["other"]).arms
    assert (arm.name, arm.setup.train.epochs) == ("other", 3)


@pytest.mark.parametrize(
    ("sets", "only", "words"),
    [
        ({"activations.trials": 3}, ["host", "wide"], "activations.trials is 3\nno activations are searched"),
        ({"train.batch_size": 3}, ["wide"], "arm 'wide' sets it"),
        ({"activations.epochs": 1}, ["searched"], "arm 'searched' sets it"),
        ({}, ["wode"], "did you mean 'wide'"),
    ],
)
def test_what_the_arms_that_are_run_do_not_feel_is_refused(sets, only, words):
    given = plain(arms={**SEARCHES, "searched": {**SEARCHED, "activations.epochs": 2}})
    assert make_recipe(given, sets=sets)
    with pytest.raises((InvalidValue, UnknownName), match=words):
        make_recipe(given, sets=sets, only=only)


def test_the_folder_belongs_to_the_sections_and_not_to_arms_seeds_or_grid():
    """So seeds 5 -> 8, and an added arm, go on in it; other sections have another one."""
    recipe = small()
    assert recipe.folder_name.startswith("tiny-")
    for same in (small(seeds=8), small(arms={"ap": {"prune.then": ["ap"]}}), small(grid={"train.epochs": [2]})):
        assert (same.folder_name, same.identity) == (recipe.folder_name, recipe.identity)
    assert small({"train.epochs": 3}).folder_name != recipe.folder_name
    assert small(name="other").folder_name.startswith("other-")


def test_a_recipe_comes_back_from_its_plain_form():
    whole = {"arms": {"host": {}, "ap": {"reference": "host", "prune.then": ["ap"]}}, "grid": {"train.epochs": [2, 3]}}
    recipe = small({"prune.exclude": ["fc.*"]}, seeds=3, **whole)
    assert make_recipe(recipe.plain) == recipe


@pytest.mark.parametrize(
    ("whole", "words"),
    [
        ({"seeds": 0}, "seeds is 0"),
        ({"seeds": 2.0}, "seeds is 2.0"),
        ({"seeds": True}, "seeds is True"),
        ({"seeds": 10**7}, "at most 1,000"),
        ({"seeds": 1 << 8000}, "seeds is "),
        ({"name": "../x"}, "it names a folder"),
        ({"name": ".x"}, "it names a folder"),
        ({"name": ""}, "it names a folder"),
        ({"name": 3}, "it names a folder"),
        ({"name": "x" * 300}, "at most 100"),
    ],
    ids=range(10),
)
def test_wrong_names_and_seeds_are_refused(whole, words):
    with pytest.raises(InvalidValue) as caught:
        small(**whole)
    assert words in str(caught.value)


@pytest.mark.parametrize("section", [3, ["x"], "x", None])
def test_a_section_that_is_no_table_is_refused(section):
    with pytest.raises(InvalidValue, match=r"train is .*\n.*it is a table\nwrite \[train\]"):
        small({"train": section})


def test_an_unknown_section_is_refused_with_the_nearest():
    with pytest.raises(UnknownName, match="did you mean 'prune'"):
        small(prnue={})
    with pytest.raises(UnknownName, match=r"did you mean epochs in \[train\]"):
        small(epochs=3)
