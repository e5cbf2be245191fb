"""A layer as two thinner ones, put in its place."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from budbreak.errors import InvalidValue
from budbreak.lowrank.factors import Factors
from budbreak.lowrank.matrices import Unfolded

_Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
_KINDS: tuple[type[_Layer], ...] = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class SplitLayer(nn.Sequential):
    """Two layers in place of one; who reads its weight or bias, as attention does, reads what they stand for."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__(first, second)

    @property
    def weight(self) -> Tensor:
        """The product of both weights in the shape of the one layer's, differentiable."""
        first, second = (cast(Tensor, layer.weight) for layer in self)
        return (second.flatten(1) @ first.flatten(1)).unflatten(1, first.shape[1:])

    @property
    def bias(self) -> Tensor | None:
        """That of the second."""
        return cast("Tensor | None", self[1].bias)


def check_can_split(model: nn.Module, one: Unfolded) -> None:
    """Refuse a layer that is more than its weight and bias.

    Raises:
        InvalidValue: with what it is.
    """
    layer, name = one.layer, one.name
    fix = "leave it out, or use reconstruct(...), which keeps the layer"
    if _kind(layer) is None:
        raise InvalidValue(f"{name!r} is of a {type(layer).__name__}", "Linear and Conv1d to Conv3d are split", fix)
    hooks = (layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer._backward_pre_hooks)  # pyright: ignore[reportPrivateUsage]
    if any(hooks):
        raise InvalidValue(f"the layer of {name!r} has hooks", "two layers in its place would lose them", fix)
    owners = [module for module in model.modules() if any(p is one.parameter for p in module.parameters(False))]
    if len(owners) > 1:
        raise InvalidValue(f"{name!r} is the weight of another layer, too", "what is shared cannot be split", fix)


def split(one: Unfolded, factors: Factors) -> SplitLayer:
    """The two layers that stand for a weight and its bias; what can be trained stays so."""
    layer = cast(_Layer, one.layer)
    pair = SplitLayer(*_empty_pair(layer, len(factors.first)))
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
    kind, where = _kind(layer), {"device": layer.weight.device, "dtype": layer.weight.dtype, "bias": False}
    empty = torch.nn.utils.skip_init
    if isinstance(layer, nn.Linear):
        return empty(kind, layer.in_features, inner, **where), empty(kind, inner, layer.out_features, **where)
    own = {name: getattr(layer, name) for name in ("kernel_size", "stride", "padding", "dilation", "padding_mode")}
    return empty(kind, layer.in_channels, inner, **own, **where), empty(kind, inner, layer.out_channels, 1, **where)


def _kind(layer: nn.Module) -> type[nn.Module] | None:
    """Which of the layers that can be split it is; None where its class computes something of its own."""
    return next((kind for kind in _KINDS if isinstance(layer, kind) and type(layer).forward is kind.forward), None)
