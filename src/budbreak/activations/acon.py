"""ACON-C: a smooth maximum of two linear functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from budbreak.activations.activation import Activation
from budbreak.activations.evaluating import Scalar


@dataclass(frozen=True)
class ACON(Activation):
    """(p1 - p2) * x * sigmoid(beta * (p1 - p2) * x) + p2 * x.

    It starts as Swish. With p1 = p2, as in the code of SAFS, it is linear, and stays so: the slopes by p1 and by p2 are
    equal there, and that by beta is 0.

    Args:
        p1: its slope for large x.
        p2: its slope for large negative x.
        beta: how sharp the bend is.

    Source: Ma et al. 2021 (ACON), arXiv 2009.04759.
    """

    p1: float = 1.0
    p2: float = 0.0
    beta: float = 1.0
    trainable: bool = field(default=True, kw_only=True)
    widened: ClassVar[bool] = False

    def formula(self, x: Tensor, *scalars: Scalar) -> Tensor:
        """See `Activation`."""
        p1, p2, beta = scalars
        bent = (p1 - p2) * x
        return bent * torch.sigmoid(beta * bent) + p2 * x

    def slopes(self, x: Tensor, *scalars: Scalar) -> Iterator[Tensor]:
        """See `Activation`."""
        p1, p2, beta = scalars
        bent = (p1 - p2) * x
        s = torch.sigmoid(beta * bent)
        rest = bent * s * (1 - s)
        slope = s + beta * rest
        yield (p1 - p2) * slope + p2
        yield x * slope
        yield x - x * slope
        yield bent * rest
