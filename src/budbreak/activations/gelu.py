"""GELU, exactly."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from budbreak.activations.scaled import Scaled


@dataclass(frozen=True)
class GELU(Scaled):
    """alpha * g(beta * x) with g(z) = z * P(N(0, 1) <= z): by erf, not by tanh. Source: Hendrycks & Gimpel 2016."""

    def g(self, z: Tensor) -> Tensor:
        """See `Scaled`."""
        return functional.gelu(z)
