"""Mish."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from budbreak.activations.scaled import Scaled


@dataclass(frozen=True)
class Mish(Scaled):
    """alpha * g(beta * x) with g(z) = z * tanh(ln(1 + e^z)). Source: Misra 2020, arXiv 1908.08681."""

    builtin = False  # its backward pass takes several times as long as this slope

    def g(self, z: Tensor) -> Tensor:
        """See `Scaled`."""
        return functional.mish(z)

    def slope(self, z: Tensor) -> Tensor:
        """See `Scaled`."""
        t = torch.tanh(functional.softplus(z))
        return t + z * torch.sigmoid(z) * (1 - t * t)
