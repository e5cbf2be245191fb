"""Layers against densities: which weights stay, and which units are dead."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from budbreak.report.axes import short_density
from budbreak.report.canvas import Drawing, Group, Rect, Shape, Text, shorten, text_width
from budbreak.report.looks import BLUES, ORANGES, log_share, on, shade
from budbreak.report.wording import density, percent
from budbreak.studies import LayerResult, RunResult

_HEIGHT = 17.0  # of a row
_TOP = 44.0


@dataclass(frozen=True)
class Cell:
    """A layer at a density, means over seeds; dead is None where no nonlinearity follows the layer."""

    kept: float
    static: float
    dynamic: float | None

    @property
    def dead(self) -> float | None:
        """Static and dynamic dead units together."""
        return None if self.dynamic is None else self.static + self.dynamic


@dataclass(frozen=True)
class Grid:
    """The cells of an arm: ``cells[layer][place]``, one place per density; None where nothing was recorded."""

    arm: str
    densities: tuple[float, ...]
    layers: tuple[str, ...]
    cells: tuple[tuple[Cell | None, ...], ...]


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
    dynamic = [layer.dynamic for layer in layers if layer.dynamic is not None and math.isfinite(layer.dynamic)]
    return Cell(
        math.fsum(layer.kept / layer.total for layer in layers) / len(layers),
        math.fsum(layer.static_units / layer.units for layer in layers) / len(layers),
        math.fsum(dynamic) / len(dynamic) if dynamic else None,
    )


@dataclass(frozen=True)
class _Half:
    heading: str
    value: Callable[[Cell], float | None]
    colour: Callable[[float], str]
    tip: Callable[[Cell], str]


def heat_drawing(found: Grid, width: float, *, stacked: bool) -> Drawing:
    """Kept weights and dead units, side by side, or one above the other where it is narrow."""
    names = [name.removesuffix(".weight") for name in found.layers]
    label = min(0.32 * width, 10 + max(text_width(name) for name in names))
    halves = _halves(found)
    columns = 1 if stacked else 2
    gap = 14.0
    room = (width - label - gap * (columns - 1)) / columns - 2
    shapes: list[Shape] = []
    height = _TOP + _HEIGHT * len(names) + 26
    for place, half in enumerate(halves):
        left = label + (0 if stacked else place * (room + gap))
        top = _TOP + (place * (height + 4) if stacked else 0)
        shapes += _half_map(found, half, left, top, room / max(1, len(found.densities)))
        if stacked or place == 0:
            shapes += [
                Text(label - 6, top + _HEIGHT * row + 12, shorten(name, label - 8), "end")
                for row, name in enumerate(names)
            ]
    total = height * len(halves) + 4 if stacked else height
    title = f"{found.arm}: kept weights and dead units by layer and density"
    return Drawing(width, total, title, _describe(found), tuple(shapes))


def _halves(found: Grid) -> tuple[_Half, _Half]:
    cells = [cell for row in found.cells for cell in row if cell]
    # The scales span a range at least, so that runs which changed little do not look dramatic.
    least = min([0.1, *(cell.kept for cell in cells if cell.kept > 0)])
    most = max([0.2, *(cell.dead or 0.0 for cell in cells)])
    return (
        _Half(
            "kept weights (%, log colours)",
            lambda cell: cell.kept,
            lambda value: shade(BLUES, log_share(value, least)),
            lambda cell: f"{percent(cell.kept)} of its weights kept",
        ),
        _Half(
            "dead units, static + dynamic (%)",
            lambda cell: cell.dead,
            lambda value: shade(ORANGES, value / most),
            _dead_tip,
        ),
    )


def _dead_tip(cell: Cell) -> str:
    if cell.dynamic is None:
        return f"static {percent(cell.static)}; no nonlinearity follows this layer directly"
    return f"dead {percent(cell.static + cell.dynamic)}: static {percent(cell.static)}, dynamic {percent(cell.dynamic)}"


def _half_map(found: Grid, half: _Half, left: float, top: float, cell_width: float) -> list[Shape]:
    shapes: list[Shape] = [Text(left, top - 28, half.heading, size=12, bold=True)]
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
            tip = f"{title}\n{half.tip(cell) if cell else 'not recorded'}"
            shapes.append(Group(_square(cell, half, x, y, cell_width), tip=tip))
    bottom = top + _HEIGHT * len(found.cells) + 14
    return [*shapes, Text(left, bottom, "columns: remaining weights (%)", size=10, colour="muted")]


def _square(cell: Cell | None, half: _Half, x: float, y: float, width: float) -> tuple[Shape, ...]:
    value = half.value(cell) if cell else None
    if value is None:
        return (
            Rect(x + 0.5, y + 0.5, width - 1, _HEIGHT - 1, "grid"),
            Text(x + width / 2, y + 12, "\u2013", "middle", 9, "muted"),
        )
    colour = half.colour(value)
    # Tiles touch but for half a pixel of paper; numbers only where they fit.
    tile = Rect(x + 0.25, y + 0.25, width - 0.5, _HEIGHT - 0.5, colour)
    text = f"{100 * value:.1f}" if 0 < value < 0.0995 else f"{100 * value:.0f}"
    if text_width(text, 9) + 3 > width:
        return (tile,)
    return (tile, Text(x + width / 2, y + 12, text, "middle", 9, on(colour)))


def _describe(found: Grid) -> str:
    lines: list[str] = []
    for name, cells in zip(found.layers, found.cells, strict=True):
        last = cells[-1]
        if last:
            dead = "" if last.dead is None else f", {percent(last.dead, 0)} dead"
            lines.append(f"{name}: {percent(last.kept, 1)} kept{dead}")
    return f"At \u03bb = {density(found.densities[-1])}: {'; '.join(lines)}."
