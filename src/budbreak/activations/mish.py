"""Mish."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from budbreak.activations.scaled import Sloped


@dataclass(frozen=True)
class Mish(Sloped):
    """alpha * g(beta * x) with g(z) = z * tanh(ln(1 + e^z)). Source: Misra 2020, arXiv 1908.08681."""

    def g(self, z: Tensor) -> Tensor:
        """See `Sloped`."""
        n = _n(z)
        return z * n / (n + 2)

    def slope(self, z: Tensor) -> Tensor:
        """See `Sloped`."""
        n = _n(z)
        t = n / (n + 2)
        return t + z * torch.sigmoid(z) * (1 - t * t)


def _n(z: Tensor) -> Tensor:
    """tanh(ln(1 + e^z)) = n / (n + 2) with n = e^z (e^z + 2): a third of the time of softplus and tanh."""
    e = torch.exp(z.clamp(max=20))  # beyond, the quotient is 1 in float32, and 1 - 8e-18 in float64
    return e * (e + 2)
