"""SELU."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from budbreak.activations.activation import Facts
from budbreak.activations.scaled import Scaled

_SCALE, _ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717


@dataclass(frozen=True)
class SELU(Scaled):
    """alpha * g(beta * x) with g(z) = 1.0507 z for z > 0, 1.0507 * 1.6733 (e^z - 1) else.

    Source: Klambauer et al. 2017, whose two numbers keep mean 0 and variance 1.
    """

    facts = Facts(smooth=False)

    def g(self, z: Tensor) -> Tensor:
        """See `Scaled`."""
        return torch.selu(z)
