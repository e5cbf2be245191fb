"""SNIP and GraSP on networks, against derivatives by finite differences."""

import copy

import pytest
import torch
from small_networks import BATCHES, X, Y, images, scores_of, weights_of
from torch.nn.functional import cross_entropy

import budbreak as bb
from budbreak.criteria import Snip, Taylor
from budbreak.errors import MissingEvidence, UnknownName
from budbreak.testing import mlp, residual_cnn


def places(model, count=6):
    """A few weights of each layer: (name, flat index)."""
    return [
        (name, i)
        for name, weight in weights_of(model).items()
        for i in range(0, weight.numel(), weight.numel() // count)
    ]


def loss_of(model):
    return float(cross_entropy(model(X), Y).detach())


def scaled(model, name, i, factor):
    """A copy in which one weight is multiplied."""
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin.get_parameter(name).view(-1)[i] *= factor
    return twin


def test_snip_is_the_derivative_by_a_factor_before_the_weight():
    model, step = mlp(hidden=6).double(), 1e-5
    found = scores_of(Snip(), model)
    for name, i in places(model):
        up, down = (loss_of(scaled(model, name, i, 1 + sign * step)) for sign in (1, -1))
        # central differences of a loss of about 1 in float64: an error of 1e-11 or so
        assert float(found[name].view(-1)[i]) == pytest.approx(abs(up - down) / (2 * step), abs=1e-9)


def test_snip_orders_as_taylor_does_and_is_meant_for_the_start():
    model = mlp().double()
    snip, taylor = scores_of(Snip(), model), scores_of(Taylor(), model)
    assert all(torch.equal(snip[name], taylor[name]) for name in snip)
    assert Snip.at_initialization
    assert not hasattr(Taylor(), "at_initialization")


def test_snip_in_training_mode_takes_the_statistics_of_each_batch():
    model = residual_cnn().double()
    batches = [(2 + 3 * images(6, 3, 8, 8), torch.arange(6) % 3)]
    found, at_rest = scores_of(Snip("train"), model, batches), scores_of(Snip(), model, batches)
    twin = copy.deepcopy(model).train()
    cross_entropy(twin(batches[0][0]), batches[0][1]).backward()
    for name, weight in weights_of(twin).items():
        torch.testing.assert_close(found[name], (weight * weight.grad).abs().detach(), rtol=1e-10, atol=1e-14)
    assert not torch.allclose(found["stem.weight"], at_rest["stem.weight"])
    with pytest.raises(UnknownName, match="did you mean 'train'"):
        Snip("training")


def test_snip_in_one_line():
    model = mlp().double()
    mask = bb.prune(model, sparsity=0.9, criterion=Snip(), batches=BATCHES, loss=cross_entropy)
    assert mask.kept == 43
    with pytest.raises(MissingEvidence, match="no batches were given, and Gradients looks at them"):
        bb.prune(mlp(), sparsity=0.9, criterion=Snip())
    with pytest.raises(MissingEvidence, match="gradients are wanted, but no loss was given"):
        bb.prune(mlp(), sparsity=0.9, criterion=Snip(), batches=BATCHES)
