"""Paired comparison of arms: differences by seed, with t-intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from budbreak.errors import InvariantBroken, check_count
from budbreak.runs.result import LevelResult, PairedDifference

METRICS = ("test_accuracy", "validation_accuracy", "dnr_total", "dnr_static", "dnr_dynamic")


def paired_differences(levels: Sequence[LevelResult], arms: Sequence[str]) -> list[PairedDifference]:
    """Each arm minus the first, level by level, over the seeds that both have.

    Raises:
        InvariantBroken: if two arms kept different numbers of weights at the same level and seed.
    """
    cells = {(one.arm, one.seed, one.level): one for one in levels}
    found: list[PairedDifference] = []
    for arm in arms[1:]:
        for level in sorted({one.level for one in levels}):
            pairs = [
                (cells[arms[0], seed, level], cells[arm, seed, level])
                for seed in sorted({one.seed for one in levels})
                if (arms[0], seed, level) in cells and (arm, seed, level) in cells
            ]
            _check_equal_survivors(pairs)
            found.extend(_differences(pairs, metric) for metric in METRICS if pairs)
    return found


def t_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float] | None:
    """The t-interval of a mean; None for fewer than two values.

    mean +- t(n - 1) * s / sqrt(n), s the standard deviation with n - 1.
    """
    if len(values) < 2:
        return None
    mean = float(np.mean(values))
    half = t_quantile(0.5 + confidence / 2, len(values) - 1) * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return mean - half, mean + half


def t_quantile(probability: float, freedom: int) -> float:
    """The quantile of Student's t for a whole number of degrees of freedom, by bisection; error below 1e-9.

    >>> round(t_quantile(0.975, 4), 6)
    2.776445
    """
    check_count("freedom", freedom)
    low, high = 0.0, 1e6
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_cdf(middle, freedom) < probability else (low, middle)
    return high


def _t_cdf(t: float, freedom: int) -> float:
    """P(T <= t) for t >= 0: the finite sums of Abramowitz & Stegun 26.7.3 and 26.7.4."""
    angle = math.atan(t / math.sqrt(freedom))
    cos2 = math.cos(angle) ** 2
    odd = freedom % 2 == 1
    term = math.cos(angle) if odd else 1.0
    total = 0.0
    for k in range(freedom // 2):
        if k:
            term *= cos2 * ((2 * k) / (2 * k + 1) if odd else (2 * k - 1) / (2 * k))
        total += term
    inside = 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total
    return 0.5 + inside / 2


def _differences(pairs: Sequence[tuple[LevelResult, LevelResult]], metric: str) -> PairedDifference:
    reference, other = pairs[0]
    values = [b.metrics[metric] - a.metrics[metric] for a, b in pairs]
    low, high = t_interval(values) or (None, None)
    return PairedDifference(
        level=other.level,
        density=other.density,
        arm=other.arm,
        reference=reference.arm,
        metric=metric,
        n=len(values),
        mean=float(np.mean(values)),
        low=low,
        high=high,
    )


def _check_equal_survivors(pairs: Iterable[tuple[LevelResult, LevelResult]]) -> None:
    for a, b in pairs:
        if a.kept != b.kept:
            raise InvariantBroken(
                f"at level {a.level}, seed {a.seed}, arm {a.arm} keeps {a.kept} weights and {b.arm} {b.kept}",
                "arms are compared at the same number of survivors",
                "report this: it is a defect of budbreak",
            )
