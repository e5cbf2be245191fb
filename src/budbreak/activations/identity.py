"""The identity: no nonlinearity at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from budbreak.activations.activation import Activation, Facts
from budbreak.activations.evaluating import Scalar


@dataclass(frozen=True)
class Identity(Activation):
    """alpha * x.

    Args:
        alpha: the scale.
    """

    alpha: float = 1.0
    facts = Facts(homogeneous=True)

    def formula(self, x: Tensor, *scalars: Scalar) -> Tensor:
        """See `Activation`."""
        (alpha,) = scalars
        return alpha * x

    def slopes(self, x: Tensor, *scalars: Scalar) -> Iterator[Tensor]:
        """See `Activation`."""
        (alpha,) = scalars
        yield alpha * torch.ones_like(x)
        yield x
