"""Singular values of matrices before and after, one small plot per matrix."""

from __future__ import annotations

import altair as alt

from budbreak.reporting.figures.figure import Figure
from budbreak.reporting.figures.finding import Shown, finding_figures
from budbreak.results import RunResult


def spectra(run: RunResult) -> list[Figure]:
    """Of the columns arm (before, after), layer, rank and value; on a logarithmic scale, without zeros."""
    caption = "Singular values in falling order, on a logarithmic scale."
    return finding_figures(run, "spectra", _chart, caption=caption, place="full")


def small_plots(shown: Shown, width: float, y: alt.Y, *told: str, where: str = "true") -> alt.FacetSpec:
    """Values by rank, one small plot for each layer, of the rows where something holds; points tell more columns."""
    layers, styles = shown.different("layer"), shown.styles
    columns = min(len(layers), max(2, int(width / 220)))
    base = shown.base.properties(data=alt.Undefined).transform_filter(where)
    base = base.encode(x=shown.x("rank"), y=y, color=styles["color"])
    line = base.mark_line(strokeWidth=1.5).encode(strokeDash=styles["strokeDash"])
    dots = shown.telling(base.mark_point(filled=True, size=14), "layer", "rank", "value", *told)
    both = alt.LayerSpec(layer=[line, dots], width=(width - 60) / columns - 16, height=120)
    head = alt.Facet("layer:N", sort=layers, title=shown.title("value"))
    return alt.FacetSpec(facet=head, spec=both, data=alt.NamedData(shown.name), columns=columns, spacing=16)


def _chart(shown: Shown, width: float) -> alt.FacetSpec:
    y = alt.Y("value:Q", title=None, scale=alt.Scale(type="log"), axis=alt.Axis(tickCount=4, format=".1~g"))
    return small_plots(shown, width, y, where="datum.value > 0")
