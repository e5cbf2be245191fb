"""Dead connections are dropped to a fixed point, and constants move into biases."""

import copy

import pytest
import torch
from shapes import IMAGES, image_net, kill
from torch import nn

import budbreak as bb
from budbreak.compaction import propagate
from budbreak.errors import MaskMismatch, UnknownName


def apart(model, other, example):
    with torch.no_grad():
        return float((model(example) - other(example)).abs().max())


@pytest.mark.parametrize("ways", [("makes",), ("reads",)], ids="+".join)
@pytest.mark.parametrize("name", IMAGES)
def test_the_same_network_with_fewer_weights(name, ways):
    model, images = image_net(name)
    kill(model, images[:1], 0.5, **dict.fromkeys(ways, True))
    found = propagate(model, images[:2])
    assert found.mask.is_within(bb.Mask.from_zeros(model))
    assert found.mask.sparsity > found.before
    after = copy.deepcopy(model)
    found.apply(after)
    assert apart(model, after, images) < 1e-12
    again = propagate(after, images, found.mask)
    assert again.mask == found.mask, "it is a fixed point"
    assert not any(bool(amount.abs().gt(1e-12).any()) for amount in again.biases.values())


def chain():
    """Unit 1 of the first layer is dead with a positive bias, and alone feeds unit 0 of the second."""
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).double()
    with torch.no_grad():
        model[0].weight[1], model[0].bias[1] = 0, 2.0
        model[2].weight[0], model[2].bias[0] = 0, 0.5
        model[2].weight[0, 1] = 1.0
    return model, torch.randn(4, 3, dtype=torch.float64)


def test_constants_cascade_into_the_classifier():
    model, inputs = chain()
    found = propagate(model, inputs)
    assert not found.mask["2.weight"][:, 1].any()
    assert not found.mask["4.weight"][:, 0].any(), "the classifier's, too"
    assert found.mask.kept == 9 + 6 + 4
    assert torch.allclose(found.biases["2.bias"], 2 * model[2].weight[:, 1])
    assert torch.allclose(found.biases["4.bias"], 2.5 * model[4].weight[:, 0])
    assert (found.before, found.mask.sparsity) == (pytest.approx(6 / 30), pytest.approx(11 / 30))
    assert str(found).startswith("sparsity 0.2000 -> 0.3667, 2 biases changed\nlargest difference of an output")


def test_the_model_and_the_given_mask_stay():
    model, inputs = chain()
    before, mask = copy.deepcopy(model.state_dict()), bb.Mask.from_zeros(model)
    kept = mask.kept
    propagate(model, inputs, mask)
    assert mask.kept == kept
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())


def test_without_a_bias_a_constant_stays_with_what_passes_it_on():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2, bias=False)).double()
    with torch.no_grad():
        model[0].weight[1], model[0].bias[1:3] = 0, torch.tensor([2.0, -1.0])
        model[0].weight[2] = 0
    found = propagate(model, torch.randn(4, 3, dtype=torch.float64))
    assert found.mask["2.weight"].all(0).tolist() == [True, True, False, True]
    assert [str(one) for one in found.left] == [
        "2.weight: 1 dead of 4 units stay: a constant enters 2.weight, which has no bias to take it over"
    ]


def test_a_layer_that_is_called_twice_keeps_its_constants():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.twice, self.last = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.last(self.twice(self.twice(self.first(x).relu()).relu()))

    model = Twice().double()
    with torch.no_grad():
        model.first.weight[0], model.first.bias[0] = 0, 1.0
    found = propagate(model, torch.randn(4, 3, dtype=torch.float64))
    assert found.difference < 1e-12
    assert found.mask["twice.weight"].all()
    assert bb.compact(model, torch.randn(4, 3, dtype=torch.float64)).difference < 1e-12


def test_a_propagation_of_another_model_is_refused():
    model, inputs = chain()
    found = propagate(model, inputs)
    other = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3, bias=False), nn.ReLU(), nn.Linear(3, 2)).double()
    before = copy.deepcopy(other.state_dict())
    with pytest.raises(MaskMismatch, match=r"bias '2.bias' is absent"):
        found.apply(other)
    assert all(torch.equal(before[key], tensor) for key, tensor in other.state_dict().items())
    with pytest.raises(UnknownName):
        propagate(nn.Sequential(nn.Linear(3, 2)), torch.randn(1, 3), bb.Mask({"1.weight": torch.ones(2, 3)}))
