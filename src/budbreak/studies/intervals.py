"""Means over seeds, with their 95 % t-intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds; ``low`` and ``high`` bound its 95 % t-interval, None where one seed gives no interval."""

    n: int
    mean: float
    low: float | None
    high: float | None


def estimate(values: Sequence[float]) -> Estimate:
    """The mean of at least one value and its 95 % t-interval.

    >>> estimate([1.0])
    Estimate(n=1, mean=1.0, low=None, high=None)
    """
    n = len(values)
    mean = math.fsum(values) / n
    if n == 1:
        return Estimate(n, mean, None, None)
    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
    half = t_quantile(n - 1) * math.sqrt(variance / n)
    return Estimate(n, mean, mean - half, mean + half)


@cache
def t_quantile(freedom: int) -> float:
    """The t with P(-t < T < t) = 0.95 for Student's distribution, by bisection.

    >>> round(t_quantile(4), 4)
    2.7764
    """
    low, high = 1.0, 13.0  # 1.96 for many seeds, 12.71 for two
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < 0.95 else (low, middle)
    return low


def _within(t: float, freedom: int) -> float:
    """P(-t < T < t), the finite series for whole degrees of freedom (Abramowitz and Stegun 26.7.3, 26.7.4)."""
    angle = math.atan(t / math.sqrt(freedom))
    odd = freedom % 2
    term, total = 1.0, 0.0
    for step in range(1 + odd, freedom, 2):
        total += term
        term *= math.cos(angle) ** 2 * step / (step + 1)
    if odd:
        return 2 / math.pi * (angle + math.sin(angle) * math.cos(angle) * total)
    return math.sin(angle) * total
