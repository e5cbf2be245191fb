"""ReLU6: a ReLU that saturates."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from budbreak.activations.activation import Facts
from budbreak.activations.scaled import Scaled


@dataclass(frozen=True)
class ReLU6(Scaled):
    """alpha * min(max(beta * x, 0), 6)."""

    facts = Facts(flat=((-math.inf, 0.0), (6.0, math.inf)), zeros=True, smooth=False)

    def g(self, z: Tensor) -> Tensor:
        """See `Scaled`."""
        return functional.relu6(z)
