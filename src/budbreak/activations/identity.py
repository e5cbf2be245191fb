"""The identity: no nonlinearity at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from budbreak.activations.activation import Activation, Facts
from budbreak.activations.evaluating import Scalar


@dataclass(frozen=True)
class Identity(Activation):
    """alpha * x.

    Args:
        alpha: the scale.
    """

    alpha: float = 1.0
    widened: ClassVar[bool] = False
    facts = Facts(homogeneous=True)

    def formula(self, x: Tensor, *scalars: Scalar) -> Tensor:
        """See `Activation`."""
        (alpha,) = scalars
        return alpha * x
