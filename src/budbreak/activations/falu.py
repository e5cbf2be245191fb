"""FALU: Swish and its derivatives of an order that is learned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from budbreak.activations.activation import Activation
from budbreak.activations.evaluating import Scalar


@dataclass(frozen=True)
class FALU(Activation):
    """Swish at order 0, its first derivative at 1, its second at 2, and mixtures between.

    With s = sigmoid(beta * x) and g = x * s: h + max(order - 1, 0) * s * (1 - 2 h) with h = g + min(order, 1) * s *
    (1 - g). Beyond [0, 2] the lines of the formula go on.

    Args:
        order: of the derivative, from 0 to 2.
        beta: how sharp it is.

    Source: Zamora et al. 2022 (FALU), "Fractional adaptive linear units".
    """

    order: float = 0.0
    beta: float = 1.0
    trainable: bool = field(default=True, kw_only=True)

    def formula(self, x: Tensor, *scalars: Scalar) -> Tensor:
        """See `Activation`."""
        first, second = _orders(x, scalars[0])
        s = torch.sigmoid(scalars[1] * x)
        g = x * s
        h = g + first * s * (1 - g)
        return h + second * s * (1 - 2 * h)

    def slopes(self, x: Tensor, *scalars: Scalar) -> Iterator[Tensor]:
        """See `Activation`."""
        order, beta = scalars
        first, second = _orders(x, order)
        s = torch.sigmoid(beta * x)
        g, steep, rest = x * s, s * (1 - s), 1 - x * s
        h = g + first * s * rest

        def moved(ds: Tensor, dg: Tensor) -> Tensor:
            dh = dg + first * (ds * rest - s * dg)
            return dh + second * (ds * (1 - 2 * h) - 2 * s * dh)

        bent = x * steep
        yield moved(beta * steep, s + beta * bent)
        yield s * (rest - torch.sign(second) * (2 * h - g))
        yield moved(bent, x * bent)


def _orders(x: Tensor, order: Scalar) -> tuple[Tensor, Tensor]:
    """How much of the first derivative is mixed in, and of the second; at order 1 the slope is that of the first."""
    order = torch.as_tensor(order, dtype=x.dtype, device=x.device)
    return torch.where(order > 1, 1.0, order), torch.where(order > 1, order - 1, 0.0)
