import time

import pytest
import torch
from torch import nn
from zoo import make

import budbreak as bb
from budbreak.masks import Mask, prunable_parameters
from budbreak.networks import lenet_300_100, resnet_20


def random_mask(model, density, seed=0):
    generator = torch.Generator().manual_seed(seed)
    parameters = prunable_parameters(model)
    return Mask({name: torch.rand(weight.shape, generator=generator) < density for name, weight in parameters.items()})


def positive(model, mask):
    """A copy of the network in which nothing cancels: gradients are 0 exactly where no path leads."""
    for name, parameter in model.named_parameters():
        parameter.data = torch.rand_like(parameter, dtype=torch.float64) + 0.5
        if name in mask:
            parameter.data *= mask[name]
        elif name.endswith("bias"):
            parameter.data.zero_()
    return model.double()


def by_gradients(model, example):
    """(classes that depend on the input, weight -> how many of its elements the outputs depend on)."""
    inputs = example.double().abs().requires_grad_()
    outputs = model(inputs).flatten(1)[:1]
    classes = [bool((torch.autograd.grad(value, inputs, retain_graph=True)[0] != 0).any()) for value in outputs[0]]
    parameters = dict(model.named_parameters())
    gradients = torch.autograd.grad(outputs.sum(), list(parameters.values()))
    return classes, {
        name: int(((gradient != 0) & (parameter != 0)).sum())
        for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True)
    }


@pytest.mark.parametrize(
    ("name", "density"),
    [("mlp", 0.15), ("mlp", 0.3), ("densenet", 0.04), ("separable", 0.1), ("separable", 0.2)],
)
@pytest.mark.parametrize("seed", range(3))
def test_paths_are_where_gradients_are_not_zero(name, density, seed):
    model, example = make(name)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.zero_()
    mask = random_mask(model, density, seed)
    found = bb.trace(model, example).reachable(mask)
    classes, used = by_gradients(positive(model, mask), example)
    assert found.classes[0].tolist() == classes
    assert {entry: found.connected.kept_in(entry) for entry in mask} == {entry: used[entry] for entry in mask}


def test_a_lenet_at_99_percent():
    torch.manual_seed(0)
    model, example = lenet_300_100((1, 28, 28), 10), torch.rand(1, 1, 28, 28)
    mask = random_mask(model, 0.01)
    found = bb.trace(model, example).reachable(mask)
    classes, used = by_gradients(positive(model, mask), example)
    assert found.classes[0].tolist() == classes
    assert {name: found.connected.kept_in(name) for name in mask} == {name: used[name] for name in mask}
    assert found.connected.is_within(mask)
    assert 0 < found.connected.kept < mask.kept


def test_a_lenet_of_which_one_layer_is_gone_reaches_nothing():
    model = lenet_300_100((1, 28, 28), 10)
    mask = Mask.dense(model)
    mask = Mask({**mask, "fc2.weight": torch.zeros(100, 300)})
    found = bb.trace(model, torch.rand(1, 1, 28, 28)).reachable(mask)
    assert not found.classes[0].any()
    assert found.connected.kept == 0


def test_resnet_20_takes_well_under_a_second():
    model = resnet_20((3, 32, 32), 10)
    graph = bb.trace(model, torch.randn(1, 3, 32, 32))
    mask = random_mask(model, 0.05)
    graph.reachable(mask)
    started = time.process_time()
    graph.reachable(mask)
    assert time.process_time() - started < 0.5


def test_a_product_passes_on_what_either_factor_brings():
    model, example = make("gated")
    mask = random_mask(model, 0.4)
    found = bb.trace(model, example).reachable(mask)
    classes, used = by_gradients(positive(model, mask), example)
    assert found.classes[0].tolist() == classes
    assert all(found.connected.kept_in(name) >= used[name] for name in mask)
