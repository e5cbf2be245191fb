import pickle

import pytest

from budbreak.data import find
from budbreak.errors import InvalidValue, UnknownName, did_you_mean, one_of
from budbreak.masks import Mask
from budbreak.networks import check_init, check_network
from budbreak.recipes.recipe import make_recipe
from budbreak.testing import mlp


def test_did_you_mean_asks_for_the_nearest_name_and_stays_silent_when_nothing_is_near():
    assert did_you_mean("magnitud", ["random", "magnitude"]) == "did you mean 'magnitude'?"
    assert did_you_mean("qqqq", ["random", "magnitude"]) == ""
    assert did_you_mean("qqqq", []) == ""


def test_one_of_lists_the_choices_and_says_how_many_more():
    assert one_of(["a", "b"]) == "it is one of 'a', 'b'"
    assert one_of(["a"]) == "it is 'a'"
    assert one_of([]) == "there is none"
    assert one_of(str(n) for n in range(15)) == (
        "it is one of '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '10', '11' and 3 more"
    )


@pytest.mark.parametrize(
    ("call", "choices"),
    [
        (lambda: find("qqqq"), ["'mnist'", "'cifar10'", "'digits'"]),
        (lambda: check_network("qqqq"), ["'mlp'", "'resnet-20'", "package.module:factory"]),
        (lambda: check_init("qqqq"), ["'kaiming'", "'own'"]),
        (lambda: make_recipe({"qqqq": 1}), ["'network'", "'measure'"]),
        (lambda: Mask.dense(mlp())["qqqq"], ["'0.weight'", "'2.weight'"]),
    ],
    ids=["data set", "network", "initialisation", "recipe", "mask"],
)
def test_an_unknown_name_far_from_all_lists_the_choices_in_the_rule(call, choices):
    with pytest.raises(UnknownName) as caught:
        call()
    assert all(choice in caught.value.rule for choice in choices), caught.value.rule
    assert "did you mean" not in str(caught.value)
    assert "known:" not in str(caught.value)


def test_a_message_quotes_little_and_nothing_that_acts_on_a_terminal():
    error = InvalidValue("x" * 70_000, "\x1b]0;title\x07 and \udce9", "first line\nsecond line")
    assert len(str(error)) < 1000
    assert "(69440 characters left out)" in str(error)
    assert not {"\x1b", "\x07", "\udce9"} & set(str(error))
    assert r"\x1b]0;title\x07 and \udce9" in str(error)
    assert str(error).endswith("first line\nsecond line")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
