"""Activation functions as curves."""

from __future__ import annotations

import altair as alt

from budbreak.reporting.figures.figure import Figure
from budbreak.reporting.figures.finding import Shown, finding_figures
from budbreak.studies import RunResult


def activations(run: RunResult) -> list[Figure]:
    """Of the columns arm (the operator), input and value."""
    return finding_figures(run, "activations", _chart, caption="What each operator makes of its input.")


def _chart(shown: Shown, width: float) -> alt.LayerChart:
    x, y, styles = shown.x("input"), shown.y(), shown.styles
    line = shown.base.mark_line(strokeWidth=1.8)
    place = shown.base.mark_point(opacity=0, size=40)
    layers = [
        line.encode(x=x, y=y, color=styles["color"], strokeDash=styles["strokeDash"]),
        place.encode(x=x, y=y, color=styles["color"], tooltip=shown.tips("input", "value")),
    ]
    return alt.LayerChart(layer=layers, width=width - 62, height=min(260, 0.6 * width))
