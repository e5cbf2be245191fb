"""What a report draws of searches has the columns of its figures, and the numbers of the trials."""

import pytest

from budbreak.activations import ReLU, Swish, Tanh
from budbreak.diagnostics import Quantity
from budbreak.errors import InvalidValue
from budbreak.search import History, SearchResult, SearchSpace, Trial, operators_finding, search_finding
from budbreak.testing import sample_findings

SPACE = SearchSpace({"a": [ReLU(), Swish(alpha=2.0)], "b": [ReLU(), Swish(alpha=2.0), Tanh()]})


def result(*trials, space=SPACE):
    every = [Trial(candidate=candidate, score=score, seconds=1.0) for candidate, score in trials]
    return SearchResult(space, History(tuple(every)))


ONE = result(((0, 0), 0.5), ((0, 2), None), ((1, 2), 0.7), ((1, 0), 0.7))
OTHER = result(((0, 2), 0.6))
DIVERGED = result(((0, 2), None), ((0, 1), None))


def columns_of(kind):
    return [list(finding.columns) for finding in sample_findings() if finding.kind == kind]


def test_the_history_of_searches():
    found = search_finding(
        {"late": ONE.history, "random": OTHER.history}, quantity=Quantity("f1", "F1 score", "share", "higher")
    )
    assert found.kind == "search"
    assert columns_of("search") == [list(found.columns)]
    assert [tuple(row.values()) for row in found.rows()] == [
        ("late", 0, 0.5),
        ("late", 1, None),
        ("late", 2, 0.7),
        ("late", 3, 0.7),
        ("random", 0, 0.6),
    ]
    assert found.quantity.name == "f1"
    assert search_finding({"late": ONE.history}).quantity.name == "accuracy"


def test_the_operators_that_were_chosen():
    found = operators_finding([ONE.plan, OTHER.plan])
    assert columns_of("operators") == [list(found.columns)]
    swish = "Swish(trainable=False, per='site', alpha=2.0, beta=1.0)"
    assert [tuple(row.values()) for row in found.rows()] == [
        ("a", swish, 0.5),
        ("a", "relu", 0.5),
        ("a", "tanh", 0.0),
        ("b", swish, 0.0),
        ("b", "relu", 0.0),
        ("b", "tanh", 1.0),
    ]


def test_findings_need_searches_of_one_network():
    other = result(((0, 0), 0.5), space=SearchSpace({"a": [ReLU()], "c": [ReLU(), Tanh()]}))
    turned = result(((0, 0), 0.5), space=SearchSpace({"b": [ReLU()], "a": [ReLU(), Tanh()]}))
    for wrong, words in [
        ([], "no searches"),
        ([ONE.plan, other.plan], "differ in 'b'"),
        ([ONE.plan, turned.plan], "another order"),
    ]:
        with pytest.raises(InvalidValue, match=words):
            operators_finding(wrong)
    with pytest.raises(InvalidValue, match="no searches"):
        search_finding({})
    with pytest.raises(InvalidValue, match="all trials of all searches"):
        search_finding({"a": DIVERGED.history})


def test_the_best_is_the_earliest_of_equal_ones():
    assert ONE.history.best == 2
    assert ONE.best == ONE.history[2]
    assert ONE.history.best_so_far == (0.5, 0.5, 0.7, 0.7)
    assert DIVERGED.history.best_so_far == (None, None)
    assert ONE.history.seconds == 4.0
    assert ONE.history.epochs is None
    assert dict(ONE.plan) == {"a": Swish(alpha=2.0), "b": Tanh()}
    assert [plan["b"] for plan in ONE.top(9)] == [Tanh(), ReLU(), ReLU()]
