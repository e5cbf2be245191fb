"""Activation functions as curves."""

from __future__ import annotations

import altair as alt

from budbreak.reporting.figures.figure import Figure
from budbreak.reporting.figures.finding import Shown, finding_figures
from budbreak.results import RunResult


def activations(run: RunResult) -> list[Figure]:
    """Of the columns arm (the operator), input and value."""
    return finding_figures(run, "activations", _chart, caption="What each operator makes of its input.")


def _chart(shown: Shown, width: float) -> alt.LayerSpec:
    base = shown.base.encode(x=shown.x("input"), y=shown.y(), color=shown.styles["color"])
    line = base.mark_line(strokeWidth=1.8).encode(strokeDash=shown.styles["strokeDash"])
    return shown.sheet([line, shown.telling(base.mark_point(opacity=0, size=40), "input", "value")], width)
