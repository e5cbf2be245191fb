"""What enters each nonlinearity, heard by probes, also where it is overwritten at once."""

from collections import defaultdict
from dataclasses import dataclass, field

import pytest
import torch
from torch import nn
from torch.nn import functional

import budbreak as bb
from budbreak.evidence import UnitCounts, Unseen

X = torch.randn(12, 4)


class Block(nn.Module):
    """One module and one function, both in place."""

    def __init__(self):
        super().__init__()
        self.fc1, self.relu, self.fc2 = nn.Linear(4, 5), nn.ReLU(inplace=True), nn.Linear(5, 3)

    def forward(self, x):
        return self.fc2(self.relu(self.fc1(x))).relu_()


@dataclass(frozen=True)
class Firing:
    """How often what enters a unit is positive."""

    def start(self, context):
        counts = defaultdict(int)

        def listen(site, given):
            assert not given.requires_grad
            counts[site.name] += (given > 0).sum(0)

        context.on_preactivation(listen)
        return lambda: dict(counts)


@dataclass(frozen=True)
class Squares:
    """Computes something in a hook of its own, while the pass is recorded."""

    seen: list = field(compare=False, default_factory=list)

    def start(self, context):
        context.on_input(lambda name, layer, given: self.seen.append(float(torch.exp(given).square().sum())))
        return lambda: len(self.seen)


@pytest.mark.parametrize("loss", [None, lambda out, y: functional.mse_loss(out, y)], ids=["forward", "backward"])
def test_positive_inputs_are_the_active_outputs_of_a_relu(loss):
    model = Block()
    probes = [Firing(), UnitCounts(), *([bb.evidence.Gradients()] if loss else [])]
    found = bb.probe(model, probes, batches=[(x, torch.zeros(len(x), 3)) for x in X.split(5)], loss=loss)
    first = model.fc1(X)
    second = model.fc2(first.clamp(min=0))
    for name, given in (("relu#1", second), ("relu", first)):
        assert torch.equal(found[Firing()][name], (given > 0).sum(0))
        assert torch.equal(found[UnitCounts()][name].active[:, 0], (given > 0).sum(0))


def test_a_probe_of_inputs_alone_needs_batches_and_sites():
    with pytest.raises(bb.errors.MissingEvidence, match="no batches were given"):
        bb.probe(Block(), [Firing()])
    with pytest.raises(bb.errors.NoSites, match="no site was reached in Linear"):
        bb.probe(nn.Linear(4, 3), [Firing()], batches=[X])


def test_what_listeners_of_inputs_compute_is_no_part_of_the_model():
    found = bb.probe(Block(), [Squares(), Unseen(), UnitCounts()], batches=[X, X])
    assert found[Squares()] == 4
    assert found[Unseen()] == ()
    assert [count.site.feed.weight for count in found[UnitCounts()].values()] == ["fc1.weight", "fc2.weight"]


@dataclass(frozen=True)
class Slopes:
    """The gradient of the squares of what enters the second site, beside that of the loss."""

    def start(self, context):
        entered, slopes = [], []

        def listen(site, given):
            if site.feed.weight == "fc2.weight":
                entered.append(given)

        def differentiate(value, parameters, weight):
            total = entered.pop().square().sum()
            slopes.append(torch.autograd.grad(total, list(parameters.values()), retain_graph=True))

        context.on_preactivation(listen, attached=True)
        context.on_loss(differentiate)
        return lambda: [sum(parts) for parts in zip(*slopes, strict=True)]


def test_attached_inputs_can_be_differentiated_where_the_loss_is():
    """Both sites are overwritten in place; the first batch is recorded in full, the others heard."""
    model = Block().double()
    batches = [(x.double(), torch.zeros(len(x), 3, dtype=torch.float64)) for x in X.split(5)]
    probes = [Slopes(), UnitCounts(), bb.evidence.Gradients()]
    found = bb.probe(model, probes, batches=batches, loss=functional.mse_loss)
    second = model.fc2(model.fc1(X.double()).clamp(min=0))
    weights = [model.fc1.weight, model.fc2.weight]
    expected = torch.autograd.grad(second.square().sum(), weights, retain_graph=True)
    for slope, by_hand in zip(found[Slopes()], expected, strict=True):
        torch.testing.assert_close(slope, by_hand, rtol=1e-12, atol=1e-12)
    plain = torch.autograd.grad(functional.mse_loss(second.relu(), torch.zeros_like(second)), weights)
    for gradient, by_hand in zip(found[bb.evidence.Gradients()].values(), plain, strict=True):
        torch.testing.assert_close(gradient, by_hand, rtol=1e-12, atol=1e-12)
