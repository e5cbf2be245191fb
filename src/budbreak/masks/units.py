"""Where the units of a weight lie, by the kind of its layer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from budbreak.masks.parametrized import parameters_with_layers
from budbreak.masks.prunable import Prunable, prunable_parameters, unwrap

_ROWS = (nn.Linear, nn.Bilinear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_COLUMNS = (nn.Embedding, nn.EmbeddingBag)


@dataclass(frozen=True)
class UnitLayout:
    """The units of a weight: all elements with the same index along ``dim``.

    With ``groups`` > 1, as in a grouped transposed convolution [inputs, units / groups, ...], inputs fall into as
    many groups, each with units of its own: unit g * (units / groups) + j is column j of group g's rows.

    Args:
        dim: the dimension that counts units.
        groups: of a grouped transposed convolution, for which ``dim`` is 1.
    """

    dim: int
    groups: int = 1

    def count(self, shape: torch.Size) -> int:
        """How many units a weight of this shape has."""
        return shape[self.dim] * self.groups

    def members(self, tensor: Tensor) -> Tensor:
        """A tensor of the weight's shape as [units, members]."""
        if self.groups == 1:
            return tensor.movedim(self.dim, 0).flatten(1)
        split = tensor.reshape(self.groups, -1, tensor.shape[1], tensor[0, 0].numel())
        return split.movedim(2, 1).reshape(self.count(tensor.shape), -1)

    def rows(self, tensor: Tensor) -> Tensor:
        """The same; of fewer than two dimensions, a tensor is one row."""
        return self.members(tensor) if tensor.dim() > 1 else tensor.reshape(1, -1)

    def restore(self, rows: Tensor, shape: torch.Size) -> Tensor:
        """What `rows` made, in the shape of the weight again."""
        if len(shape) < 2:
            return rows.reshape(shape)
        if self.groups == 1:
            others = [size for dim, size in enumerate(shape) if dim != self.dim]
            return rows.reshape(shape[self.dim], *others).movedim(0, self.dim).contiguous()
        split = rows.reshape(self.groups, shape[1], shape[0] // self.groups, shape[2:].numel())
        return split.movedim(1, 2).reshape(shape)

    def spread(self, units: Tensor, shape: torch.Size) -> Tensor:
        """[units] in the weight's shape: each member has its unit's value."""
        if self.groups == 1:
            view = units.reshape([-1 if dim == self.dim else 1 for dim in range(len(shape))])
            return view.expand(shape).contiguous()
        grouped = units.reshape(self.groups, 1, shape[1], 1)
        return grouped.expand(-1, shape[0] // self.groups, -1, shape[2:].numel()).reshape(shape)


def output_layout(layer: nn.Module, weight: Tensor) -> UnitLayout | None:
    """Where the output units of a layer lie in its weight; None where its rows are no units, or nobody knows.

    Rows of Linear, Bilinear and convolutions; columns of embeddings and, by group, of transposed convolutions.
    Recurrent layers and nn.MultiheadAttention stack several gates or projections a unit: None.
    """
    if weight.dim() < 2:
        return None
    if isinstance(layer, _TRANSPOSED):
        return UnitLayout(1, layer.groups)
    if isinstance(layer, _COLUMNS):
        return UnitLayout(1)
    return UnitLayout(0) if isinstance(layer, _ROWS) else None


def unusual_layouts(model: nn.Module, prunable: Prunable) -> tuple[tuple[str, UnitLayout], ...]:
    """(name, layout) of the prunable weights whose outputs lie elsewhere than in their rows."""
    unwrapped = unwrap(model)
    covered = prunable_parameters(unwrapped, prunable)
    layers = {name: layer for name, layer, _ in parameters_with_layers(unwrapped)}
    layouts = {name: output_layout(layers[name], weight) for name, weight in covered.items()}
    return tuple((name, layout) for name, layout in layouts.items() if layout not in (None, UnitLayout(0)))


def is_producer(layer: nn.Module) -> bool:
    """Whether a layer computes its outputs by weights, as a classifier does: not an embedding, not a norm."""
    return isinstance(layer, _ROWS + _TRANSPOSED)
