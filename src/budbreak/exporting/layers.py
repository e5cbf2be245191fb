"""Layers whose own numbers take over a factor: of what they give, or of what they are given."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd  # pyright: ignore[reportPrivateUsage]

from budbreak.masks import output_layout

_KINDS = (
    nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
)  # fmt: skip

Layer = nn.Linear | _ConvNd


def as_layer(module: nn.Module | None) -> Layer | None:
    """The module, if it is a linear layer or a convolution of torch itself: a subclass may do anything."""
    return cast(Layer, module) if type(module) in _KINDS else None


def is_subclass(module: nn.Module) -> bool:
    """Whether its class is none of torch's layers, but made from one."""
    return isinstance(module, _KINDS) and type(module) not in _KINDS


def channel_dim(layer: Layer) -> int:
    """The dimension that counts channels in what a layer takes and gives, from the end."""
    return -1 if isinstance(layer, nn.Linear) else -1 - len(layer.kernel_size)


@torch.no_grad()
def scale_outputs(layer: Layer, scale: Tensor, shift: Tensor | None = None) -> None:
    """Make y into scale * y + shift. Computed in float64, and rounded once.

    Args:
        layer: gets a bias if it has none and there is a shift.
        scale: [units], or [1].
        shift: [units].
    """
    layout = output_layout(layer, layer.weight)
    assert layout is not None
    units = layout.count(layer.weight.shape)
    factor = scale.double().expand(units)
    layer.weight.copy_(layer.weight.double() * layout.spread(factor, layer.weight.shape))
    bias = cast("nn.Parameter | None", layer.bias)
    if bias is not None or shift is not None:
        before = layer.weight.new_zeros(units) if bias is None else bias
        moved = before.double() * factor + (0 if shift is None else shift.double())
        layer.bias = nn.Parameter(moved.to(layer.weight.dtype), requires_grad=False)


@torch.no_grad()
def scale_inputs(layer: Layer, scale: Tensor) -> None:
    """Give for x what was given for scale * x: rounded once, and exact at padded borders, where both are 0.

    Args:
        layer: whose weight changes.
        scale: [inputs].
    """
    shape, ones = layer.weight.shape, [1] * (layer.weight.dim() - 2)
    if isinstance(layer, _ConvTransposeNd):
        factor = scale.view(-1, 1, *ones)
    else:
        groups = 1 if isinstance(layer, nn.Linear) else layer.groups
        factor = scale.view(groups, -1).repeat_interleave(shape[0] // groups, 0).view(*shape[:2], *ones)
    layer.weight.copy_(layer.weight.double() * factor)
