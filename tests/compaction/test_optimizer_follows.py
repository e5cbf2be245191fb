"""The optimizer and its state follow."""

import copy

import pytest
import torch
from shapes import image_net, kill
from torch import nn
from torch.nn.functional import cross_entropy

import budbreak as bb
from budbreak.errors import ForeignParameter, InvalidValue, InvariantBroken
from budbreak.training import FromageOptimizer, TAdamOptimizer

MAKERS = {
    "momentum": lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=1e-3),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=0.01),
    "tadam": lambda parameters: TAdamOptimizer(parameters, lr=0.01, betas=(0.9, 0.99)),
}


def step(model, optimizer, images):
    optimizer.zero_grad()
    cross_entropy(model(images), torch.arange(len(images)) % 5).backward()
    optimizer.step()


@pytest.mark.parametrize("name", MAKERS)
def test_training_goes_on_as_it_would_have(name):
    model, images = image_net("vgg")
    kill(model, images, 0.5, reads=True)
    mask = bb.Mask.from_zeros(model)
    optimizer = MAKERS[name](model.parameters())
    with bb.hold(model, optimizer, mask):
        step(model, optimizer, images)
        step(model, optimizer, images)
    dense = copy.deepcopy(model)
    twin = MAKERS[name](dense.parameters())
    twin.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    compacted = bb.compact(model, images, optimizer=optimizer)
    live = {id(parameter) for parameter in compacted.model.parameters()}
    assert {id(parameter) for group in optimizer.param_groups for parameter in group["params"]} == live
    assert {id(parameter) for parameter in optimizer.state} == live
    with bb.hold(dense, twin, mask):
        for _ in range(3):
            step(dense, twin, images)
            step(compacted.model, optimizer, images)
    with torch.no_grad():
        assert torch.allclose(dense(images), compacted.model(images), rtol=0, atol=1e-10)


def test_fromage_goes_on_as_it_would_have_where_all_that_is_cut_is_zero():
    """Its step is a share of the norm of all that is there."""
    torch.manual_seed(0)
    model, inputs = nn.Sequential(nn.Linear(8, 6, bias=False), nn.ReLU(), nn.Linear(6, 5)).double(), torch.randn(9, 8)
    with torch.no_grad():
        model[0].weight[2:5], model[2].weight[:, 2:5] = 0, 0
    dense, inputs = copy.deepcopy(model), inputs.double()
    optimizer, twin = FromageOptimizer(model.parameters(), lr=0.05), FromageOptimizer(dense.parameters(), lr=0.05)
    smaller = bb.compact(model, inputs, optimizer=optimizer).model
    assert smaller[0].weight.shape == (3, 8)
    assert {id(one) for one in optimizer.param_groups[0]["params"]} == set(map(id, smaller.parameters()))
    with bb.hold(dense, twin, bb.Mask.from_zeros(dense)):
        for _ in range(3):
            step(dense, twin, inputs)
            step(smaller, optimizer, inputs)
    with torch.no_grad():
        assert torch.allclose(dense(inputs), smaller(inputs), rtol=0, atol=1e-12)


def test_an_added_bias_joins_the_group_of_its_layer():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2, bias=False))
    with torch.no_grad():
        model[0].weight[1], model[0].bias[1] = 0, 1.0
    groups = [{"params": model[0].parameters()}, {"params": model[2].parameters(), "lr": 0.2}]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    smaller = bb.compact(model, torch.randn(2, 3), optimizer=optimizer).model
    assert [id(parameter) for parameter in optimizer.param_groups[1]["params"]] == [
        id(smaller[2].weight), id(smaller[2].bias),
    ]  # fmt: skip


def test_several_optimizers_follow():
    model, images = image_net("mlp")
    kill(model, images, 0.5, reads=True)
    pair = [torch.optim.SGD(model[1].parameters(), lr=0.1), torch.optim.Adam([*model[3:].parameters()])]
    smaller = bb.compact(model, images, optimizer=pair).model
    held = [id(parameter) for one in pair for group in one.param_groups for parameter in group["params"]]
    assert held == [id(parameter) for parameter in smaller.parameters()]


def test_state_that_cannot_be_cut_starts_afresh():
    model, images = image_net("mlp")
    kill(model, images, 0.5, reads=True)
    optimizer = torch.optim.Adafactor(model.parameters())
    step(model, optimizer, images)
    smaller = bb.compact(model, images, optimizer=optimizer).model
    assert smaller[1].weight not in optimizer.state
    assert smaller[5].bias in optimizer.state, "which was not cut"
    step(smaller, optimizer, images)


def test_wrong_optimizers_are_refused_and_nothing_is_changed():
    model, images = image_net("mlp")
    with pytest.raises(ForeignParameter, match="the optimizer holds no parameter of the model"):
        bb.compact(model, images, optimizer=torch.optim.SGD(copy.deepcopy(model).parameters(), lr=0.1))
    with pytest.raises(InvalidValue, match="the optimizer is LBFGS"):
        bb.compact(model, images, optimizer=torch.optim.LBFGS(model.parameters()))
    with pytest.raises(InvalidValue, match=r"it must be a torch.optim.Optimizer"):
        bb.compact(model, images, optimizer=torch.optim.SGD)


def test_if_outputs_would_differ_the_optimizer_stays():
    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x):
            hidden = self.first(x).relu()
            return self.last(hidden) * hidden.shape[1]

    model = Counts()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with torch.no_grad():
        model.last.weight[:, 0] = 0
    held = [id(parameter) for parameter in model.parameters()]
    with pytest.raises(InvariantBroken, match=r"without the dead units of 'first.weight'") as caught:
        bb.compact(model, torch.randn(2, 3), optimizer=optimizer)
    assert caught.value.fix == "leave them in: compact(..., keep=['first.weight'])"
    assert [id(parameter) for parameter in optimizer.param_groups[0]["params"]] == held
    assert bb.compact(model, torch.randn(2, 3), keep=["first.weight"]).after.parameters == 26
