"""Scalars of activations, one for each unit, go with the units."""

import pytest
import torch
from torch import nn

import budbreak as bb
from budbreak.activations import ACON, ActivationModule, PReLU, Rational, ReLU, Softplus, Swish


def network():
    return nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(216, 8), nn.ReLU(), nn.Linear(8, 5)
    )


@pytest.mark.parametrize("kind", [ReLU, PReLU, Swish, Softplus, ACON, Rational])
def test_scalars_of_dead_units_are_cut(kind):
    torch.manual_seed(0)
    x = torch.randn(4, 1, 8, 8)
    plan = {"2": kind(trainable=True, per="unit"), "5": kind(trainable=True, per="unit")}
    model = bb.replace_activations(network().eval(), plan, example=x)
    modules = {name: module for name, module in model.named_modules() if isinstance(module, ActivationModule)}
    with torch.no_grad():
        for module in modules.values():
            for scalar in module.parameters():
                scalar += 0.1 * torch.rand_like(scalar)
    mask = bb.prune(model, sparsity=0.5, granularity=bb.masks.Unit(), scope=bb.masks.Layer())
    found = bb.compact(model, x, mask=mask)
    assert found.difference < 1e-5
    torch.testing.assert_close(found.model(x), model(x), rtol=1e-4, atol=1e-5)
    for name, shape in (("2", (3, 1, 1)), ("5", (4,))):
        small = found.model.get_submodule(name)
        assert small.shape == shape
        alive = mask[{"2": "0.weight", "5": "4.weight"}[name]].flatten(1).any(1)
        for key, scalar in small.named_parameters():
            assert torch.equal(scalar, getattr(modules[name], key)[alive])
