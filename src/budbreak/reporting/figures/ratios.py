"""How each pruning changed singular values, one by one: a small plot per matrix."""

from __future__ import annotations

import altair as alt

from budbreak.reporting.figures.figure import Figure
from budbreak.reporting.figures.finding import Shown, finding_figures
from budbreak.reporting.figures.spectra import small_plots
from budbreak.results import RunResult


def ratios(run: RunResult) -> list[Figure]:
    """Of the columns arm (the pruning), layer, rank, value and remaining: how many singular values are left."""
    caption = (
        "i-th largest singular value after a pruning against the i-th before it; those that are gone are left out."
    )
    return finding_figures(run, "ratios", _chart, caption=caption, place="full")


def _chart(shown: Shown, width: float) -> alt.FacetSpec:
    y = alt.Y("value:Q", title=None, axis=alt.Axis(tickCount=4, format="~r"))
    return small_plots(shown, width, y, "remaining")
