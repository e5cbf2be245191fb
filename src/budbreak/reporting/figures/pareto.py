"""What networks cost and what they reach: latency, size, accuracy, and those that no other beats in all."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from budbreak.reporting.figures.figure import Figure, Row
from budbreak.reporting.figures.finding import Shown, finding_figures
from budbreak.reporting.figures.looks import near_zero
from budbreak.studies import RunResult

_LETTER, _LINE = 6.4, 13.0  # pixels of a letter and of a line, roughly
_DOT = 9.0  # the radius of the largest

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


def pareto(run: RunResult) -> list[Figure]:
    """Of the columns name, latency, size and value."""
    caption = "Large marks are large networks; those on the line are beaten in latency, size and accuracy by none, "
    return finding_figures(run, "pareto", _chart, caption=f"{caption}and named where there is room.")


def front(rows: Sequence[Row], *, higher: bool = True) -> list[Row]:
    """The rows that no other beats: none is at least as good in all three and better in one."""
    sign = 1 if higher else -1

    def costs(row: Row) -> tuple[float, ...]:
        return (row["latency"], row["size"], -sign * row["value"])

    def beats(one: Row, other: Row) -> bool:
        pairs = list(zip(costs(one), costs(other), strict=True))
        return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)

    return [row for row in rows if not any(beats(other, row) for other in rows)]


def names(rows: Sequence[Row], best: Sequence[Row], ends: tuple[Box, Box]) -> list[Row]:
    """Where the names of the best stand: beside their dots, on no other dot or name; without those that fit nowhere.

    ``ends`` are those of the axes, and of the plot in pixels.
    """
    axes, plot = ends

    def pixel(row: Row) -> tuple[float, float]:
        across = (row["latency"] - axes[0]) / ((axes[2] - axes[0]) or 1)
        down = (row["value"] - axes[1]) / ((axes[3] - axes[1]) or -1)
        return plot[0] + across * (plot[2] - plot[0]), plot[1] + down * (plot[3] - plot[1])

    taken = [(x - _DOT, y - _DOT, x + _DOT, y + _DOT) for x, y in map(pixel, rows)]
    found: list[Row] = []
    for row in best:
        (x, y), wide = pixel(row), _LETTER * len(row["name"])
        for left, top in ((x + _DOT, y + 2), (x - _DOT - wide, y - 2 - _LINE), (x + _DOT, y - 2 - _LINE)):
            box = (left, top, left + wide, top + _LINE)
            if plot[0] <= left and box[2] <= plot[2] and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                found.append({"name": row["name"], "x": left, "y": top})
                break
    return found


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _chart(shown: Shown, width: float) -> alt.LayerChart:
    wide, high, margin = width - 62, min(260, 0.6 * width), _DOT + 3
    best = front(shown.rows, higher=shown.finding.quantity.better != "lower")
    along = sorted(best, key=lambda row: row["latency"])
    latencies, values = ([row[column] for row in shown.rows] for column in ("latency", "value"))
    low = 0.0 if near_zero(values) else min(values)
    x, y = shown.x("latency"), shown.y()
    x.scale = alt.Scale(domain=[min(latencies), max(latencies)], nice=False, zero=False, padding=margin)
    y.scale = alt.Scale(domain=[low, max(values)], nice=False, zero=False, padding=margin)
    axes = (min(latencies), max(values), max(latencies), low)
    size = alt.Size("size:Q", title=shown.title("size"), scale=alt.Scale(range=[30, 250]))
    dots = alt.Chart(alt.NamedData(shown.name)).mark_circle(color="var(--s1)", opacity=0.75)
    placed = names(shown.rows, along, (axes, (margin, margin, wide - margin, high - margin)))
    layers: list[alt.Chart] = [
        alt.Chart(alt.InlineData(values=along)).mark_line(color="var(--s0)", strokeDash=[4, 3]).encode(x=x, y=y),
        shown.telling(dots, "name", "latency", "size", "value").encode(x=x, y=y, size=size),
        *(
            alt.Chart(alt.InlineData(values=[{}]))
            .mark_text(align="left", baseline="top")
            .encode(x=alt.value(one["x"]), y=alt.value(one["y"]), text=alt.value(one["name"]))
            for one in placed
        ),
    ]
    return alt.LayerChart(layer=layers, width=wide, height=high)
