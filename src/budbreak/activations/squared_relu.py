"""Squared ReLU."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from budbreak.activations.activation import Facts
from budbreak.activations.scaled import Scaled


@dataclass(frozen=True)
class SquaredReLU(Scaled):
    """alpha * max(beta * x, 0)^2. Source: So et al. 2021 (Primer). In float16 it overflows above 255."""

    facts = Facts(flat=((-math.inf, 0.0),), zeros=True)

    def g(self, z: Tensor) -> Tensor:
        """See `Scaled`."""
        return torch.relu(z).square()
