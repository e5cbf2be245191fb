"""Connectivity of the papers' networks, against the same networks with a number for each channel, run in torch.

Each convolution becomes one of 1 x 1 whose weight is positive where the mask keeps any element of the kernel, a linear
layer behind a flattening sums over the positions of a channel, norms, biases and nonlinearities go, and products become
sums, since either factor leads on. Then an output is over 0 where a path leads there, and so is the gradient of their
sum by a weight that lies on one.
"""

import copy
import functools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import budbreak as bb
from budbreak.diagnostics import Connectivity
from budbreak.evidence import Graph
from budbreak.networks import build
from budbreak.networks.efficientnet import MBConv

SHAPES = {"lenet-5-safs": (1, 28, 28), "lenet-300-100": (1, 28, 28)}
DENSITIES = {"lenet-5-safs": [0.01, 0.02, 0.1], "lenet-300-100": [0.003, 0.01], "bn-cnn": [0.005, 0.02]}
LARGE = {"vgg-11-bn": [0.001], "resnet-18-safs": [0.001], "efficientnet-b0": [0.025]}
CASES = [(name, density) for name, densities in DENSITIES.items() for density in densities]
LARGE_CASES = [(name, density) for name, densities in LARGE.items() for density in densities]


def fresh(name, seed=0):
    shape = SHAPES.get(name, (3, 32, 32))
    return build(name, SimpleNamespace(shape=shape, classes=10), seed=seed), torch.zeros(1, *shape)


def either(block, x):
    """What a block that excites gives, with a sum in the place of its product."""
    y = block.depthwise(block.expand(x))
    y = block.project(y + block.se(y))
    return y + x if block.has_skip else y


def numbers_of_channels(model, mask):
    """The network described above, and name -> its weights, whose gradients tell what is connected."""
    model, weights, channels = copy.deepcopy(model).double(), {}, None
    for path, module in list(model.named_modules()):
        if isinstance(module, nn.Conv2d):
            entry = torch.from_numpy(mask[f"{path}.weight"].numpy().reshape(*module.weight.shape[:2], -1).any(-1))
            new = nn.Conv2d(module.in_channels, module.out_channels, 1, groups=module.groups, bias=False).double()
            new.weight.data = (0.5 + torch.rand(new.weight.shape).double() / 2) * entry[:, :, None, None]
            channels = module.out_channels
        elif isinstance(module, nn.Linear):
            entry, inputs = mask[f"{path}.weight"], channels or module.in_features
            entry = entry.reshape(len(entry), inputs, -1).any(-1)
            new = nn.Linear(inputs, module.out_features, bias=False).double()
            new.weight.data = (0.5 + torch.rand(new.weight.shape).double() / 2) * entry
            channels = module.out_features
        elif isinstance(module, MBConv):
            module.forward = functools.partial(either, module)
            continue
        elif isinstance(module, nn.Flatten | nn.AdaptiveAvgPool2d) or any(module.children()):
            continue
        else:
            new = nn.Identity()
        if hasattr(new, "weight"):
            weights[f"{path}.weight"] = new.weight
        parent, _, child = path.rpartition(".")
        setattr(model.get_submodule(parent), child, new)
    return model.eval(), weights


def expected(model, mask, x):
    """(which classes are reached, name -> which weights are connected)."""
    torch.manual_seed(1)
    numbers, weights = numbers_of_channels(model, mask)
    convolutional = any(isinstance(module, nn.Conv2d) for module in model.modules())
    outputs = numbers((torch.ones(1, x.shape[1], 1, 1) if convolutional else torch.ones_like(x)).double())
    outputs.sum().backward()
    connected = {}
    for name, entry in mask.items():
        on_path = (weights[name].grad > 0).numpy() & (weights[name].detach() > 0).numpy()
        repeats = entry[0].numel() // on_path[0].size
        spread = np.repeat(on_path.reshape(len(entry), -1), repeats, axis=1).reshape(tuple(entry.shape))
        connected[name] = spread & entry.numpy()
    return (outputs[0] > 0).tolist(), connected


def agrees(name, density):
    model, x = fresh(name)
    generator = torch.Generator().manual_seed(int(1e5 * density))
    dense = bb.Mask.dense(model)
    mask = bb.Mask({key: torch.rand(entry.shape, generator=generator) < density for key, entry in dense.items()})
    graph = bb.trace(model, x)
    classes, connected = expected(model, mask, x)
    found = graph.reachable(mask)
    assert found.classes[0].tolist() == classes
    assert found.connected == bb.Mask({key: torch.from_numpy(entry) for key, entry in connected.items()})
    measured = Connectivity()(bb.Evidence({Graph(): graph}), mask)
    total = sum(int(entry.sum()) for entry in connected.values())
    assert measured.numbers == {"connected_weights": total / mask.kept, "reachable_classes": sum(classes) / 10}
    return sum(classes), total


@pytest.mark.parametrize(("name", "density"), CASES)
def test_classes_and_connected_weights_of_small_networks(name, density):
    agrees(name, density)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "density"), LARGE_CASES)
def test_classes_and_connected_weights_of_large_networks(name, density):
    agrees(name, density)


def test_some_of_the_cases_above_are_torn_and_some_hold():
    found = {agrees("lenet-5-safs", density)[0] for density in DENSITIES["lenet-5-safs"]}
    assert min(found) < 5
    assert max(found) == 10
