"""Means over seeds with their 95 % t-intervals, the paired t-test, Welch's, and Holm's correction for several."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from budbreak.errors import InvalidValue


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds; ``low`` and ``high`` bound its 95 % t-interval.

    ``p`` is the two-sided p-value of "the mean is 0", uncorrected. One seed gives neither interval nor p: None; equal
    values give no p.
    """

    n: int
    mean: float
    low: float | None
    high: float | None
    p: float | None = None

    def within(self, least: float = -math.inf, most: float = math.inf) -> Estimate:
        """The same with an interval that ends where nothing lies beyond.

        A true mean between ``least`` and ``most`` is in the cut interval exactly when it is in the whole one: both hold
        it equally often.

        >>> Estimate(3, 0.01, -0.02, 0.04).within(0, 1)
        Estimate(n=3, mean=0.01, low=0, high=0.04, p=None)
        """
        if self.low is None or self.high is None:
            return self
        return replace(self, low=max(least, self.low), high=min(most, self.high))


def estimate(values: Sequence[float]) -> Estimate:
    """The mean of at least one value, its 95 % t-interval, and its p-value.

    >>> estimate([1.0])
    Estimate(n=1, mean=1.0, low=None, high=None, p=None)
    """
    from scipy.special import stdtrit  # what scipy.stats asks too, in half the time to import

    n, mean = len(values), fmean(values)
    if n == 1:
        return Estimate(n, mean, None, None)
    half = float(stdtrit(n - 1, 0.975)) * _standard_error(values)
    return Estimate(n, mean, mean - half, mean + half, p_value(values))


def p_value(values: Sequence[float]) -> float | None:
    """The two-sided p-value of the t-test that the mean is 0; of paired differences, the paired t-test.

    Values that are all the same, but for the last bits, have no spread to compare their mean with: there is no p, and
    1.0 if they are 0. Accuracies are counts: that two or three seeds differ by the same happens by chance.

    Returns:
        A share in [0, 1]; None for fewer than two values, and for equal ones other than 0.

    >>> round(p_value([1.0, 2.0, 3.0]), 4), p_value([0.0, 0.0]), p_value([0.1, 0.1]), p_value([0.1])
    (0.0742, 1.0, None, None)
    """
    from scipy.special import stdtr

    if len(values) < 2:
        return None
    low, high = min(values), max(values)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        return None if high else 1.0
    return float(2 * stdtr(len(values) - 1, -abs(fmean(values)) / _standard_error(values)))


def welch(own: Sequence[float], reference: Sequence[float]) -> Estimate:
    """The mean of one group minus that of another, with Welch's 95 % t-interval and p-value: no pairs are assumed.

    The standard error is sqrt(s1^2 / n1 + s2^2 / n2), its degrees of freedom are Satterthwaite's. ``n`` of the result
    is that of the smaller group; one value in it gives neither interval nor p.

    Source: Welch 1947, Biometrika 34.

    >>> welch([1.0, 2.0, 3.0], [1.0])
    Estimate(n=1, mean=1.0, low=None, high=None, p=None)
    """
    from scipy.special import stdtr, stdtrit

    n, mean = min(len(own), len(reference)), fmean(own) - fmean(reference)
    if n == 1:
        return Estimate(n, mean, None, None)
    parts = [(_standard_error(values) ** 2, len(values)) for values in (own, reference)]
    error = math.sqrt(math.fsum(part for part, _ in parts))
    if error <= 1e-9 * max(map(abs, (*own, *reference))):
        return Estimate(n, mean, mean, mean, None if mean else 1.0)  # see `p_value`
    freedom = error**4 / math.fsum(part**2 / (size - 1) for part, size in parts)
    half = float(stdtrit(freedom, 0.975)) * error
    return Estimate(n, mean, mean - half, mean + half, float(2 * stdtr(freedom, -abs(mean) / error)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's p-values, in the order given: at most a share of 0.05 of families has a wrong one below 0.05.

    The smallest of m is multiplied by m, the next by m - 1 and so on; none is smaller than one before it.

    Raises:
        InvalidValue: if one is no number in [0, 1].

    >>> holm([0.02, 0.01, 0.5])
    [0.04, 0.03, 0.5]
    """
    adjusted, least = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        p = p_values[index]
        if not 0 <= p <= 1:
            raise InvalidValue(f"a p-value is {p}", "it must be a number in [0, 1]", "leave out what has no p-value")
        adjusted[index] = least = min(1.0, max(least, (len(p_values) - rank) * p))
    return adjusted


def _standard_error(values: Sequence[float]) -> float:
    mean, n = fmean(values), len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n)
