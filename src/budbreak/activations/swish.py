"""Swish, or SiLU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

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

    def formula(self, x: Tensor, *scalars: Scalar) -> Tensor:
        """See `Activation`."""
        alpha, beta = scalars
        return alpha * x * torch.sigmoid(beta * x)

    def slopes(self, x: Tensor, *scalars: Scalar) -> Iterator[Tensor]:
        """See `Activation`."""
        alpha, beta = scalars
        s = torch.sigmoid(beta * x)
        value = x * s
        rest = value * (1 - s)
        yield alpha * (s + beta * rest)
        yield value
        yield alpha * x * rest

    def shortcut(self, x: Tensor) -> Tensor | None:
        """See `Activation`."""
        return functional.silu(x) if self.alpha == self.beta == 1 else None
