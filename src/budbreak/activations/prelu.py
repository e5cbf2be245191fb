"""PReLU: a leaky ReLU that learns its slope."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from budbreak.activations.activation import Activation, Facts
from budbreak.activations.evaluating import Scalar
from budbreak.activations.guards import step


@dataclass(frozen=True)
class PReLU(Activation):
    """x for x > 0, slope * x else.

    Args:
        slope: on the left. 0.25 as in the paper.

    Source: He et al. 2015, "Delving deep into rectifiers".
    """

    slope: float = 0.25
    trainable: bool = field(default=True, kw_only=True)
    facts = Facts(homogeneous=True, smooth=False)

    def formula(self, x: Tensor, *scalars: Scalar) -> Tensor:
        """See `Activation`."""
        (slope,) = scalars
        return torch.relu(x) + slope * x.clamp(max=0)

    def slopes(self, x: Tensor, *scalars: Scalar) -> Iterator[Tensor]:
        """See `Activation`."""
        (slope,) = scalars
        yield step(x) * (1 - slope) + slope
        yield x.clamp(max=0)
