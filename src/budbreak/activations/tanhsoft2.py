"""TanhSoft-2."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from budbreak.activations.activation import Activation
from budbreak.activations.evaluating import Scalar
from budbreak.activations.guards import bounded_exp


@dataclass(frozen=True)
class TanhSoft2(Activation):
    """x * tanh(beta * e^(gamma * x)).

    The exponent is kept at 80 (700 in float64) where it is larger: the tanh is +-1 there all the same.

    Args:
        beta: the factor of the exponential.
        gamma: in its exponent.

    Source: Biswas et al. 2020 (TanhSoft), arXiv 2009.03863.
    """

    beta: float = 1.0
    gamma: float = 1.0
    trainable: bool = field(default=True, kw_only=True)

    def formula(self, x: Tensor, *scalars: Scalar) -> Tensor:
        """See `Activation`."""
        beta, gamma = scalars
        return x * torch.tanh(beta * bounded_exp(gamma * x))
