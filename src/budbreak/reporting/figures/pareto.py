"""What networks cost and what they reach: latency, size, accuracy, and those that no other beats in all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import altair as alt

from budbreak.reporting.figures.figure import Figure, Row
from budbreak.reporting.figures.finding import Shown, finding_figures
from budbreak.reporting.figures.looks import near_zero
from budbreak.results import RunResult

_LETTER, _LINE = 6.4, 13.0  # pixels of a letter and of a line, roughly
_FEW = 10  # networks: the names of all of them are tried
_DOT = 9.0  # the radius of the largest

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""
Name = tuple[str, Box, Literal["left", "right"]]
"""Where it stands, and on which side it begins at its dot."""


def pareto(run: RunResult) -> list[Figure]:
    """Of the columns name, latency, size and value."""
    caption = "Large marks are large networks; those on the line are beaten in latency, size and accuracy by none. "
    return finding_figures(run, "pareto", _chart, caption=f"{caption}They are named where there is room.")


def front(rows: Sequence[Row], *, higher: bool = True) -> list[Row]:
    """The rows that no other beats: none is at least as good in all three and better in one."""
    sign = 1 if higher else -1

    def costs(row: Row) -> tuple[float, ...]:
        return (row["latency"], row["size"], -sign * row["value"])

    def beats(one: Row, other: Row) -> bool:
        pairs = list(zip(costs(one), costs(other), strict=True))
        return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)

    return [row for row in rows if not any(beats(other, row) for other in rows)]


def names(rows: Sequence[Row], best: Sequence[Row], size: tuple[float, float]) -> list[Name]:
    """The names of the best, or of all where they are few, in a plot of a size, on no dot and no other name.

    One that fits nowhere is left out. Rows have their places in pixels as x and y.
    """
    taken = [(row["x"] - _DOT, row["y"] - _DOT, row["x"] + _DOT, row["y"] + _DOT) for row in rows]
    found: list[Name] = []
    others = [row for row in rows if row not in best] if len(rows) <= _FEW else []
    for row in [*best, *others]:
        x, y, wide = row["x"], row["y"], _LETTER * len(row["name"])
        for left, top in ((x + _DOT, y + 2), (x - _DOT - wide, y - 2 - _LINE), (x + _DOT, y - 2 - _LINE)):
            box = (left, top, left + wide, top + _LINE)
            inside = left >= 0 and top >= 0 and box[2] <= size[0] and box[3] <= size[1]
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                found.append((row["name"], box, "left" if left > x else "right"))
                break
    return found


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _chart(shown: Shown, width: float) -> alt.LayerSpec:
    wide, high = width - 62, min(260, 0.6 * width)
    latencies, values = ([row[column] for row in shown.rows] for column in ("latency", "value"))
    first, last, top = min(latencies), max(latencies), max(values)
    low = 0.0 if near_zero(values) else min(values)
    rows = [
        {
            **row,
            "x": _DOT + (wide - 2 * _DOT) * (row["latency"] - first) / ((last - first) or 1),
            "y": _DOT + (high - 2 * _DOT) * (top - row["value"]) / ((top - low) or 1),
        }
        for row in shown.rows
    ]
    best = front(rows, higher=shown.finding.quantity.better != "lower")
    along = sorted(best, key=lambda row: row["latency"])
    base = alt.Chart(alt.NamedData(shown.name)).encode(
        x=shown.x("latency").scale(domain=[first, last], nice=False, zero=False, padding=_DOT),
        y=shown.y().scale(domain=[low, top], nice=False, zero=False, padding=_DOT),
    )
    size = alt.Size("size:Q", title=shown.title("size"), scale=alt.Scale(range=[30, 250]))
    dots = shown.telling(base.mark_circle(color="var(--s1)", opacity=0.75), "name", "latency", "size", "value")
    texts = alt.Chart(alt.InlineData(values=[{}]))
    layers = [
        base.properties(data=alt.InlineData(values=along)).mark_line(color="var(--s0)", strokeDash=[4, 3]),
        dots.encode(size=size),
        *(
            texts.mark_text(align=align, baseline="top").encode(
                x=alt.value(box[0] if align == "left" else box[2]), y=alt.value(box[1]), text=alt.value(name)
            )
            for name, box, align in names(rows, along, (wide, high))
        ),
    ]
    return alt.LayerSpec(layer=layers, width=wide, height=high)
