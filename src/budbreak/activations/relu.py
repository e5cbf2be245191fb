"""ReLU."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from budbreak.activations.activation import Facts
from budbreak.activations.scaled import Scaled


@dataclass(frozen=True)
class ReLU(Scaled):
    """alpha * max(beta * x, 0). Alpha and beta are redundant: trained from 1 they stay equal."""

    facts = Facts(flat=((-math.inf, 0.0),), zeros=True, homogeneous=True, smooth=False)

    def g(self, z: Tensor) -> Tensor:
        """See `Scaled`."""
        return torch.relu(z)
