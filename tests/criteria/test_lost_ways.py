"""Where what a weight computes is lost on its way to the outputs, whoever follows ways names it and the place."""

import copy
import inspect

import numpy as np
import pytest
import torch
from small_networks import X, scores_of
from torch import nn
from torch.nn.functional import relu

import budbreak as bb
from budbreak.contrib import DeadFirst
from budbreak.criteria import Lookahead, SynFlow
from budbreak.diagnostics import Connectivity
from budbreak.errors import InvalidValue, Unreached
from budbreak.live import measure
from budbreak.masks import Mask

CRITERIA = [Lookahead(), SynFlow(rounds=2)]


class Through(nn.Module):
    """Three layers, between the first two of which something happens, and a second output beside them."""

    def __init__(self, middle, *, mask=None):
        super().__init__()
        self.first, self.second, self.last, self.aside = (nn.Linear(8, 8 if i < 2 else 3) for i in range(4))
        self.middle, self.mask = middle, mask
        self.double()

    def forward(self, x):
        x = relu(self.first(x))
        x = self.middle(x)
        return self.last(relu(self.second(x))), self.aside(x)


def numbers(x):
    return torch.tensor(x.tolist(), dtype=x.dtype)


def by_item(x):
    return torch.stack([torch.tensor([value.item() for value in row], dtype=x.dtype) for row in x])


def by_numpy(x):
    return torch.from_numpy(np.tanh(x.detach().numpy()))


def by_as_tensor(x):
    return torch.as_tensor(np.tanh(x.detach().numpy()))


LOST = {
    "tolist": (numbers, "relu in the model itself", Through.forward, 1),
    "item": (by_item, "unbind in the model itself", by_item, 1),
    "numpy": (by_numpy, "detach in the model itself", by_numpy, 1),
    "numpy copied": (by_as_tensor, "detach in the model itself", by_as_tensor, 1),
}


@pytest.mark.parametrize("kind", LOST)
@pytest.mark.parametrize("criterion", CRITERIA, ids=lambda criterion: type(criterion).__name__)
def test_a_way_that_ends_is_refused_with_its_place(criterion, kind):
    middle, call, function, line = LOST[kind]
    model, place = Through(middle), f"test_lost_ways.py:{inspect.getsourcelines(function)[1] + line}"
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(InvalidValue, match=r"'first\.weight'.*\n.*\nleave it out: .*'first\.weight'") as caught:
        bb.prune(model, sparsity=0.5, criterion=criterion, batches=[X])
    assert f"last seen in {call} ({place})" in caught.value.value
    assert "second" not in str(caught.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    bb.prune(model, sparsity=0.5, criterion=criterion, batches=[X], prunable=bb.excluding("first.weight"))


def test_synflow_follows_no_detached_values_while_lookahead_does():
    """Nothing is lost there but gradients: Lookahead looks at none, and SynFlow at nothing else."""
    expected = scores_of(Lookahead(), plain := Through(lambda x: x), [X], loss=None)
    for middle in (lambda x: x.detach(), lambda x: x.data, lambda x: torch.no_grad()(torch.mul)(x, 1)):
        model = Through(middle)
        model.load_state_dict(plain.state_dict())
        found = scores_of(Lookahead(), model, [X], loss=None)
        assert all(torch.equal(found[name], expected[name]) for name in expected)
        with pytest.raises(InvalidValue, match=r"no output depends on 'first\.weight'"):
            scores_of(SynFlow(), model, [X], loss=None)
    with pytest.raises(InvalidValue, match=r"last seen in detach in the model itself \(test_lost_ways\.py:\d+\)"):
        scores_of(SynFlow(), Through(lambda x: x.detach()), [X], loss=None)


def test_what_is_not_returned_is_lost():
    model = Through(lambda x: x)
    for criterion in CRITERIA:
        with pytest.raises(InvalidValue, match=r"'aside\.weight'.* last seen in linear in aside"):
            scores_of(criterion, model, [X], loss=None, forward=lambda model, batch: model(batch)[0])


class Doubling(torch.autograd.Function):
    """A kernel of somebody's own, whose inside nobody sees."""

    @staticmethod
    def forward(ctx, x):
        return torch.from_numpy(x.detach().numpy() * 2)

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 2


HARMLESS = {
    "numbers that scale": lambda x: x / x.abs().max().item(),
    "a mask": lambda x: x * (x.detach() > 0.1),
    "a mask by numpy": lambda x: x * torch.from_numpy((x.detach().numpy() > 0.1) * 1.0),
    "positions by numpy": lambda x: x + torch.from_numpy(np.ones(8)),
    "positions from a list": lambda x: x + torch.tensor([1.0] * 8, dtype=x.dtype),
    "straight through": lambda x: x + (x.round() - x).detach(),
    "a kernel": Doubling.apply,
    "vmap": torch.vmap(torch.tanh),
    "logged": lambda x: (x, x.norm().item(), x.detach().numpy())[0],
}


@pytest.mark.parametrize("kind", HARMLESS)
@pytest.mark.parametrize("criterion", CRITERIA, ids=lambda criterion: type(criterion).__name__)
def test_what_cuts_nothing_off_is_not_refused(criterion, kind):
    found = scores_of(criterion, Through(HARMLESS[kind]), [X], loss=None)
    assert all(scores.any() for scores in found.values())


class Detached(Through):
    """Its second output is made of what gradients do not pass."""

    def forward(self, x):
        x = relu(self.first(x))
        return self.last(relu(self.second(x))), self.aside(x.detach())


def test_an_output_beside_the_main_one_may_be_detached():
    for criterion in CRITERIA:
        scores_of(criterion, Detached(None), [X], loss=None)


def test_a_model_with_a_cut_that_cannot_be_traced_is_refused_without_the_place(monkeypatch):
    def fail(*_):
        raise InvalidValue("no trace", "", "")

    monkeypatch.setattr("budbreak.evidence.synaptic_flow.graph_of", fail)
    with pytest.raises(InvalidValue, match=r"^no output depends on 'first\.weight'\nSynFlow"):
        scores_of(SynFlow(), Through(numbers), [X], loss=None)


BEHIND_NUMBERS = ["tolist", "item", "numpy copied"]  # what from_numpy makes is seen to share memory


@pytest.mark.parametrize("kind", BEHIND_NUMBERS)
def test_whether_a_weight_is_connected_is_not_told_behind_numbers(kind):
    """It counted as dead, and was removed first."""
    middle, _, function, line = LOST[kind]
    model, place = Through(middle), rf"\(test_lost_ways\.py:{inspect.getsourcelines(function)[1] + line}\)"
    mask, before = Mask.dense(model), copy.deepcopy(model.state_dict())
    said = rf"^what 'first\.weight' computes goes on as numbers: .* {place}\n.*\nleave it out: .*'first\.weight'"
    with pytest.raises(Unreached, match=said):
        measure(model, [Connectivity()], batches=[X], mask=mask)
    with pytest.raises(Unreached, match=said):
        bb.prune(model, sparsity=0.5, criterion=DeadFirst(), batches=[X])
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    rest = bb.excluding("first.weight")
    found = measure(model, [Connectivity()], batches=[X], mask=Mask.dense(model, rest), prunable=rest)
    assert found.numbers["connected_weights"] == 1.0


@pytest.mark.parametrize("kind", [*HARMLESS, "numpy"])
def test_what_is_harmless_leaves_all_connected(kind):
    model = Through(HARMLESS.get(kind, by_numpy))
    assert measure(model, [Connectivity()], batches=[X], mask=Mask.dense(model)).numbers["connected_weights"] == 1.0


def test_what_is_not_returned_is_not_connected():
    model = Through(lambda x: x)
    graph = bb.trace(model, X, forward=lambda net, x: net(x)[0])
    assert graph.reachable(Mask.dense(model)).connected.kept_in("aside.weight") == 0
    assert graph.handed_out("aside.weight") == ()
