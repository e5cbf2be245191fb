"""Sine."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from budbreak.activations.scaled import Scaled


@dataclass(frozen=True)
class Sin(Scaled):
    """alpha * sin(beta * x)."""

    def g(self, z: Tensor) -> Tensor:
        """See `Scaled`."""
        return torch.sin(z)
