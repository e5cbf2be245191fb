"""Symmetric logarithm."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from budbreak.activations.scaled import Scaled


@dataclass(frozen=True)
class Symlog(Scaled):
    """alpha * g(beta * x) with g(z) = sign(z) * ln(1 + |z|). Its slope at 0 is 1, which autograd of sign(z) misses."""

    builtin = False

    def g(self, z: Tensor) -> Tensor:
        """See `Scaled`."""
        return torch.log1p(z.clamp(min=0)) - torch.log1p((-z).clamp(min=0)).where(z < 0, 0)

    def slope(self, z: Tensor) -> Tensor:
        """See `Scaled`."""
        return 1 / (1 + z.abs())
