"""Masks as black and white maps: which weights of a matrix stay."""

from __future__ import annotations

import altair as alt

from budbreak.reporting import theme
from budbreak.reporting.figures.figure import Figure
from budbreak.reporting.figures.finding import Shown, finding_figures
from budbreak.results import RunResult


def masks(run: RunResult) -> list[Figure]:
    """Of the columns layer, row, column and value (1 where a weight stays), one small map per layer."""
    return finding_figures(run, "masks", _chart, caption="Dark weights stay, pale ones are removed.", place="full")


def _chart(shown: Shown, width: float) -> alt.FacetChart:
    layers = shown.different("layer")
    columns = min(len(layers), max(2, int(width / 220)))
    side = width / columns - 20
    colours = alt.Scale(domain=[0, 1], range=["var(--grid)", theme.BLUES[5]])
    tiles = alt.Chart(alt.NamedData(shown.name), width=side, height=side).mark_rect()
    tiles = shown.telling(tiles, "layer", "row", "column", "value").encode(
        x=alt.X("column:O", axis=None),
        y=alt.Y("row:O", axis=None),
        color=alt.Color("value:O", scale=colours, legend=None),
    )
    facets = tiles.facet(facet=alt.Facet("layer:N", sort=layers, title=None), columns=columns, spacing=16)
    return facets.resolve_scale(x="independent", y="independent")
