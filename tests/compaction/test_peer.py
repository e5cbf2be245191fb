"""Torch-Pruning drops what constant channels gave; here it is folded.

The networks are small ones of the shapes in its README (ResNet, DenseNet, MobileNet, ViT, VGG), made by hand.
"""

import copy

import pytest
import torch
from shapes import image_net, kill
from torch import nn

import budbreak as bb

peer = pytest.importorskip("torch_pruning", reason="Torch-Pruning is not installed", exc_type=ImportError)

MOVED = {"mlp": 0.2, "vgg": 0.2, "resnet-20": 0.003, "resnet": 0.2, "densenet": 0.1, "mobilenet": 0.1, "vit": 0.02}
"""By how much its outputs move at least, where the same units go; the largest outputs are about 1."""


def by_peer(model, plan, images):
    """A copy from which Torch-Pruning cuts the units that the plan cuts, and how many these are."""
    smaller, count = copy.deepcopy(model), 0
    graph = peer.DependencyGraph().build_dependency(smaller, example_inputs=images)
    layers = {f"{path}.weight": layer for path, layer in smaller.named_modules()}
    for kept in plan.kept:
        layer, size = layers.get(kept.name), plan.shapes[kept.name][0]
        plain = isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups == 1)
        if kept.dim or not plain or len(layer.weight) < size:  # done with others of its group
            continue
        cut = peer.prune_linear_out_channels if isinstance(layer, nn.Linear) else peer.prune_conv_out_channels
        gone = sorted(set(range(size)) - set(kept.indices))
        graph.get_pruning_group(layer, cut, idxs=gone).prune()
        count += len(gone)
    return smaller, count


@pytest.mark.filterwarnings("ignore:Unwrapped parameters detected")
@pytest.mark.parametrize("name", MOVED)
def test_of_the_same_units_it_drops_the_constants(name):
    model, images = image_net(name)
    kill(model, images[:1], 0.5, makes=True)
    compacted = bb.compact(model, images[:1])
    theirs, count = by_peer(model, compacted.plan, images[:1])
    assert count > 1
    with torch.no_grad():
        expected = model(images)
        assert float((expected - compacted.model(images)).abs().max()) < 1e-12
        assert float((expected - theirs(images)).abs().max()) > MOVED[name]
