"""Soft root sign, guarded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import Tensor

from budbreak.activations.activation import Activation
from budbreak.activations.evaluating import Scalar
from budbreak.activations.guards import at_least, bounded_exp, is_over

_LEAST = 0.1


@dataclass(frozen=True)
class SRS(Activation):
    """x / (x / a + e^(-x / b)), with a = max(alpha, b / 2) and b = max(beta, 0.1).

    The guard acts exactly where alpha < b / 2 or beta < 0.1, and makes that scalar's slope 0 there. Without it the
    denominator, whose least value is (b / a) (1 + ln(a / b)), vanishes for some x as soon as a <= b / e; with it that
    value is positive, and 0.61 at a = b / 2. An exponent over 80 (700 in float64) is kept there.

    Args:
        alpha: its limit for large x.
        beta: how soon it falls to 0 for negative x.

    Source: Zhou et al. 2020 (SRS), arXiv 2003.01873.
    """

    alpha: float = 1.0
    beta: float = 1.0
    trainable: bool = field(default=True, kw_only=True)

    def formula(self, x: Tensor, *scalars: Scalar) -> Tensor:
        """See `Activation`."""
        a, b = _guarded(*scalars)
        return x / (x / a + bounded_exp(-x / b))

    def slopes(self, x: Tensor, *scalars: Scalar) -> Iterator[Tensor]:
        """See `Activation`."""
        (alpha, beta), (a, b) = scalars, _guarded(*scalars)
        e = bounded_exp(-x / b)
        below = x / a + e
        value, share = x / below, e / below
        yield share * (1 + x / b) / below
        by_a, by_b = (value / a).square(), -(value / b) * (x / b) * share
        free = is_over(alpha, b / 2)
        yield by_a * free
        yield (by_b + by_a * (1 - free) / 2) * is_over(beta, _LEAST)


def _guarded(alpha: Scalar, beta: Scalar) -> tuple[Scalar, Scalar]:
    b = at_least(beta, _LEAST)
    return at_least(alpha, b / 2), b
