"""Layers against densities: which weights stay, and what diagnostics measured of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from budbreak.diagnostics import Quantity
from budbreak.reporting.axes import short_density
from budbreak.reporting.canvas import WIDER, Drawing, Group, Rect, Shape, Text, shorten, text_width
from budbreak.reporting.estimate import groups
from budbreak.reporting.figure import FULL, MISSING, NARROW, Figure, Table
from budbreak.reporting.styles import BLUES, ORANGES, log_share, on, shade
from budbreak.reporting.wording import capital, density, number, percent, short
from budbreak.studies import LayerResult, RunResult

_HEIGHT = 17.0  # of a row
_TOP, _BOTTOM, _GAP = 44.0, 26.0, 14.0
KEPT = Quantity("kept", "kept weights", "share")


@dataclass(frozen=True)
class Cell:
    """A layer at a density, means over seeds: quantity name -> number; without those that have no answer there."""

    numbers: dict[str, float]


@dataclass(frozen=True)
class Grid:
    """The cells of an arm: ``cells[layer][place]``, one place per density; None where nothing was recorded."""

    arm: str
    densities: tuple[float, ...]
    layers: tuple[str, ...]
    cells: tuple[tuple[Cell | None, ...], ...]

    def values(self, name: str) -> list[float]:
        """All numbers of a quantity."""
        return [cell.numbers[name] for row in self.cells for cell in row if cell and name in cell.numbers]


def heat_figures(run: RunResult) -> list[Figure]:
    """Kept weights and what was measured of each layer, by density; one figure per arm."""
    measured = {name for level in run.levels for layer in level.layers for name in layer.numbers}
    shown = [group[0] for group in groups(quantity for quantity in run.quantities if quantity.name in measured)]
    grids = [(index, grid(run, arm)) for index, arm in enumerate(run.arm_names)]
    return [_figure(index, found, [KEPT, *shown]) for index, found in grids if found]


def _figure(index: int, found: Grid, quantities: Sequence[Quantity]) -> Figure:
    wide = heat_drawing(found, quantities, FULL, columns=min(2, len(quantities)))
    explained = [f" {capital(quantity.label)}: {quantity.about}" for quantity in quantities if quantity.about]
    return Figure(
        f"layers-{index}",
        found.arm,
        f"Means over seeds; \u2013: no answer for this layer.{''.join(explained)}",
        wide,
        heat_drawing(found, quantities, NARROW, columns=1),
        wide,
        _table(found, quantities),
    )


def _table(found: Grid, quantities: Sequence[Quantity]) -> Table:
    def text(cell: Cell | None) -> str:
        numbers = cell.numbers if cell else {}
        return " / ".join(number(q, numbers[q.name]) if q.name in numbers else MISSING for q in quantities)

    header = (" / ".join(quantity.label for quantity in quantities), *map(density, found.densities))
    return Table(
        header, tuple((name, *map(text, cells)) for name, cells in zip(found.layers, found.cells, strict=True))
    )


def grid(run: RunResult, arm: str) -> Grid | None:
    """The heat map of an arm; None if it has no layers."""
    rows = [row for row in run.levels if row.arm == arm]
    levels = {row.level: row.density for row in sorted(rows, key=lambda row: row.level)}
    names = tuple(dict.fromkeys(layer.name for row in rows for layer in row.layers))
    found: dict[tuple[str, int], list[LayerResult]] = {}
    for row in rows:
        for layer in row.layers:
            found.setdefault((layer.name, row.level), []).append(layer)
    cells = tuple(tuple(_cell(found.get((name, level), ())) for level in levels) for name in names)
    return Grid(arm, tuple(levels.values()), names, cells) if names else None


def _cell(layers: Sequence[LayerResult]) -> Cell | None:
    if not layers:
        return None
    means = {KEPT.name: _mean(layer.kept / layer.total for layer in layers)}
    for name in dict.fromkeys(name for layer in layers for name in layer.numbers):
        values = [layer.numbers[name] for layer in layers if math.isfinite(layer.numbers.get(name, math.nan))]
        if values:
            means[name] = _mean(values)
    return Cell(means)


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return math.fsum(found) / len(found)


@dataclass(frozen=True)
class _Map:
    """One quantity of a grid, with its colours."""

    quantity: Quantity
    heading: str
    colour: Callable[[float], str]

    def value(self, cell: Cell | None) -> float | None:
        return cell.numbers.get(self.quantity.name) if cell else None

    def tip(self, cell: Cell | None) -> str:
        value = self.value(cell)
        if cell is None:
            return "not recorded"
        if value is None:
            return f"{self.quantity.label}: no answer for this layer"
        return f"{self.quantity.label} {number(self.quantity, value)}"

    def text(self, value: float) -> str:
        """As short as fits a tile."""
        if self.quantity.unit != "share":
            return short(value, 2)
        return f"{100 * value:.1f}" if 0 < value < 0.0995 else f"{100 * value:.0f}"


def _map(found: Grid, quantity: Quantity) -> _Map:
    values = found.values(quantity.name)
    if quantity == KEPT:
        # The scales of shares span a range at least, so that runs which changed little do not look dramatic.
        least = min([0.1, *(value for value in values if value > 0)])
        return _Map(quantity, "kept weights (%, log colours)", lambda value: shade(BLUES, log_share(value, least)))
    share = quantity.unit == "share"
    most = max([0.2 if share else 0.0, *values]) or 1.0
    return _Map(quantity, f"{quantity.label}{' (%)' if share else ''}", lambda value: shade(ORANGES, value / most))


def heat_drawing(found: Grid, quantities: Sequence[Quantity], width: float, *, columns: int) -> Drawing:
    """A map for each quantity, in rows of ``columns``."""
    names = [name.removesuffix(".weight") for name in found.layers]
    label = min(0.32 * width, 10 + WIDER * max(text_width(name) for name in names))
    room = (width - label - _GAP * (columns - 1)) / columns - 2
    height = _TOP + _HEIGHT * len(names) + _BOTTOM
    shapes: list[Shape] = []
    for place, quantity in enumerate(quantities):
        left, top = label + (place % columns) * (room + _GAP), (place // columns) * (height + 4) + _TOP
        shapes += _tiles(found, _map(found, quantity), (left, top), room / max(1, len(found.densities)))
        if place % columns == 0:
            shapes += [
                Text(label - 6, top + _HEIGHT * row + 12, shorten(name, label - 8), "end")
                for row, name in enumerate(names)
            ]
    rows = -(-len(quantities) // columns)
    title = f"{found.arm}: {', '.join(quantity.label for quantity in quantities)} by layer and density"
    return Drawing(width, (height + 4) * rows, title, _description(found, quantities), tuple(shapes))


def _tiles(found: Grid, shown: _Map, corner: tuple[float, float], cell_width: float) -> list[Shape]:
    left, top = corner
    shapes: list[Shape] = [Text(left, top - 28, shown.heading, size=12, bold=True)]
    heads = [short_density(value if value < 0.0995 else round(value, 2)) for value in found.densities]
    every = max(1, math.ceil((max(text_width(head, 10) for head in heads) + 2) / cell_width))
    for column, head in enumerate(heads):
        if column % every == 0:
            x = left + cell_width * (column + 0.5)
            shapes.append(Text(x, top - 8, head, "middle", 10, "muted"))
    for row, cells in enumerate(found.cells):
        for column, cell in enumerate(cells):
            x, y = left + cell_width * column, top + _HEIGHT * row
            title = f"{found.layers[row]}\n{found.arm}, \u03bb = {density(found.densities[column])}"
            shapes.append(Group(_square(cell, shown, (x, y), cell_width), tip=f"{title}\n{shown.tip(cell)}"))
    bottom = top + _HEIGHT * len(found.cells) + 14
    return [*shapes, Text(left, bottom, "columns: remaining weights (%)", size=10, colour="muted")]


def _square(cell: Cell | None, shown: _Map, corner: tuple[float, float], width: float) -> tuple[Shape, ...]:
    (x, y), value = corner, shown.value(cell)
    if value is None:
        return (
            Rect(x + 0.5, y + 0.5, width - 1, _HEIGHT - 1, "grid"),
            Text(x + width / 2, y + 12, MISSING, "middle", 9, "muted"),
        )
    colour = shown.colour(value)
    # Tiles touch but for half a pixel of paper; numbers only where they fit.
    tile = Rect(x + 0.25, y + 0.25, width - 0.5, _HEIGHT - 0.5, colour)
    text = shown.text(value)
    if text_width(text, 9) + 3 > width:
        return (tile,)
    return (tile, Text(x + width / 2, y + 12, text, "middle", 9, on(colour)))


def _description(found: Grid, quantities: Sequence[Quantity]) -> str:
    lines = [
        f"{name}: {_cell_in_words(cells[-1], quantities)}"
        for name, cells in zip(found.layers, found.cells, strict=True)
        if cells[-1]
    ]
    return f"At \u03bb = {density(found.densities[-1])}: {'; '.join(lines)}."


def _cell_in_words(cell: Cell | None, quantities: Sequence[Quantity]) -> str:
    numbers = cell.numbers if cell else {}
    words = [
        f"{number(quantity, numbers[quantity.name])} {quantity.label}"
        for quantity in quantities[1:]
        if quantity.name in numbers
    ]
    return ", ".join([f"{percent(numbers[KEPT.name], 1)} kept", *words])
