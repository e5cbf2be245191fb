"""Lines with intervals against density: what accuracy, differences, diagnostics and runs compared share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import altair as alt

from budbreak.diagnostics import Quantity
from budbreak.reporting.estimate import Axis, Point, Series
from budbreak.reporting.figures.figure import Row
from budbreak.reporting.figures.looks import SHOWN, arm_key, arm_styles, drawn, heading, near_zero, safe
from budbreak.reporting.tables import Column
from budbreak.reporting.wording import (
    UNITS,
    chance_words,
    change,
    count,
    density,
    interval,
    named,
    number,
    titled,
    unit_of_change,
    with_unit,
)


@dataclass(frozen=True)
class Lines:
    """Series of a quantity, or of differences in it, on their way into a figure; ``name`` is that of their rows."""

    name: str
    quantity: Quantity
    series: tuple[Series, ...]
    differences: bool = False

    @property
    def label(self) -> str:
        """Of the axis, with the unit."""
        return titled("difference", unit_of_change(self.quantity)) if self.differences else named(self.quantity)

    @property
    def arms(self) -> dict[str, int]:
        """What the legend lists."""
        return {line.label: line.index for line in self.series}

    @property
    def points(self) -> list[Point]:
        """Of all series."""
        return [point for line in self.series for point in line.points]

    @property
    def has_intervals(self) -> bool:
        """Whether there is one."""
        return any(point.estimate.low is not None for point in self.points)

    @property
    def data(self) -> dict[str, list[Row]]:
        """A row per mean; neighbouring series stand a little apart, so that their intervals can be seen."""
        rows: list[Row] = []
        for place, line in enumerate(self.series):
            share = (place - (len(self.series) - 1) / 2) * min(0.008, 0.03 / len(self.series))
            rows += [self._row(line, point, share) for point in line.points]
        return {self.name: rows}

    def _row(self, line: Series, point: Point, share: float) -> Row:
        found, several = point.estimate, len(point.values) > 1 and not self.differences
        return {
            "arm": arm_key(line.index),
            "x": self._apart(line.axis, point.x, share),
            "y": drawn(self.quantity, found.mean),
            "low": drawn(self.quantity, found.low),
            "high": drawn(self.quantity, found.high),
            "seeds": [drawn(self.quantity, value) for _, value in point.values] if several else None,
            "tip": self._tip(line, point),
        }

    def _apart(self, axis: Axis, x: float, share: float) -> float:
        """A place moved to the right by a share of the axis."""
        low, high = self.extent
        way = -share if axis.falling else share
        moved = axis.shown(x) * (high / low) ** way if axis.log else axis.shown(x) + way * (high - low)
        return float(f"{moved:.4g}")

    @property
    def extent(self) -> tuple[float, float]:
        """The ends of the axis."""
        places = [line.axis.shown(point.x) for line in self.series for point in line.points]
        return min(places), max(places)

    def _tip(self, line: Series, point: Point) -> str:
        """What one reads when pointing at a mean."""
        found = point.estimate
        ends = [self._said(end) for end in (found.low, found.high) if end is not None]
        lines = [
            f"{line.label} \u2212 {line.reference}" if self.differences else line.label,
            where(line.axis, point.x),
            f"{self.quantity.label} {self._said(found.mean)}",
            f"95 % interval {' to '.join(ends)}, {count(found.n, 'seed')}" if ends else "one seed, no interval",
            *([] if point.p is None else [f"{chance_words(point.p)}, corrected"]),
        ]
        return "\n".join(lines)

    def _said(self, value: float) -> str:
        if self.differences:
            return with_unit(change(self.quantity, value), self.quantity)
        return number(self.quantity, value)

    @property
    def columns(self) -> list[Column]:
        """Of its table."""
        return [(line.label, line, self.written) for line in self.series]

    def written(self, point: Point) -> str:
        """A mean, with its interval if there is one."""
        found = point.estimate
        if self.differences:
            return interval(self.quantity, found)
        low, high = (drawn(self.quantity, end) for end in (found.low, found.high))
        digits = ".2f" if self.quantity.unit == "share" else "g"
        ends = "" if low is None or high is None else f" [{low:{digits}}, {high:{digits}}]"
        return f"{number(self.quantity, found.mean)}{ends}"

    @property
    def words(self) -> str:
        """A sentence per series: where it begins and ends."""
        ends = {line.label: (line, line.points[0], line.points[-1]) for line in self.series}
        return " ".join(
            f"{name}: {', '.join(f'{self._said(p.estimate.mean)} at {where(line.axis, p.x)}' for p in points)}."
            for name, (line, *points) in ends.items()
        )

    def draw(self, width: float) -> alt.LayerSpec:
        """As the only plot of a figure."""
        return self.plot(width - 56, min(280, 0.62 * width))

    def plot(self, width: float, height: float, *, titled: bool = False) -> alt.LayerSpec:
        """Means joined by lines, their 95 % intervals, and seeds as small dots; the title may replace the label."""
        styles, label = arm_styles(self.arms), None if titled else safe(self.label)
        colour = styles["color"]
        every = alt.Chart(alt.NamedData(self.name))
        base = every.transform_filter(SHOWN).encode(x=self.x_axis(width), color=colour)
        y = alt.Y("y:Q", title=label, **self._y_axis(height))
        layers: list[alt.Chart] = []
        if self.differences:
            layers.append(every.mark_rule(color="var(--ink)").encode(y=alt.YDatum(0)))
        if any(len(point.values) > 1 for point in self.points):
            seeds = base.transform_filter("isValid(datum.seeds)").transform_flatten(["seeds"])
            layers.append(seeds.mark_circle(size=10, opacity=0.45).encode(y=alt.Y("seeds:Q")))
        layers.append(base.mark_line(strokeWidth=1.6).encode(y=y, strokeDash=styles["strokeDash"]))
        if self.has_intervals:
            known = base.transform_filter("isValid(datum.low)")
            layers.append(known.mark_rule(strokeWidth=1.1).encode(y=alt.Y("low:Q"), y2=alt.Y2("high:Q")))
            caps = known.mark_tick(size=5, thickness=1.1, orient="horizontal")
            layers += [caps.encode(y=alt.Y(end)) for end in ("low:Q", "high:Q")]
        points = base.mark_point(filled=True, size=44, opacity=1)
        layers.append(points.encode(y=y, shape=styles["shape"], tooltip=alt.Tooltip("tip:N")))
        return alt.LayerSpec(layer=[*layers, *([heading(self.label)] if titled else [])], width=width, height=height)

    def _y_axis(self, height: float) -> dict[str, Any]:
        """Zero belongs on it for differences, and where the values come near it."""
        found = [point.estimate for point in self.points]
        values = [value for one in found for value in (one.low, one.mean, one.high) if value is not None]
        signed: dict[str, Any] = {"labelExpr": "(datum.value > 0 ? '+' : '') + datum.label"} if self.differences else {}
        axis = alt.Axis(format="~r", tickCount=max(3, int(height / 40)), **signed)
        return {"scale": alt.Scale(zero=self.differences or near_zero(values), nice=True), "axis": axis}

    def x_axis(self, width: float) -> alt.X:
        """Logarithmic where equal ratios are equal steps, as in prunings; density falls to the right."""
        axis, (low, high) = self.series[0].axis, self.extent
        scale = alt.Scale(
            type="log" if axis.log else "linear",
            domain=(0.9 * low, 1.1 * high) if low == high else (low, high),
            reverse=axis.falling,
            nice=False,
            padding=12,
        )
        title = titled(axis.label, ", ".join(filter(None, [UNITS.get(axis.unit), "log scale" if axis.log else ""])))
        ticks: dict[str, Any] = {"tickCount": int(width / 60), "format": "~g"}
        if axis.log:
            ticks = {"values": log_ticks(low, high, 26 / width), "format": ".2~r"}
        return alt.X("x:Q", title=title, scale=scale, axis=alt.Axis(**ticks))


def where(axis: Axis, x: float) -> str:
    """A place on an axis in words.

    >>> where(Axis("epoch", "epoch"), 3.0), where(Axis("latency", "latency", "seconds"), 0.002)
    ('epoch 3', 'latency 0.002 s')
    """
    if axis.name == "density":
        return f"\u03bb = {density(x)}"
    return f"{axis.label} {axis.shown(x):.4g} {UNITS.get(axis.unit, '')}".rstrip()


def log_ticks(low: float, high: float, room: float) -> list[float]:
    """The ends and round numbers between them, at least a share of the axis apart.

    >>> log_ticks(6.87, 100, 0.07)
    [6.87, 100, 50.0, 20.0, 10.0]
    """
    chosen = [low, high] if low < high else [low]
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for value in sorted((factor * 10.0**power for power in powers for factor in (1, 2, 5)), reverse=True):
        apart = [abs(math.log(value / other)) for other in chosen]
        if low < value < high and min(apart) >= room * math.log(high / low):
            chosen.append(value)
    return chosen
