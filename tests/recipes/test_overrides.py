"""Dotted paths: --set, the overrides of arms, and what they change."""

import pytest

from budbreak.errors import BudbreakError, InvalidValue, UnknownName
from budbreak.recipes import parse_set
from budbreak.recipes.overrides import flattened, overridden
from budbreak.recipes.sections import SECTIONS
from small import TINY

BASE = {name: table for name, table in TINY.items() if name in SECTIONS}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train.epochs=20", ("train.epochs", 20)),
        (" train.epochs = 20 ", ("train.epochs", 20)),
        ("prune.criterion=taylor", ("prune.criterion", "taylor")),
        ('prune.criterion="taylor"', ("prune.criterion", "taylor")),
        ("prune.criterion=mine:Mine", ("prune.criterion", "mine:Mine")),
        ('prune.then=[{is = "ap", q = 0.1}]', ("prune.then", [{"is": "ap", "q": 0.1}])),
        ("data.augment=true", ("data.augment", True)),
        ("train.optimizer.learning_rate=1e-3", ("train.optimizer.learning_rate", 1e-3)),
        ("prune.exclude=[]", ("prune.exclude", [])),
        ("network.name=a=b", ("network.name", "a=b")),
        ("train.epochs=" + "9" * 1900, ("train.epochs", 10**1900 - 1)),
    ],
)
def test_set_is_read_as_toml_and_else_as_text(text, expected):
    assert parse_set(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train.epochs", "it is PATH=VALUE"),
        ("=3", "it is PATH=VALUE"),
        ("prune.then=[ap]", "mind the quotes of the shell"),
        ("prune.then=", "written as in TOML"),
        ('prune.criterion="taylor', "written as in TOML"),
        ("train.epochs=3\nx = 4", "in 2 lines"),
        ("x=" + "[" * 1500, "written as in TOML"),
        ("x=" + "a" * 70000, "70,000 letters"),
        ("arms.ap.train.epochs=3", "write --arms ap --set train.epochs=3, or change the recipe"),
        ("arms.ap=3", "change the recipe"),
    ],
    ids=range(10),
)
def test_a_set_that_cannot_be_read_is_refused(text, words):
    with pytest.raises(InvalidValue) as caught:
        parse_set(text)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 3000


def test_a_path_is_the_same_with_quotes_and_without():
    tables = [
        {"prune.schedule.levels": 3, "prune.then": ["ap"]},
        {"prune": {"schedule": {"levels": 3}, "then": ["ap"]}},
        {"prune": {"schedule.levels": 3, "then": ["ap"]}},
    ]
    assert [flattened(table, "arms.x") for table in tables] == [tables[0]] * 3


def test_a_table_that_names_a_value_is_that_value():
    value = {"is": "geometric", "rate": 0.5, "levels": 3}
    assert flattened({"prune": {"schedule": value}}, "arms.x") == {"prune.schedule": value}


def test_two_spellings_of_one_path_are_refused():
    with pytest.raises(InvalidValue, match=r"arms\.x gives prune\.then twice"):
        flattened({"prune.then": [], "prune": {"then": ["ap"]}}, "arms.x")


def test_nothing_is_lost_of_empty_and_deep_tables():
    assert flattened({"train": {}, "prune": {"schedule": {}}}, "x") == {"train": {}, "prune.schedule": {}}
    deep = {"levels": 3}
    for _ in range(3000):
        deep = {"a": deep}
    assert list(flattened({"prune": deep}, "x")) == ["prune.a.a"]


def test_overrides_change_a_copy():
    before = repr(BASE)
    options = ["ap"]
    changed = overridden(BASE, {"train.epochs": 9, "prune.then": options})
    options.append("train")
    assert (changed["train"]["epochs"], changed["prune"]["then"]) == (9, ["ap"])
    assert changed["train"]["batch_size"] == 50
    assert repr(BASE) == before


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"prune.schedule.levels": 5}, {"is": "geometric", "rate": 0.2, "levels": 5}),
        ({"prune.schedule.is": "cubic"}, {"is": "cubic", "rate": 0.2, "levels": 1}),
        ({"prune.schedule": "dense"}, "dense"),
        ({"prune.schedule.levels": 5, "prune.schedule": {"is": "cubic", "sparsity": 0.9}},
         {"is": "cubic", "sparsity": 0.9, "levels": 5}),
    ],
)  # fmt: skip
def test_a_path_goes_on_into_the_arguments_of_a_value_in_any_order(overrides, expected):
    assert overridden(BASE, overrides)["prune"]["schedule"] == expected
    assert overridden(BASE, dict(reversed(overrides.items())))["prune"]["schedule"] == expected


def test_an_argument_of_a_default_value_leaves_its_others():
    changed = overridden({"prune": {}}, {"prune.schedule.levels": 3, "train.optimizer.momentum": 0.5})
    assert changed["prune"]["schedule"] == {"is": "geometric", "rate": 0.2, "levels": 3}
    assert changed["train"]["optimizer"] == {"is": "sgd", "momentum": 0.5}


@pytest.mark.parametrize(
    ("path", "kind", "words"),
    [
        ("trian.epochs", UnknownName, "did you mean 'train'?"),
        ("train.epoch", UnknownName, "did you mean 'epochs'?"),
        ("train.criterion", UnknownName, "did you mean criterion in [prune]?"),
        ("epochs", UnknownName, "did you mean epochs in [train]?"),
        ("train", InvalidValue, "an override names a field"),
        ("train.", InvalidValue, "an override names a field"),
        ("", UnknownName, "no section []"),
        ("train.epochs.x", InvalidValue, "leads into train.epochs, which is 2"),
        ("prune.schedule.levels.x", InvalidValue, "leads into prune.schedule"),
        ("prune.exclude.0", InvalidValue, "leads into prune.exclude, which is []"),
    ],
)
def test_a_path_to_nothing_is_refused_with_the_nearest(path, kind, words):
    with pytest.raises(kind) as caught:
        overridden(BASE, {path: 3})
    assert words in str(caught.value)


def test_a_section_that_is_no_table_is_refused():
    with pytest.raises(BudbreakError, match="a section is a table"):
        overridden({"train": 3}, {"train.epochs": 3})
