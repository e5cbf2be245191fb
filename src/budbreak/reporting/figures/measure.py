"""What the values of a plot are: a quantity, or differences in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from budbreak.diagnostics import Quantity
from budbreak.reporting.estimate import Axis, Point, Series
from budbreak.reporting.wording import (
    UNITS,
    chance_words,
    change,
    count,
    density,
    interval,
    number,
    unit_of_change,
    with_unit,
)
from budbreak.studies import Estimate


@dataclass(frozen=True)
class Measure:
    """A quantity, drawn in its unit: shares in percent, their differences in points."""

    quantity: Quantity
    differences: bool = False

    @property
    def label(self) -> str:
        """Of the axis, with the unit."""
        name = "difference" if self.differences else self.quantity.label
        unit = unit_of_change(self.quantity) if self.differences else UNITS.get(self.quantity.unit, "")
        return f"{name} ({unit})" if unit else name

    def value(self, value: float | None) -> float | None:
        """A number as it is drawn, as exact as can be seen."""
        if value is None:
            return None
        return float(f"{100 * value:.3f}") if self.quantity.unit == "share" else float(f"{value:.5g}")

    def drawn(self, point: Point, *, seeds: bool = True) -> dict[str, Any]:
        """The mean, its interval, and the seeds."""
        found = point.estimate
        ends = {"y": self.value(found.mean), "low": self.value(found.low), "high": self.value(found.high)}
        several = seeds and len(point.values) > 1
        return {**ends, "seeds": [self.value(value) for _, value in point.values] if several else None}

    def axis(self, values: Sequence[float], height: float) -> dict[str, Any]:
        """Scale and axis: zero belongs on it for differences, and where the values come near it."""
        zero = self.differences or near_zero(values)
        signed: dict[str, Any] = {"labelExpr": "(datum.value > 0 ? '+' : '') + datum.label"} if self.differences else {}
        axis = alt.Axis(format="~r", tickCount=max(3, int(height / 40)), **signed)
        return {"scale": alt.Scale(zero=zero, nice=True), "axis": axis}

    def written(self, point: Point) -> str:
        """A mean, with its interval if there is one."""
        found = point.estimate
        if self.differences:
            return interval(self.quantity, found)
        mean = number(self.quantity, found.mean)
        if found.low is None or found.high is None:
            return mean
        low, high = (self.value(end) for end in (found.low, found.high))
        return f"{mean} [{low:.2f}, {high:.2f}]" if self.quantity.unit == "share" else f"{mean} [{low:g}, {high:g}]"

    def tip(self, series: Series, point: Point) -> str:
        """What one reads when pointing at a mean."""
        found = point.estimate
        name = f"{series.label} \u2212 {series.reference}" if self.differences else series.label
        mean = with_unit(change(self.quantity, found.mean), self.quantity) if self.differences else ""
        lines = [
            name,
            where(series.axis, point.x),
            f"{self.quantity.label} {mean or number(self.quantity, found.mean)}",
        ]
        lines.append("one seed, no interval" if found.low is None else self._interval(found))
        return "\n".join([*lines, *([f"{chance_words(point.p)}, corrected"] if point.p is not None else [])])

    def _interval(self, found: Estimate) -> str:
        ends = [end for end in (found.low, found.high) if end is not None]
        bounds = [change(self.quantity, end) if self.differences else number(self.quantity, end) for end in ends]
        return f"95 % interval {' to '.join(bounds)}, {count(found.n, 'seed')}"


def where(axis: Axis, x: float) -> str:
    """A place on an axis in words.

    >>> where(Axis("epoch", "epoch"), 3.0), where(Axis("latency", "latency", "seconds"), 0.002)
    ('epoch 3', 'latency 0.002 s')
    """
    if axis.name == "density":
        return f"\u03bb = {density(x)}"
    return f"{axis.label} {100 * x if axis.unit == 'share' else x:.4g} {UNITS.get(axis.unit, '')}".rstrip()


def near_zero(values: Sequence[float]) -> bool:
    """Whether an axis of values that are never negative is to begin at zero.

    >>> near_zero([0.1, 0.3]), near_zero([0.86, 0.92]), near_zero([-1.0, 1.0])
    (True, False, False)
    """
    return min(values) >= 0 and (2 * min(values) < max(values) or max(values) == 0)
