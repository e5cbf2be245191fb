"""Softplus."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from budbreak.activations.activation import Facts
from budbreak.activations.scaled import Scaled


@dataclass(frozen=True)
class Softplus(Scaled):
    """alpha * ln(1 + e^(beta * x)): ln 2 at 0. Above 20 it is z itself, as in torch."""

    facts = Facts(zero=math.log(2))

    def g(self, z: Tensor) -> Tensor:
        """See `Scaled`."""
        return functional.softplus(z)
