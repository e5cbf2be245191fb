import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

import budbreak as bb
from budbreak.diagnostics import DeadUnits, GradientNorm
from budbreak.errors import InvalidValue, MissingEvidence, NoSites, UnknownName
from budbreak.live import measure
from budbreak.testing import mlp, residual_cnn

BATCHES = [(torch.randn(4, 3, 8, 8), torch.tensor([0, 1, 2, 0]))]


def test_several_diagnostics_are_measured_in_one_pass_that_leaves_no_trace():
    model, passes = residual_cnn(), []
    model.register_forward_hook(lambda *_: passes.append(model.training))
    before = copy.deepcopy(model.state_dict())
    found = measure(model, [DeadUnits(), GradientNorm()], batches=BATCHES, loss=functional.cross_entropy)
    assert passes == [False]
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert {"dead_units_total", "gradient_norm"} <= set(found.numbers)
    assert set(found.layers["stem.weight"]) >= {"dead_units_total", "gradient_norm"}
    assert set(found.layers["fc.weight"]) == {"gradient_norm"}


def test_the_mask_is_that_of_the_zeros_unless_given():
    model = mlp()
    with torch.no_grad():
        model[0].weight[:4] = 0.0
    batches = [torch.randn(5, 8)]
    assert measure(model, [DeadUnits()], batches=batches).numbers["dead_units_static"] == 4 / 32
    dense = bb.Mask.dense(model)
    assert measure(model, [DeadUnits()], batches=batches, mask=dense).numbers["dead_units_static"] == 0


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(MissingEvidence, match="loss"):
        measure(residual_cnn(), [GradientNorm()], batches=BATCHES)
    with pytest.raises(NoSites):
        measure(nn.Sequential(nn.Linear(4, 2)), [DeadUnits()], batches=[torch.randn(2, 4)])
    with pytest.raises(InvalidValue, match="two diagnostics measure"):
        measure(residual_cnn(), [DeadUnits(), DeadUnits()], batches=BATCHES)
    with pytest.raises(UnknownName):
        measure(residual_cnn(), [DeadUnits()], batches=BATCHES, mask=bb.Mask.dense(mlp()))
