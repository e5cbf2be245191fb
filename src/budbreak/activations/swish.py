"""Swish, or SiLU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from budbreak.activations.activation import Activation
from budbreak.activations.evaluating import Scalar


@dataclass(frozen=True)
class Swish(Activation):
    """alpha * x * sigmoid(beta * x): beta is inside the sigmoid only.

    Args:
        alpha: the scale of what it gives.
        beta: how sharp it is: 0 is linear, infinity is ReLU.

    Source: Ramachandran et al. 2017, arXiv 1710.05941.
    """

    alpha: float = 1.0
    beta: float = 1.0
    widened: ClassVar[bool] = False

    def formula(self, x: Tensor, *scalars: Scalar) -> Tensor:
        """See `Activation`."""
        alpha, beta = scalars
        return alpha * x * torch.sigmoid(beta * x)

    def shortcut(self, x: Tensor) -> Tensor | None:
        """See `Activation`."""
        return functional.silu(x) if self.alpha == self.beta == 1 else None
