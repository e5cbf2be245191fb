"""TanhSoft-1."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from budbreak.activations.activation import Activation
from budbreak.activations.evaluating import Scalar


@dataclass(frozen=True)
class TanhSoft1(Activation):
    """tanh(alpha * x) * ln(1 + e^x).

    Args:
        alpha: of the tanh.

    Source: Biswas et al. 2020 (TanhSoft), arXiv 2009.03863.
    """

    alpha: float = 1.0
    trainable: bool = field(default=True, kw_only=True)
    widened: ClassVar[bool] = False

    def formula(self, x: Tensor, *scalars: Scalar) -> Tensor:
        """See `Activation`."""
        (alpha,) = scalars
        return torch.tanh(alpha * x) * functional.softplus(x)
