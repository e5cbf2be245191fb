"""Bars with intervals, a group per host."""

from __future__ import annotations

import altair as alt

from budbreak.reporting.figures.figure import Figure
from budbreak.reporting.figures.finding import Shown, finding_figures
from budbreak.reporting.figures.lines import arm_key
from budbreak.studies import RunResult


def hosts(run: RunResult) -> list[Figure]:
    """Of the columns host, arm, value, low and high (None without an interval)."""
    return finding_figures(run, "hosts", _chart, caption="Means over seeds with 95 % intervals.")


def _chart(shown: Shown, width: float) -> alt.LayerChart:
    groups, colour = list(dict.fromkeys(row["host"] for row in shown.rows)), shown.styles["color"]
    within = alt.YOffset("arm:N", sort=list(map(arm_key, shown.arms.values())))
    y = alt.Y("host:N", sort=groups, title=None, axis=alt.Axis(domain=True))
    x = alt.X("value:Q", title=shown.title("value"), scale=alt.Scale(zero=True), axis=alt.Axis(grid=True, format="~r"))
    bars = shown.base.mark_bar().encode(x=x, y=y, yOffset=within, color=colour)
    known = shown.base.transform_filter("isValid(datum.low)").mark_rule(color="var(--ink)", strokeWidth=1.2)
    tips = shown.tips("host", "value", *(["low", "high"] if any(row["low"] is not None for row in shown.rows) else []))
    ends = known.encode(x="low:Q", x2="high:Q", y=y, yOffset=within)
    return alt.LayerChart(
        layer=[bars.encode(tooltip=tips), ends], width=width - 90, height=len(groups) * (14 * len(shown.arms) + 8)
    )
