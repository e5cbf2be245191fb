"""What networks cost and what they reach: latency, size, accuracy, and those that no other beats in all."""

from __future__ import annotations

import altair as alt

from budbreak.reporting.figures.figure import Figure, Row
from budbreak.reporting.figures.finding import Shown, finding_figures
from budbreak.studies import RunResult


def pareto(run: RunResult) -> list[Figure]:
    """Of the columns name, latency, size and value."""
    caption = "Large marks are large networks; the named ones are beaten in latency, size and accuracy by none."
    return finding_figures(run, "pareto", _chart, caption=caption)


def front(rows: list[Row], *, higher: bool = True) -> list[Row]:
    """The rows that no other beats: none is at least as good in all three and better in one."""
    sign = 1 if higher else -1

    def costs(row: Row) -> tuple[float, ...]:
        return (row["latency"], row["size"], -sign * row["value"])

    def beats(one: Row, other: Row) -> bool:
        pairs = list(zip(costs(one), costs(other), strict=True))
        return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)

    return [row for row in rows if not any(beats(other, row) for other in rows)]


def _chart(shown: Shown, width: float) -> alt.LayerChart:
    best = front(list(shown.rows), higher=shown.finding.quantity.better != "lower")
    x, y = shown.x("latency"), shown.y()
    size = alt.Size("size:Q", title=shown.title("size"), scale=alt.Scale(range=[30, 300]))
    dots = alt.Chart(alt.NamedData(shown.name)).mark_circle(color="var(--s1)", opacity=0.75)
    along = sorted(best, key=lambda row: row["latency"])
    named = [{**row, "odd": place % 2} for place, row in enumerate(along)]
    unbeaten = alt.Chart(alt.InlineData(values=named))
    above = unbeaten.transform_filter("!datum.odd").mark_text(align="right", baseline="bottom", dx=-6, dy=-5)
    below = unbeaten.transform_filter("datum.odd").mark_text(align="left", baseline="top", dx=6, dy=6)
    layers = [
        unbeaten.mark_line(color="var(--s0)", strokeDash=[4, 3]).encode(x=x, y=y),
        dots.encode(x=x, y=y, size=size, tooltip=shown.tips("name", "latency", "size", "value")),
        *(texts.encode(x=x, y=y, text="name:N") for texts in (above, below)),
    ]
    return alt.LayerChart(layer=layers, width=width - 62, height=min(260, 0.6 * width))
