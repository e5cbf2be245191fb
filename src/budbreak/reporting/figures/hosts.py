"""Bars with intervals, a group per host."""

from __future__ import annotations

import altair as alt

from budbreak.reporting.figures.figure import Figure
from budbreak.reporting.figures.finding import Shown, finding_figures
from budbreak.reporting.figures.looks import arm_key
from budbreak.results import RunResult


def hosts(run: RunResult) -> list[Figure]:
    """Of the columns host, arm, value, low and high (None without an interval)."""
    return finding_figures(run, "hosts", _chart, caption="Means over seeds with 95 % intervals.")


def _chart(shown: Shown, width: float) -> alt.LayerSpec:
    groups = shown.different("host")
    base = shown.base.encode(
        y=alt.Y("host:N", sort=groups, title=None, axis=alt.Axis(domain=True)),
        yOffset=alt.YOffset("arm:N", sort=list(map(arm_key, shown.arms.values()))),
    )
    x = alt.X("value:Q", title=shown.title("value"), scale=alt.Scale(zero=True), axis=alt.Axis(grid=True, format="~r"))
    bars = shown.telling(base.mark_bar(), "host", "value", "low", "high").encode(x=x, color=shown.styles["color"])
    known = base.transform_filter("isValid(datum.low)").mark_rule(color="var(--ink)", strokeWidth=1.2)
    height = len(groups) * (14 * len(shown.arms) + 8)
    return alt.LayerSpec(layer=[bars, known.encode(x="low:Q", x2="high:Q")], width=width - 90, height=height)
