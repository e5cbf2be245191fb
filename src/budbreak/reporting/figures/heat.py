"""A map of coloured tiles with their numbers where they fit: what layers and operators share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import altair as alt

from budbreak.diagnostics import Quantity
from budbreak.reporting import theme
from budbreak.reporting.figures.figure import Row
from budbreak.reporting.figures.looks import heading, telling
from budbreak.reporting.tables import MISSING
from budbreak.reporting.wording import named

_SCREEN = 560.0  # pixels that a map may be high
_TITLES = {"density": "\u03bb", "layer": ""}  # of columns, in what a tile tells
_LETTER = 5.8  # pixels of a digit or letter, roughly


@dataclass(frozen=True)
class Heat:
    """A quantity, a column of rows by their name, by two others: one across and one down, in the order of the rows."""

    name: str
    rows: Sequence[Row]
    quantity: Quantity
    column: str
    across: str
    down: str

    def draw(self, width: float, *, with_names: bool = True) -> alt.LayerSpec:
        """In a width; what goes down has names if ``with_names``, or else is that of the map to the left."""
        columns, lines = (list(dict.fromkeys(row[one] for row in self.rows)) for one in (self.across, self.down))
        room = names_room(lines, width)
        cell, height = min(64.0, (width - room) / len(columns)), min(17.0, _SCREEN / len(lines))
        names = alt.Axis(labelExpr="replace(datum.label, '.weight', '')", labelLimit=room, ticks=False)
        base = alt.Chart(alt.NamedData(self.name)).encode(
            x=alt.X(f"{self.across}:N", sort=columns, title=None, axis=_columns(columns, cell)),
            y=alt.Y(f"{self.down}:N", sort=lines, title=None, axis=names if with_names else None),
        )
        layers = self._tiles(base, numbered=cell >= 20 and height >= 11)
        return alt.LayerSpec(layer=layers, width=cell * len(columns), height=height * len(lines))

    def _tiles(self, base: alt.Chart, *, numbered: bool) -> list[alt.Chart]:
        value = f"datum[{self.column!r}]"
        scale, dark = self._colours()
        titles = {one: _TITLES.get(one, one) for one in (self.down, self.across)} | {self.column: named(self.quantity)}
        told = telling(base, titles)
        known, unknown = told.transform_filter(f"isValid({value})"), told.transform_filter(f"!isValid({value})")
        layers: list[alt.Chart] = [
            known.mark_rect().encode(color=alt.Color(f"{self.column}:Q", scale=scale, legend=None)),
            unknown.mark_rect(color="var(--grid)"),
        ]
        if numbered:
            letter = alt.condition(f"{value} > {dark}", alt.value("#ffffff"), alt.value("#1d2126"))
            short = alt.Text(f"{self.column}:Q", format=".2~r")
            layers.append(known.mark_text(fontSize=9).encode(text=short, color=letter))
            layers.append(unknown.mark_text(fontSize=9, color="var(--muted)").encode(text=alt.TextValue(MISSING)))
        across = "remaining weights (%)" if self.across == "density" else self.across
        return [*layers, heading(f"{named(self.quantity)}, by {across}", above=24)]

    def _colours(self) -> tuple[alt.Scale, float]:
        """The scale, and from where on it is dark; it spans a range at least, lest small changes look dramatic."""
        values = [row[self.column] for row in self.rows if row[self.column] is not None]
        if self.quantity.name == "kept":
            least = min([10.0, *(value for value in values if value > 0)])
            scale = alt.Scale(type="log", domain=[least, 100], range=list(theme.BLUES), clamp=True)
            return scale, 100 * (least / 100) ** 0.45
        most = max([20.0 if self.quantity.unit == "share" else 0.0, *values]) or 1.0
        return alt.Scale(domain=[0, most], range=list(theme.ORANGES)), 0.6 * most


def names_room(names: Iterable[str], width: float) -> float:
    """What the names of rows take beside a map."""
    return min(0.4 * width, 12 + _LETTER * max(len(name.strip().removesuffix(".weight")) for name in names))


def _columns(across: Sequence[str], cell: float) -> alt.Axis:
    """Densities as short numbers, and as many labels as there is room for."""
    shown = [f"{float(text[:-2]):.3g}"[:4] if text.endswith(" %") else text for text in across]
    every = math.ceil((_LETTER * max(map(len, shown)) + 4) / cell)
    number = "toNumber(replace(datum.label, ' %', ''))"
    short = f"isNaN({number}) ? datum.label : format({number}, '.2~r')"
    return alt.Axis(orient="top", values=list(across[::every]), labelExpr=short, ticks=False, domain=False)
