"""ELU."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from budbreak.activations.scaled import Scaled


@dataclass(frozen=True)
class ELU(Scaled):
    """alpha * g(beta * x) with g(z) = z for z > 0, e^z - 1 else. Source: Clevert et al. 2016."""

    def g(self, z: Tensor) -> Tensor:
        """See `Scaled`."""
        return functional.elu(z)
