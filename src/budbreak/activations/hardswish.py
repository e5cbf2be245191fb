"""Hard swish."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from budbreak.activations.activation import Facts
from budbreak.activations.scaled import Scaled


@dataclass(frozen=True)
class Hardswish(Scaled):
    """alpha * g(beta * x) with g(z) = z * min(max(z + 3, 0), 6) / 6. Source: Howard et al. 2019 (MobileNetV3)."""

    facts = Facts(flat=((-math.inf, -3.0),), zeros=True, smooth=False)

    def g(self, z: Tensor) -> Tensor:
        """See `Scaled`."""
        return functional.hardswish(z)
