"""A layer as two thinner ones, put in its place."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from budbreak.errors import InvalidValue
from budbreak.lowrank.factors import Factors
from budbreak.lowrank.matrices import Unfolded

_SPLIT = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d


def check_can_split(model: nn.Module, one: Unfolded) -> None:
    """Refuse a layer that is more than its weight and bias.

    Raises:
        InvalidValue: with what it is.
    """
    layer, name = one.layer, one.name
    fix = "leave it out, or use reconstruct(...), which keeps the layer"
    if type(layer) not in _SPLIT:
        raise InvalidValue(f"{name!r} is of a {type(layer).__name__}", "Linear and Conv1d to Conv3d are split", fix)
    hooks = (layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer._backward_pre_hooks)  # pyright: ignore[reportPrivateUsage]
    if any(hooks):
        raise InvalidValue(f"the layer of {name!r} has hooks", "two layers in its place would lose them", fix)
    owners = [module for module in model.modules() if any(p is one.parameter for p in module.parameters(False))]
    if len(owners) > 1:
        raise InvalidValue(f"{name!r} is the weight of another layer, too", "what is shared cannot be split", fix)


def split(one: Unfolded, factors: Factors) -> nn.Sequential:
    """The two layers that stand for a weight and its bias; what can be trained stays so."""
    layer = cast(_Layer, one.layer)
    pair = nn.Sequential(*_empty_pair(layer, len(factors.first)))
    for new, factor in zip(cast("list[nn.Linear]", list(pair)), (factors.first, factors.second), strict=True):
        new.weight.data.copy_(factor.reshape(new.weight.shape))
        new.weight.requires_grad_(one.parameter.requires_grad)
    pair[1].register_parameter("bias", cast("nn.Parameter | None", layer.bias))
    return pair.train(layer.training)


def replaced(model: nn.Module, layer: nn.Module, new: nn.Module) -> nn.Module:
    """The model with one layer replaced wherever it is called."""
    if model is layer:
        return new
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):  # pyright: ignore[reportPrivateUsage]
            if child is layer:  # named_children() passes over the second name of a module
                parent.register_module(name, new)
    return model


def _empty_pair(layer: _Layer, inner: int) -> tuple[nn.Module, nn.Module]:
    """Two layers whose weights are not set yet: nothing is drawn from a random generator."""
    kind, where = type(layer), {"device": layer.weight.device, "dtype": layer.weight.dtype, "bias": False}
    empty = torch.nn.utils.skip_init
    if isinstance(layer, nn.Linear):
        return empty(kind, layer.in_features, inner, **where), empty(kind, inner, layer.out_features, **where)
    own = {name: getattr(layer, name) for name in ("kernel_size", "stride", "padding", "dilation", "padding_mode")}
    return empty(kind, layer.in_channels, inner, **own, **where), empty(kind, inner, layer.out_channels, 1, **where)
