"""A weight as matrices and back."""

import pytest
import torch
from torch import nn

from budbreak.masks import Unfolding, unfolding_of

LAYERS = {
    "linear": (nn.Linear(7, 4), (1, 4, 7)),
    "conv": (nn.Conv2d(3, 5, (2, 3)), (1, 5, 18)),
    "grouped": (nn.Conv1d(4, 6, 3, groups=2), (2, 3, 6)),
    "depthwise": (nn.Conv2d(6, 12, 3, groups=6), (6, 2, 9)),
    "transposed": (nn.ConvTranspose2d(3, 5, 2), (1, 5, 12)),
    "transposed-grouped": (nn.ConvTranspose1d(4, 6, 3, groups=2), (2, 3, 6)),
    "embedding": (nn.Embedding(9, 4), (1, 4, 9)),
    "gain": (nn.LayerNorm(5), (1, 1, 5)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_weight_is_read_as_matrices_and_comes_back(name):
    layer, shape = LAYERS[name]
    unfolding = unfolding_of(layer, layer.weight)
    matrices = unfolding.matrices(layer.weight)
    assert matrices.shape == shape
    assert torch.equal(unfolding.weight(matrices, layer.weight.shape), layer.weight)


@pytest.mark.parametrize("name", ["conv", "grouped", "depthwise", "transposed", "transposed-grouped"])
def test_the_matrices_are_what_a_convolution_multiplies_patches_by(name):
    """One patch, as large as the kernel: its output, or what enters one input of a transposed one."""
    layer, _ = LAYERS[name]
    matrices = unfolding_of(layer, layer.weight).matrices(layer.weight)
    kernel = layer.weight.shape[2:]
    if name.startswith("transposed"):  # as the gradient of the convolution that has its inputs for outputs
        x = torch.randn(1, layer.in_channels, *(1 for _ in kernel))
        rows = matrices.reshape(layer.groups, -1, layer.in_channels // layer.groups, kernel.numel())
        wanted = torch.einsum("goik,gi->gok", rows, x.reshape(layer.groups, -1))
        found = (layer(x) - layer.bias.reshape(-1, *(1 for _ in kernel))).reshape(wanted.shape)
    else:
        x = torch.randn(1, layer.in_channels, *kernel)
        wanted = torch.einsum("goi,gi->go", matrices, x.reshape(layer.groups, -1)).reshape(-1)
        found = layer(x).reshape(-1) - layer.bias
    assert torch.allclose(found, wanted, atol=1e-5)


def test_without_a_layer_the_first_dimension_counts_units():
    assert Unfolding().matrices(torch.zeros(3, 4, 5)).shape == (1, 3, 20)
