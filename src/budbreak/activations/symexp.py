"""Symmetric exponential, guarded."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from budbreak.activations.activation import Facts
from budbreak.activations.guards import step
from budbreak.activations.scaled import Sloped

_MOST = 10.0
"""e^10 = 22,026 is a float16 still, which ends at 65,504."""


@dataclass(frozen=True)
class Symexp(Sloped):
    """alpha * g(beta * x) with g(z) = sign(z) * (e^|z| - 1), guarded.

    The guard acts exactly where |beta * x| > 10: there g is the constant sign(z) * (e^10 - 1), and its slope is 0.
    Without it float32 overflows from 89 on, float16 from 11.1 on.
    """

    facts = Facts(flat=((-math.inf, -_MOST), (_MOST, math.inf)), smooth=False)

    def g(self, z: Tensor) -> Tensor:
        """See `Sloped`."""
        return torch.expm1(z.clamp(0.0, _MOST)) - torch.expm1(torch.relu(-z).clamp(max=_MOST))

    def slope(self, z: Tensor) -> Tensor:
        """See `Sloped`."""
        size = z.abs()
        return torch.exp(size.clamp(max=_MOST)) * step(_MOST - size)
