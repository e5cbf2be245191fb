"""Dead connections go first, whatever the host; all else is in the host's order."""

import math

import pytest
import torch
from torch import nn

import budbreak as bb
from budbreak.contrib import DeadFirst
from budbreak.criteria import Lamp, LeastMovedNegative, Magnitude, Random, Snip, SynFlow, Wanda
from budbreak.errors import InvalidValue
from budbreak.evidence import StartWeights
from budbreak.iteration import CRITERIA
from budbreak.masks import select
from budbreak.testing import check_criterion, mlp, toy_evidence
from budbreak.values import decode, encode

INF = math.inf
X = torch.randn(4, 3)


def cut():
    """Three inputs, three units, two classes: nothing enters unit 1, unit 2 has no exit."""
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 0.0], [9.0, -8.0, 7.0]]))
        model[2].weight.copy_(torch.tensor([[3.0, 6.0, 0.0], [-4.0, 5.0, 0.0]]))
    return model


def scores_of(criterion, model, **given):
    return criterion(bb.probe(model, criterion.needs, batches=[X], **given))


def test_what_is_cut_off_scores_below_all():
    scores = scores_of(DeadFirst(), cut())
    assert scores["0.weight"].tensor().tolist() == [[1.0, 2.0, 0.0], [0.0, 0.0, 0.0], [-INF, -INF, -INF]]
    assert scores["2.weight"].tensor().tolist() == [[3.0, -INF, 0.0], [4.0, -INF, 0.0]]


def test_it_goes_first_though_a_host_would_keep_it():
    """Of nine living weights five are cut off: the largest."""
    model = cut()
    mask = bb.prune(model, sparsity=1 - 4 / 15, criterion=DeadFirst(), batches=[X])
    assert model[0].weight.tolist() == [[1.0, 2.0, 0.0], [0.0] * 3, [0.0] * 3]
    assert model[2].weight.tolist() == [[3.0, 0.0, 0.0], [-4.0, 0.0, 0.0]]
    assert mask.kept == 4
    three = bb.prune(model, sparsity=1 - 3 / 15, criterion=DeadFirst(), batches=[X])
    assert three["0.weight"].tolist() == [[False, True, False], [False] * 3, [False] * 3]


def test_a_host_that_spares_weights_still_loses_those():
    model = cut()
    start = {name: torch.zeros_like(tensor) for name, tensor in model.state_dict().items()}
    criterion = DeadFirst(LeastMovedNegative())
    scores = scores_of(criterion, model, start=start)
    assert StartWeights() in criterion.needs
    assert scores["2.weight"].tensor().tolist() == [[INF, -INF, INF], [4.0, -INF, INF]]
    assert select(scores, 15 - 6).kept_in("2.weight") == 6 - 3


def test_where_all_is_connected_the_host_decides():
    model = mlp(inputs=3)
    ours, hosts = scores_of(DeadFirst(Lamp()), model), scores_of(Lamp(), model)
    assert all(torch.equal(ours[name].tensor(), hosts[name].tensor()) for name in hosts)


def test_it_has_the_rounds_the_scope_and_the_replicates_of_its_host():
    assert (DeadFirst().scope, DeadFirst(Wanda()).scope) == (None, Wanda().scope)
    assert (DeadFirst().rounds, DeadFirst().at_initialization) == (1, False)
    assert (DeadFirst(SynFlow(rounds=7)).rounds, DeadFirst(Snip()).at_initialization) == (7, True)
    assert DeadFirst(Random()).replicate(3) == DeadFirst(Random(seed=3))
    assert DeadFirst().replicate(3) == DeadFirst()


def test_recipes_name_it_with_its_host():
    plain = {"is": "budbreak.contrib:DeadFirst", "host": "lamp"}
    assert decode(plain, CRITERIA, field="prune.criterion") == DeadFirst(Lamp())
    assert decode(encode(DeadFirst(Lamp()), CRITERIA), CRITERIA, field="prune.criterion") == DeadFirst(Lamp())
    assert decode("budbreak.contrib:DeadFirst", CRITERIA, field="prune.criterion") == DeadFirst(Magnitude())


def test_it_is_a_criterion():
    check_criterion(DeadFirst())
    check_criterion(DeadFirst(), toy_evidence(mlp(), probes=DeadFirst().needs, seed=3))
    with pytest.raises(InvalidValue, match="'lamp'"):
        DeadFirst("lamp")
