"""A map of coloured tiles with their numbers where they fit: what layers and masks share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import altair as alt

from budbreak.diagnostics import Quantity
from budbreak.reporting import theme
from budbreak.reporting.figures.figure import Row
from budbreak.reporting.figures.lines import heading
from budbreak.reporting.figures.measure import Measure
from budbreak.reporting.tables import MISSING

_SCREEN = 560.0  # pixels that a map may be high
_NAMES = {"density": "\u03bb", "layer": " "}  # of fields in a tip
_LETTER = 5.8  # pixels of a digit or letter, roughly


def heat_chart(
    name: str,
    rows: Sequence[Row],
    quantity: Quantity,
    fields: tuple[str, str],
    width: float,
    *,
    numbered: bool = True,
    column: str = "",
) -> alt.LayerChart:
    """One quantity by a column field and a row field, in the order of the rows; rows are named if ``numbered``."""
    across, down = (list(dict.fromkeys(row[field] for row in rows)) for field in fields)
    label = names_room(down, width)
    cell, height = min(64.0, (width - label) / len(across)), min(17.0, _SCREEN / len(down))
    column = column or quantity.name
    value = f"datum[{column!r}]"
    base = alt.Chart(alt.NamedData(name)).encode(
        x=alt.X(f"{fields[0]}:N", sort=across, title=None, axis=_columns(across, cell)),
        y=alt.Y(f"{fields[1]}:N", sort=down, title=None, axis=_names(label) if numbered else None),
        tooltip=[
            *(alt.Tooltip(f"{field}:N", title=_NAMES.get(field, field)) for field in reversed(fields)),
            _tip(quantity, column),
        ],
    )
    known, unknown = base.transform_filter(f"isValid({value})"), base.transform_filter(f"!isValid({value})")
    scale, dark = _colours(quantity, [row[column] for row in rows if row[column] is not None])
    layers: list[alt.Chart] = [
        known.mark_rect().encode(color=alt.Color(f"{column}:Q", scale=scale, legend=None)),
        unknown.mark_rect(color="var(--grid)"),
    ]
    if cell >= 20 and height >= 11:
        letter = alt.condition(f"{value} > {dark}", alt.value("#ffffff"), alt.value("#1d2126"))
        short = alt.Text(f"{column}:Q", format=".2~r")
        layers.append(known.mark_text(fontSize=9).encode(text=short, color=letter))
        layers.append(unknown.mark_text(fontSize=9, color="var(--muted)").encode(text=alt.value(MISSING)))
    layers.append(heading(_title(quantity, fields[0]), above=24))
    return alt.LayerChart(layer=layers, width=cell * len(across), height=height * len(down))


def names_room(names: Iterable[str], width: float) -> float:
    """What the names of rows take beside a map."""
    return min(0.4 * width, 12 + _LETTER * max(len(name.removesuffix(".weight")) for name in names))


def _tip(quantity: Quantity, column: str) -> alt.Tooltip:
    return alt.Tooltip(f"{column}:Q", title=Measure(quantity).label, format=".4~g")


def _title(quantity: Quantity, field: str) -> str:
    across = "remaining weights (%)" if field == "density" else field
    return f"{Measure(quantity).label}, by {across}"


def _columns(across: Sequence[str], cell: float) -> alt.Axis:
    every = math.ceil((_LETTER * max(len(_short(text)) for text in across) + 4) / cell)
    number = "replace(datum.label, ' %', '')"
    short = f"isNaN(toNumber({number})) ? datum.label : format(toNumber({number}), '.2~r')"
    return alt.Axis(orient="top", values=list(across[::every]), labelExpr=short, ticks=False, domain=False)


def _short(text: str) -> str:
    """A density as the axis shows it."""
    return f"{float(text[:-2]):.3g}"[:4] if text.endswith(" %") else text


def _names(room: float) -> alt.Axis:
    return alt.Axis(labelExpr="replace(datum.label, '.weight', '')", labelLimit=room, ticks=False)


def _colours(quantity: Quantity, values: Sequence[float]) -> tuple[alt.Scale, float]:
    """The scale, and from which value on it is dark; it spans a range at least, lest small changes look dramatic."""
    if quantity.name == "kept":
        least = min([10.0, *(value for value in values if value > 0)])
        scale = alt.Scale(type="log", domain=[least, 100], range=list(theme.BLUES), clamp=True)
        return scale, 100 * (least / 100) ** 0.45
    most = max([20.0 if quantity.unit == "share" else 0.0, *values]) or 1.0
    return alt.Scale(domain=[0, most], range=list(theme.ORANGES)), 0.6 * most
