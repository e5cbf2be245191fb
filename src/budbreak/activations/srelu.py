"""SReLU: three linear pieces, all of which are learned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from budbreak.activations.activation import Activation, Facts
from budbreak.activations.evaluating import Scalar
from budbreak.activations.guards import step


@dataclass(frozen=True)
class SReLU(Activation):
    """x + (right_slope - 1) * max(x - right, 0) + (left_slope - 1) * min(x - left, 0).

    So x itself between left and right, and lines of the two slopes beyond; continuous even where left > right.

    Args:
        left: where the left line ends.
        left_slope: its slope.
        right: where the right line begins.
        right_slope: its slope; 1 at the start, so that it is a leaky ReLU.

    Source: Jin et al. 2016, "Deep learning with S-shaped rectified linear activation units".
    """

    left: float = 0.0
    left_slope: float = 0.2
    right: float = 1.0
    right_slope: float = 1.0
    trainable: bool = field(default=True, kw_only=True)
    widened: ClassVar[bool] = False
    facts = Facts(smooth=False)

    def formula(self, x: Tensor, *scalars: Scalar) -> Tensor:
        """See `Activation`."""
        left, left_slope, right, right_slope = scalars
        return x + (right_slope - 1) * torch.relu(x - right) - (left_slope - 1) * torch.relu(left - x)

    def slopes(self, x: Tensor, *scalars: Scalar) -> Iterator[Tensor]:
        """See `Activation`."""
        left, left_slope, right, right_slope = scalars
        below, above = step(left - x), step(x - right)
        yield 1 + (right_slope - 1) * above + (left_slope - 1) * below
        yield (1 - left_slope) * below
        yield (x - left) * below
        yield (1 - right_slope) * above
        yield (x - right) * above
