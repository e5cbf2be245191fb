"""Symmetric logarithm."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from budbreak.activations.scaled import Sloped


@dataclass(frozen=True)
class Symlog(Sloped):
    """alpha * g(beta * x) with g(z) = sign(z) * ln(1 + |z|). Its slope at 0 is 1, which autograd of sign(z) misses."""

    def g(self, z: Tensor) -> Tensor:
        """See `Sloped`."""
        return torch.log1p(z.clamp(min=0)) - torch.log1p(torch.relu(-z))

    def slope(self, z: Tensor) -> Tensor:
        """See `Sloped`."""
        return 1 / (1 + z.abs())
