"""The history of a search: every trial, and the best so far."""

from __future__ import annotations

import altair as alt

from budbreak.reporting.figures.figure import Figure
from budbreak.reporting.figures.finding import Shown, finding_figures
from budbreak.results import RunResult


def search(run: RunResult) -> list[Figure]:
    """Of the columns arm, trial and value."""
    return finding_figures(run, "search", _chart, caption="Dots are trials, lines the best so far.")


def _chart(shown: Shown, width: float) -> alt.LayerSpec:
    styles, best = shown.styles, "min" if shown.finding.quantity.better == "lower" else "max"
    base = shown.base.encode(x=shown.x("trial"), color=styles["color"])
    running = base.transform_window(
        [{"op": best, "field": "value", "as": "best"}],  # pyright: ignore[reportArgumentType]
        sort=[alt.SortField("trial")],
        groupby=["arm"],
        frame=[None, 0],
    )
    line = running.mark_line(strokeWidth=1.8, interpolate="step-after")
    dots = shown.telling(base.mark_point(filled=True, size=26, opacity=0.5), "trial", "value")
    layers = [
        line.encode(y="best:Q", strokeDash=styles["strokeDash"]),
        dots.encode(y=shown.y(), shape=styles["shape"]),
    ]
    return shown.sheet(layers, width)
