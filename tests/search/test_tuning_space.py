"""Spaces of settings: what they hold, what a candidate becomes, and what is refused."""

import copy
import json
import math
import pickle
import random
import tomllib
from collections import Counter

import numpy as np
import pytest

from budbreak.errors import InvalidValue, UnknownName
from budbreak.search import Options, Parameter, Range, TuningSpace, drawn

RATE = {"low": 1e-4, "high": 0.1, "log": True}
NESTED = """
batch_size = {low = 16, high = 64, log = true}
"optimizer.eps" = {choose = [1e-8, 1e-6]}
limit = 3
[optimizer]
choose = [
    {is = "sgd", learning_rate = {low = 1e-4, high = 0.1, log = true}, momentum = {low = 0.1, high = 0.9}},
    {is = "adam", betas = [0.9, 0.99]},
    "fromage",
]
[schedule]
choose = ["constant", {is = "steps", milestones = [3]}, {is = "steps", milestones = [5]}]
when = {optimizer = ["sgd", "adam"]}
"""


def nested():
    return TuningSpace(tomllib.loads(NESTED))


def test_a_space_is_read_in_the_order_of_its_text():
    when = (("optimizer", ("sgd", "adam")),)
    steps = ('{is = "steps", milestones = [3]}', '{is = "steps", milestones = [5]}')
    assert nested().parameters == (
        Parameter("batch_size", Range(16, 64, log=True)),
        Parameter("optimizer.eps", Options((1e-8, 1e-6))),
        Parameter("optimizer", Options(("sgd", "adam", "fromage"))),
        Parameter("optimizer.sgd.learning_rate", Range(1e-4, 0.1, log=True), (("optimizer", ("sgd",)),)),
        Parameter("optimizer.sgd.momentum", Range(0.1, 0.9), (("optimizer", ("sgd",)),)),
        Parameter("schedule", Options(("constant", *steps)), when),
    )


def test_a_candidate_becomes_settings():
    space, steps = nested(), '{is = "steps", milestones = [5]}'
    assert space.settings((16, 1e-6, "sgd", 0.01, 0.5, steps)) == {
        "batch_size": 16,
        "optimizer.eps": 1e-6,
        "limit": 3,
        "optimizer": {"is": "sgd", "learning_rate": 0.01, "momentum": 0.5},
        "schedule": {"is": "steps", "milestones": [5]},
    }
    adam = space.settings((64, 1e-8, "adam", None, None, "constant"))
    assert adam["optimizer"] == {"is": "adam", "betas": [0.9, 0.99]}
    assert "schedule" not in space.settings((64, 1e-8, "fromage", None, None, None))
    adam["optimizer"]["betas"].append(3)
    assert space.settings((64, 1e-8, "adam", None, None, "constant"))["optimizer"]["betas"] == [0.9, 0.99]


@pytest.mark.parametrize(
    "candidate",
    [
        (16, 1e-6, "sgd", 0.01, 0.5),
        (16, 1e-6, "sgd", 0.01, None, "constant"),
        (16, 1e-6, "adam", 0.01, None, "constant"),
        (16, 1e-6, "fromage", None, None, "constant"),
        (16.0, 1e-6, "fromage", None, None, None),
        (65, 1e-6, "fromage", None, None, None),
        (16, 1e-7, "fromage", None, None, None),
        (True, 1e-6, "fromage", None, None, None),
        [16, 1e-6, "fromage", None, None, None],
        (16, 1e-6, "lion", None, None, None),
    ],
    ids=range(10),
)
def test_what_is_no_candidate_is_refused(candidate):
    assert candidate not in nested().candidates
    with pytest.raises(InvalidValue, match="a candidate is a value for each"):
        nested().settings(candidate)


def test_options_with_names_of_their_own():
    space = TuningSpace({"size": {"choose": {"small": 8, "any": {"low": 16, "high": 32}}}})
    assert [one.name for one in space.parameters] == ["size", "size.any"]
    assert space.settings(("small", None)) == {"size": 8}
    assert space.settings(("any", 20)) == {"size": 20}


def test_the_spaces_of_the_paper():
    paper, safs = TuningSpace.of("paper", epochs=80), TuningSpace.of(epochs=80)
    assert TuningSpace.of(safs.plain()) == safs == TuningSpace.of(safs) != paper
    assert [one.name for one in paper.parameters] == [
        "optimizer",
        "optimizer.sgd.learning_rate",
        "optimizer.sgd.momentum",
        "optimizer.sgd.weight_decay",
        "optimizer.adam.learning_rate",
        "optimizer.adam.weight_decay",
        "optimizer.tadam.learning_rate",
        "optimizer.tadam.weight_decay",
        "optimizer.fromage.learning_rate",
        "schedule",
    ]
    domains = {one.name: one.domain for one in paper.parameters}
    logs = {one.name: one.domain for one in safs.parameters}
    assert domains["optimizer.sgd.momentum"] == Range(0.1, 0.999)
    assert domains["optimizer.fromage.learning_rate"] == Range(1e-4, 1e-1, log=True)
    different = {name for name in domains if domains[name] != logs[name]}
    assert different == {name for name in domains if name.endswith("weight_decay")}
    assert {domains[name] for name in different} == {Range(1e-5, 1e-1)}
    assert {logs[name] for name in different} == {Range(1e-5, 1e-1, log=True)}
    fromage = (*["fromage"], *[None] * 7, 0.01, None)
    assert safs.settings(fromage) == {"optimizer": {"is": "fromage", "learning_rate": 0.01}, "schedule": "constant"}


def test_a_space_of_fewer_epochs_leaves_schedules_out_and_a_candidate_means_the_same_in_that_of_more():
    schedules = [TuningSpace.of("safs", epochs=epochs).parameters[-1].domain.values for epochs in (1, 5, 20, 80)]
    assert schedules[0] == ("constant", "cosine")
    assert schedules[1] == ("constant", "cosine", "restarts", "steps", "plateau")
    assert schedules[2] == (*schedules[1], "warmup")
    assert schedules[3] == (*schedules[2], "halving")
    candidate = ("sgd", 0.01, 0.9, 1e-4, *[None] * 5, "restarts")
    for epochs, cycle in ((10, 2.0), (50, 12.0)):
        settings = TuningSpace.of("safs", epochs=epochs).settings(candidate)
        assert settings["schedule"] == {"is": "cosine", "cycle": cycle, "end": 5e-3}


def test_a_space_is_a_value():
    space, other = nested(), TuningSpace({"a": RATE})
    assert space == nested()
    assert hash(space) == hash(nested())
    assert space != other
    copies = (pickle.loads(pickle.dumps(space)), copy.deepcopy(space))
    assert copies == (space, space)
    fromage = (64, 1e-8, "fromage", None, None, None)
    assert all(one.settings(fromage) == space.settings(fromage) for one in copies)
    assert eval(repr(space)) == space
    assert TuningSpace(json.loads(json.dumps(space.plain()))) == space
    space.plain()["optimizer"]["choose"].clear()
    space["optimizer"]["choose"].clear()
    assert space == nested()
    assert TuningSpace({"a": {"choose": [1, 2]}}).size == 2
    assert other.size == math.inf


def test_draws_are_inside_and_spread_as_they_should_be():
    space, draw = nested(), random.Random(0)
    met = [drawn(space, draw) for _ in range(3000)]
    assert all(candidate in space.candidates for candidate in met)
    counts = Counter(candidate[2] for candidate in met)
    assert all(abs(counts[name] - 1000) < 110 for name in ("sgd", "adam", "fromage"))  # sd 26
    rates = [candidate[3] for candidate in met if candidate[3] is not None]
    decades = Counter(math.floor(math.log10(rate)) for rate in rates)
    assert all(abs(decades[place] - len(rates) / 3) < 80 for place in (-4, -3, -2))
    sizes = Counter(candidate[0] for candidate in met)
    assert set(sizes) == set(range(16, 65))
    assert 0.45 < sum(sizes[size] for size in range(16, 32)) / 3000 < 0.55  # 16 to 32 as much as 32 to 64


def test_ranges_of_whole_numbers_reach_both_ends_as_often():
    counts = Counter(Range(1, 3).draw(random.Random(seed)) for seed in range(3000))
    assert all(abs(counts[number] - 1000) < 110 for number in (1, 2, 3))
    # by hand, of a logarithmic one: log(1.5 / 0.5), log(2.5 / 1.5) and log(3.5 / 2.5) of log(3.5 / 0.5)
    counts = Counter(Range(1, 3, log=True).draw(random.Random(seed)) for seed in range(3000))
    assert [counts[number] / 3000 for number in (1, 2, 3)] == pytest.approx([0.565, 0.263, 0.173], abs=0.03)
    draws = [Range(0, 1.0).draw(random.Random(seed)) for seed in range(9)]
    assert all(type(number) is float for number in draws)
    assert Range(0, 1.0).nearest(-1) == 0.0
    assert type(Range(0, 1.0).nearest(-1)) is float


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({}, "maps settings"),
        ([1], "maps settings"),
        ({"a": {"low": 1}}, "add high"),
        ({"a": {"low": 2, "high": 1}}, "exchange"),
        ({"a": {"low": 1, "high": 1}}, "as a constant"),
        ({"a": {"low": 0, "high": 1, "log": True}}, "begin above 0"),
        ({"a": {"low": 0, "high": "1"}}, "two finite numbers"),
        ({"a": {"low": 0, "high": math.inf}}, "two finite numbers"),
        ({"a": {"low": 0, "high": 1, "log": 1}}, "true or false"),
        ({"a": {"low": 0, "high": 1, "lag": True}}, "log"),
        ({"a": {"choose": "sgd"}}, "list of at least one"),
        ({"a": {"choose": []}}, "list of at least one"),
        ({"a": {"choose": [1, 2, 1]}}, "leave one 1 out"),
        ({"a": {"choose": [{"is": "b"}, {"is": "b"}]}}, "each is there once"),
        ({"a": {"choose": [1, 2], "default": 1}}, "otherwise"),
        ({"a": {"choose": [1, 2], "otherwise": 1}}, "no when"),
        ({"a": {"choose": [1, 2], "when": "sgd"}}, "it names choices"),
        ({"a": {"choose": [1, 2], "when": {"b": 1}}}, "'b'"),
        ({"b": {"choose": [1, 2]}, "a": {"choose": [1, 2], "when": {"b": 3}}}, "never is"),
        ({"b": {"choose": [1, 2]}, "a": {"choose": [1, 2], "when": {"b": True}}}, "never is"),
        ({"a": {"choose": [1, 2], "when": {"b": 1}}, "b": {"choose": [1, 2]}}, "'b'"),
        ({"a.b": {"choose": [1, 2]}, "a": {"b": {"choose": [1, 2]}}}, "chosen twice"),
        ({"a": object()}, "settings are plain"),
        ({"a": {"choose": [object(), 1]}}, "settings are plain"),
        ({1: 2}, "names are texts"),
        ({"a": math.inf}, "finite float"),
        ({"a": {"choose": [1.0, math.nan]}}, "finite float"),
        ({"a": np.float64(1.0)}, "finite float"),
        ({"a": {"low": np.float64(0.1), "high": 1.0}}, "two finite numbers"),
        ({"a": None}, "settings are plain"),
        ({"a": {"choose": [1, True]}}, "each is there once"),
        ({"b": {"choose": [1, 2]}, "a": {"is": "cosine", "when": {"b": 1}}}, "has 'when', and is neither"),
        ({"a": 1, "otherwise": 2}, "the space has 'otherwise'"),
    ],
    ids=range(33),
)
def test_what_is_no_space_is_refused(form, words):
    with pytest.raises((InvalidValue, UnknownName), match=words):
        TuningSpace(form)


def test_a_space_that_there_is_not():
    with pytest.raises(UnknownName, match="did you mean 'paper'"):
        TuningSpace.of("papers")
    with pytest.raises(InvalidValue, match="epochs are not said"):
        TuningSpace.of("paper")
    with pytest.raises(InvalidValue, match="epochs is 0"):
        TuningSpace.of("paper", epochs=0)
