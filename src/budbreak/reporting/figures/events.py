"""A training curve with what happened on the way."""

from __future__ import annotations

from typing import Any

import altair as alt

from budbreak.reporting.figures.figure import Figure
from budbreak.reporting.figures.finding import Shown, finding_figures
from budbreak.results import RunResult


def events(run: RunResult) -> list[Figure]:
    """Of the columns arm, epoch, value and event: its name, or None."""
    return finding_figures(run, "events", _chart, caption="Upright lines are events.", place="full")


def _chart(shown: Shown, width: float) -> alt.LayerSpec:
    x, y, styles = shown.x("epoch"), shown.y(), shown.styles
    happened = shown.base.transform_filter("isValid(datum.event)")
    names = happened.encode(x=x, y=alt.value("height"), text="event:N")
    way: dict[str, Any] = {"angle": 270, "align": "left", "baseline": "bottom", "dx": 4, "dy": -4}
    line = shown.base.mark_line(strokeWidth=1.6)
    places = shown.telling(shown.base.mark_point(opacity=0, size=50), "epoch", "value", "event")
    layers = [
        happened.mark_rule(strokeDash=[3, 3], color="var(--muted)").encode(x=x),
        line.encode(x=x, y=y, color=styles["color"], strokeDash=styles["strokeDash"]),
        places.encode(x=x, y=y),
        names.mark_text(**way, stroke="var(--paper)", strokeWidth=4),  # to be read across the line
        names.mark_text(**way, color="var(--muted)"),
    ]
    return shown.sheet(layers, width)
