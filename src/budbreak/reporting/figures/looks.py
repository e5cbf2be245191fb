"""What all charts share: values and names as they are drawn, the styles of arms, headings, and what marks tell."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import altair as alt

from budbreak.diagnostics import Quantity
from budbreak.reporting import theme
from budbreak.reporting.wording import plain

SHOWN = "indexof(hidden, datum.arm) < 0"
"""Keeps the arms that the legend shows: every specification has the parameter ``hidden``."""


def arm_key(index: int) -> str:
    """What stands for an arm in rows."""
    return f"s{index}"


def column_of(quantity: Quantity) -> str:
    """What stands for a quantity in rows, where it may be called as another column is."""
    return f"of_{quantity.name}"


def safe(name: str) -> str:
    """A name in a chart, ended by a space: Vega looks texts up in objects that have a "constructor" from the start."""
    return f"{plain(name)} "


def drawn(quantity: Quantity, value: float | None) -> float | None:
    """A number as it is drawn, as exact as can be seen: shares in percent."""
    if value is None:
        return None
    return float(f"{100 * value:.3f}") if quantity.unit == "share" else float(f"{value:.5g}")


def near_zero(values: Sequence[float]) -> bool:
    """Whether an axis of values that are never negative is to begin at zero.

    >>> near_zero([0.1, 0.3]), near_zero([0.86, 0.92]), near_zero([-1.0, 1.0])
    (True, False, False)
    """
    return min(values) >= 0 and (2 * min(values) < max(values) or max(values) == 0)


def arm_labels(arms: Mapping[str, int]) -> str:
    """An expression that gives the name of an arm."""
    return f"{json.dumps({arm_key(place): safe(name) for name, place in arms.items()})}[datum.label]"


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
    base = alt.Chart(alt.InlineData(values=[{}])).mark_text(align="left", baseline="bottom", fontWeight=600)
    return base.encode(x=alt.XValue(0), y=alt.YValue(-above), text=alt.TextValue(safe(text)))


def telling(chart: alt.Chart, titles: Mapping[str, str]) -> alt.Chart:
    """The chart, whose marks tell a line for each of their columns that has a value, behind its title."""
    lines: list[str] = []
    for column, title in titles.items():
        value, start = f"datum[{column!r}]", json.dumps(f"{plain(title).strip()} ".lstrip())
        text = f"{start} + (isNumber({value}) ? format({value}, '.5~g') : {value}) + '\\n'"
        lines.append(f"(isValid({value}) ? {text} : '')")
    return chart.transform_calculate(tip=" + ".join(lines)).encode(tooltip=alt.Tooltip("tip:N"))
