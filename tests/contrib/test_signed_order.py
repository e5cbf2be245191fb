"""AP with one part exchanged: at its defaults it is AP, and each part does what its name says."""

import math

import pytest
import torch

from budbreak.contrib import NegativesFirst, SignedOrder
from budbreak.criteria import LeastMovedNegative
from budbreak.errors import InvalidValue, UnknownName
from budbreak.evidence import Evidence, StartWeights, Weights
from budbreak.iteration import Remove
from budbreak.masks import competing, select
from budbreak.testing import check_criterion, mlp, toy_evidence

INF = math.inf
ORDERS = ("least-moved", "most-moved", "small", "random")
W = torch.tensor([[-2.0, 0.5, -0.25, 0.0, 3.0]])
START = torch.tensor([[-1.5, 2.0, 0.0, 0.0, 2.0]])  # moved by 0.5, 1.5, 0.25, 0, 1


def scores_of(criterion, w=W, start=START):
    evidence = Evidence({Weights(): {"w": w}, StartWeights(): {"w": start}})
    return criterion(evidence)["w"].tensor().reshape(-1).tolist()


@pytest.mark.parametrize("sign", ["negative", "positive", "any"])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("arena", ["global", "layer"])
def test_each_is_a_criterion(sign, order, arena):
    check_criterion(SignedOrder(sign, order, arena))
    check_criterion(SignedOrder(sign, order, arena), toy_evidence(mlp(), seed=3))


def test_negatives_first_is_a_criterion():
    check_criterion(NegativesFirst())


def test_at_its_defaults_it_is_ap():
    evidence = toy_evidence(mlp(), seed=5)
    ours, aps = SignedOrder()(evidence), LeastMovedNegative()(evidence)
    assert all(torch.equal(ours[name].tensor(), aps[name].tensor()) for name in aps)


@pytest.mark.parametrize(
    ("criterion", "expected"),
    [
        (SignedOrder("negative"), [0.5, INF, 0.25, INF, INF]),
        (SignedOrder("positive"), [INF, 1.5, INF, INF, 1]),
        (SignedOrder("any"), [0.5, 1.5, 0.25, INF, 1]),
        (SignedOrder("any", "most-moved"), [-0.5, -1.5, -0.25, INF, -1]),
        (SignedOrder("any", "small"), [2, 0.5, 0.25, INF, 3]),
        (SignedOrder("any", arena="layer"), [1 / 4, 3 / 4, 0, INF, 2 / 4]),  # four are alive
        (SignedOrder("negative", arena="layer"), [1 / 4, INF, 0, INF, INF]),
        (NegativesFirst(), [0.5 / 1.5, 1 + 1.5 / 2.5, 0.25 / 1.25, 1, 1.5]),
    ],
    ids=str,
)
def test_golden_numbers(criterion, expected):
    assert scores_of(criterion) == pytest.approx(expected, rel=1e-12)


def test_of_equal_scores_in_a_layer_the_lower_index_is_kept():
    w = torch.tensor([-1.0, -1.0, -1.0])
    assert scores_of(SignedOrder(arena="layer"), w, torch.zeros(3)) == [2 / 3, 1 / 3, 0]


def test_layers_lose_the_same_share_however_far_they_moved():
    w = {"a": -torch.ones(100), "b": -torch.ones(300)}
    start = {"a": w["a"] + torch.rand(100), "b": w["b"] + 1000 * torch.rand(300)}
    evidence = Evidence({Weights(): w, StartWeights(): start})
    whole, layers = (select(SignedOrder(arena=arena)(evidence), 320) for arena in ("global", "layer"))
    assert whole.kept_in("a") < 30
    assert (layers.kept_in("a"), layers.kept_in("b")) == (80, 240)


def test_a_random_order_draws_from_the_seed_of_the_replicate():
    first, again, other = (SignedOrder(order="random").replicate(seed) for seed in (1, 1, 2))
    assert scores_of(first) == scores_of(again) != scores_of(other)
    removal = Remove(SignedOrder(order="random"), q=0.02)
    assert removal.replicate(3) == Remove(SignedOrder(order="random", seed=3), q=0.02)
    assert Remove(SignedOrder(), q=0.02).replicate(3) == Remove(SignedOrder(), q=0.02)


def test_spared_layers_lose_nothing():
    evidence = toy_evidence(mlp(), seed=5)
    first, *others = evidence[Weights()]
    scores = SignedOrder("any", spare=(first,))(evidence)
    assert bool(scores[first].tensor().isinf().all())
    assert competing(scores) == sum(int(evidence[Weights()][name].count_nonzero()) for name in others) > 0
    with pytest.raises(UnknownName, match="did you mean"):
        SignedOrder(spare=(f"{first}s",))(evidence)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"sign": "minus"}, UnknownName, "sign is 'minus'"),
        ({"order": "least"}, UnknownName, "least-moved"),
        ({"arena": "layers"}, UnknownName, "did you mean 'layer'"),
        ({"seed": 1}, InvalidValue, "only a random order draws"),
        ({"seed": -1, "order": "random"}, InvalidValue, "-1"),
    ],
)
def test_wrong_parts_are_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        SignedOrder(**arguments)
