"""Which operator a search put where, from the first layer to the last."""

from __future__ import annotations

import altair as alt

from budbreak.reporting.figures.figure import Figure
from budbreak.reporting.figures.finding import Shown, finding_figures
from budbreak.reporting.figures.heat import Heat
from budbreak.results import RunResult


def operators(run: RunResult) -> list[Figure]:
    """Of the columns site, operator and value: how often it was chosen there."""
    caption = "From the first site on the left to the last on the right."
    return finding_figures(run, "operators", _chart, caption=caption, place="full")


def _chart(shown: Shown, width: float) -> alt.LayerSpec:
    return Heat(shown.name, shown.rows, shown.finding.quantity, "value", across="site", down="operator").draw(width)
