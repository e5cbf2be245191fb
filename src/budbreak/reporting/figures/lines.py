"""Lines with intervals against density: what accuracy, differences, diagnostics and runs compared share."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import altair as alt

from budbreak.reporting import theme
from budbreak.reporting.estimate import Axis, Point, Series
from budbreak.reporting.figures.figure import SHOWN, Row
from budbreak.reporting.figures.measure import Measure, where
from budbreak.reporting.tables import Table, table_of
from budbreak.reporting.wording import UNITS, interval, number, plain, with_unit


def arm_key(index: int) -> str:
    """What stands for an arm in rows: no name that a browser could take for its own."""
    return f"s{index}"


def arm_labels(arms: Mapping[str, int]) -> str:
    """An expression that gives the name of an arm."""
    return f"{json.dumps({arm_key(place): plain(name) for name, place in arms.items()})}[datum.label]"


def arm_styles(arms: Mapping[str, int]) -> dict[str, Any]:
    """Colour, dash and, for points, the marker of each arm."""
    legend = alt.Legend(title=None, labelExpr=arm_labels(arms))

    def scale(look: Callable[[int], Any]) -> alt.Scale:
        return alt.Scale(domain=list(map(arm_key, arms.values())), range=list(map(look, arms.values())))

    return {
        "color": alt.Color("arm:N", scale=scale(theme.colour), legend=legend),
        "strokeDash": alt.StrokeDash("arm:N", scale=scale(theme.dash), legend=legend),
        "shape": alt.Shape("arm:N", scale=scale(theme.marker), legend=legend),
    }


def heading(text: str, above: float = 10) -> alt.Chart:
    """A title above a plot, at the same height whatever the labels of its axes."""
    place: dict[str, Any] = {"x": alt.value(0), "y": alt.value(-above), "text": alt.value(text)}
    style: dict[str, Any] = {"align": "left", "baseline": "bottom", "fontWeight": 600}
    return alt.Chart(alt.InlineData(values=[{}])).mark_text(**style).encode(**place)


def arms_of(series: Sequence[Series]) -> dict[str, int]:
    """What the legend of these series lists."""
    return {line.label: line.index for line in series}


def line_rows(series: Sequence[Series], measure: Measure, *, seeds: bool = True) -> list[Row]:
    """One row per mean; neighbouring series stand a little apart, so that their intervals can be seen."""
    every = _places(series)
    rows: list[Row] = []
    for place, line in enumerate(series):
        share = (place - (len(series) - 1) / 2) * min(0.008, 0.03 / len(series))
        for point in line.points:
            own = {"arm": arm_key(line.index), "x": _apart(line.axis, point.x, share, every)}
            rows.append({**own, **measure.drawn(point, seeds=seeds), "tip": measure.tip(line, point)})
    return rows


def _places(series: Sequence[Series]) -> list[float]:
    return [_shown(line.axis, point.x) for line in series for point in line.points]


def _shown(axis: Axis, x: float) -> float:
    return 100 * x if axis.unit == "share" else x


def _apart(axis: Axis, x: float, share: float, every: Sequence[float]) -> float:
    """A place moved to the right by a share of the axis."""
    low, high, way = min(every), max(every), -share if axis.falling else share
    moved = _shown(axis, x) * (high / low) ** way if axis.log else _shown(axis, x) + way * (high - low)
    return float(f"{moved:.4g}")


def line_chart(
    name: str, series: Sequence[Series], measure: Measure, size: tuple[float, float], *, titled: bool = False
) -> alt.LayerChart:
    """Means joined by lines, their 95 % intervals, and single seeds as small dots; the title may replace the label."""
    styles = arm_styles(arms_of(series))
    colour = styles["color"]
    base = alt.Chart(alt.NamedData(name)).transform_filter(SHOWN)
    x, y = (
        x_axis(series, size[0]),
        alt.Y("y:Q", title=None if titled else measure.label, **measure.axis(_extent(series), size[1])),
    )
    layers: list[alt.Chart] = [alt.Chart(alt.NamedData(name)).mark_rule(color="var(--ink)").encode(y=alt.datum(0))]
    if any(len(point.values) > 1 for line in series for point in line.points):
        dots = base.transform_filter("isValid(datum.seeds)").transform_flatten(["seeds"])
        layers.append(dots.mark_circle(size=10, opacity=0.45).encode(x=x, y="seeds:Q", color=colour))
    layers.append(base.mark_line(strokeWidth=1.6).encode(x=x, y=y, color=colour, strokeDash=styles["strokeDash"]))
    if any(point.estimate.low is not None for line in series for point in line.points):
        known = base.transform_filter("isValid(datum.low)")
        layers.append(known.mark_rule(strokeWidth=1.1).encode(x=x, color=colour, y=alt.Y("low:Q"), y2="high:Q"))
        caps = known.mark_tick(size=5, thickness=1.1, orient="horizontal")
        layers += [caps.encode(x=x, y=end, color=colour) for end in ("low:Q", "high:Q")]
    tip = alt.Tooltip("tip:N")
    points = base.mark_point(filled=True, size=44, opacity=1)
    layers.append(points.encode(x=x, y=y, color=colour, shape=styles["shape"], tooltip=tip))
    shown = layers if measure.differences else layers[1:]
    named = [heading(measure.label)] if titled else []
    return alt.LayerChart(layer=[*shown, *named], width=size[0], height=size[1])


def _extent(series: Sequence[Series]) -> list[float]:
    found = [point.estimate for line in series for point in line.points]
    return [value for one in found for value in (one.low, one.mean, one.high) if value is not None]


def x_axis(series: Sequence[Series], width: float) -> alt.X:
    """Logarithmic where equal ratios are equal steps, as in prunings; density falls to the right."""
    axis, every = series[0].axis, _places(series)
    low, high = min(every), max(every)
    domain = (0.9 * low, 1.1 * high) if low == high else (low, high)
    scale = alt.Scale(type="log" if axis.log else "linear", domain=domain, reverse=axis.falling, nice=False, padding=12)
    unit = ", ".join(word for word in (UNITS.get(axis.unit), "log scale" if axis.log else "") if word)
    title = f"{axis.label} ({unit})" if unit else axis.label
    ticks: dict[str, Any] = {"values": log_ticks(low, high, 26 / width)} if axis.log else {"tickCount": int(width / 60)}
    return alt.X("x:Q", title=title, scale=scale, axis=alt.Axis(**ticks, format=".2~r" if axis.log else "~g"))


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


def line_table(lines: Sequence[tuple[str, Series, Measure]]) -> Table:
    """A row per place, a column per named series."""
    return table_of([(name, line, measure.written) for name, line, measure in lines])


def line_words(series: Sequence[Series], measure: Measure) -> str:
    """A sentence per series: where it begins and ends."""
    return " ".join(
        f"{line.label}: {', '.join(_in_words(measure, line, point) for point in (line.points[0], line.points[-1]))}."
        for line in series
    )


def _in_words(measure: Measure, line: Series, point: Point) -> str:
    value = interval(measure.quantity, point.estimate) if measure.differences else ""
    words = with_unit(value, measure.quantity) if value else number(measure.quantity, point.estimate.mean)
    return f"{words} at {where(line.axis, point.x)}"
