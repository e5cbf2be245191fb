"""A weight as the matrices that it multiplies by."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from budbreak.masks.units import UnitLayout, output_layout

_CONVOLUTIONS = (
    nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
)  # fmt: skip


@dataclass(frozen=True)
class Unfolding:
    """How a weight is read as matrices [units, inputs], one for each group of a convolution.

    Linear: itself. Convolution: [out, in * kh * kw]; transposed: [out, in * kh * kw] too, though torch keeps inputs
    first. Grouped: a matrix [out / groups, in / groups * kh * kw] for each group, which together, as the blocks of a
    diagonal, are what the layer multiplies by. Recurrent and attention weights: as torch keeps them, gates or
    projections one below the other. Of fewer than two dimensions: one row.

    Args:
        layout: where the units lie.
        groups: of a convolution.
    """

    layout: UnitLayout = UnitLayout(0)  # noqa: RUF009 - frozen
    groups: int = 1

    def matrices(self, weight: Tensor) -> Tensor:
        """The weight as [groups, rows, columns]; differentiable."""
        rows = self.layout.rows(weight)
        return rows.reshape(self.groups, rows.shape[0] // self.groups, rows.shape[1])

    def weight(self, matrices: Tensor, shape: tuple[int, ...]) -> Tensor:
        """What `matrices` made, in the shape of the weight again."""
        return self.layout.restore(matrices.flatten(0, 1), torch.Size(shape))


def unfolding_of(layer: nn.Module, weight: Tensor) -> Unfolding:
    """How the weight of a layer is read."""
    groups = layer.groups if isinstance(layer, _CONVOLUTIONS) and weight.dim() > 1 else 1
    return Unfolding(output_layout(layer, weight) or UnitLayout(0), groups)
