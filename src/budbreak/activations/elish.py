"""ELiSH."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from budbreak.activations.scaled import Sloped


@dataclass(frozen=True)
class ELiSH(Sloped):
    """alpha * g(beta * x) with g(z) = z * sigmoid(z) for z >= 0, (e^z - 1) * sigmoid(z) else.

    Source: Basirat & Roth 2018, arXiv 1808.00783.
    """

    def g(self, z: Tensor) -> Tensor:
        """See `Sloped`."""
        return (torch.relu(z) + torch.expm1(z.clamp(max=0))) * torch.sigmoid(z)

    def slope(self, z: Tensor) -> Tensor:
        """See `Sloped`."""
        s, e = torch.sigmoid(z), torch.exp(z.clamp(max=0))
        return s * (e + (torch.relu(z) + e - 1) * (1 - s))
