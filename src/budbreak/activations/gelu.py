"""GELU, exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from budbreak.activations.scaled import Scaled


@dataclass(frozen=True)
class GELU(Scaled):
    """alpha * g(beta * x) with g(z) = z * P(N(0, 1) <= z): by erf, not by tanh. Source: Hendrycks & Gimpel 2016."""

    def g(self, z: Tensor) -> Tensor:
        """See `Scaled`."""
        return functional.gelu(z)

    def slope(self, z: Tensor) -> Tensor:
        """See `Scaled`."""
        return (1 + torch.erf(z * math.sqrt(0.5))) / 2 + z * torch.exp(-z * z / 2) / math.sqrt(2 * math.pi)
