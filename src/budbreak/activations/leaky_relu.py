"""Leaky ReLU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from budbreak.activations.activation import Facts
from budbreak.activations.scaled import Scaled


@dataclass(frozen=True)
class LeakyReLU(Scaled):
    """alpha * g(beta * x) with g(z) = z for z > 0, negative_slope * z else. Alpha and beta are redundant.

    Args:
        alpha: the scale of what it gives.
        beta: the scale of what comes in.
        negative_slope: a constant; `PReLU` trains it.
    """

    negative_slope: float = 0.01
    constants: ClassVar[tuple[str, ...]] = ("negative_slope",)
    facts = Facts(homogeneous=True, smooth=False)

    def g(self, z: Tensor) -> Tensor:
        """See `Scaled`."""
        return functional.leaky_relu(z, self.negative_slope)
