"""Quantities over the training of each level: one small plot per level, on common axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from budbreak.diagnostics import Quantity
from budbreak.reporting.axes import Box, Scale, ticks, value_axis, value_scale
from budbreak.reporting.canvas import Drawing, Group, Path, Place, Rect, Shape, Text, line
from budbreak.reporting.charts import LEFT, Measure, legend, legend_height, near_zero
from budbreak.reporting.estimate import Series, diagnosed
from budbreak.reporting.figure import FULL, MISSING, NARROW, Figure, Table, slug
from budbreak.reporting.styles import style_of
from budbreak.reporting.wording import density, level_name, number
from budbreak.studies import VALIDATION_ACCURACY, RunResult

_DRAWN = 3  # quantities of each diagnostic
_COLUMNS_TO_POINT_AT = 26  # per plot: more would be too narrow to hit


@dataclass(frozen=True)
class Curve:
    """The mean over seeds of one arm at one level, by epoch."""

    arm: str
    index: int
    level: int
    density: float
    values: tuple[tuple[int, float], ...]


def curves(run: RunResult, name: str) -> tuple[Curve, ...]:
    """The curves of a quantity; epochs in which it was not measured are left out."""
    found: dict[tuple[int, int], dict[int, list[float]]] = {}
    densities: dict[tuple[int, int], float] = {}
    arms = run.arm_names
    for row in run.levels:
        place = (row.level, arms.index(row.arm))
        densities[place] = row.density
        epochs = found.setdefault(place, {})
        for epoch in row.curve:
            value = epoch.numbers.get(name)
            if value is not None and math.isfinite(value):
                epochs.setdefault(epoch.epoch, []).append(value)
    return tuple(
        Curve(arms[index], index, level, densities[level, index], _means(epochs))
        for (level, index), epochs in sorted(found.items())
        if epochs
    )


def _means(epochs: dict[int, list[float]]) -> tuple[tuple[int, float], ...]:
    return tuple((epoch, math.fsum(values) / len(values)) for epoch, values in sorted(epochs.items()))


def curve_figures(run: RunResult) -> list[Figure]:
    """Accuracy and what diagnostics measured, over the training of each level."""
    quantities = [VALIDATION_ACCURACY, *(quantity for group in diagnosed(run) for quantity in group[:_DRAWN])]
    return [_figure(quantity, found) for quantity in quantities if (found := curves(run, quantity.name))]


def _figure(quantity: Quantity, found: tuple[Curve, ...]) -> Figure:
    few = max(1, min(5, len({curve.level for curve in found})))
    return Figure(
        f"training-{slug(quantity.name)}",
        quantity.label,
        "Means over seeds; epoch 0 is right after rewinding, before any training.",
        curves_drawing(quantity, found, FULL, columns=few, named=False),
        curves_drawing(quantity, found, NARROW, columns=min(few, 2), named=False),
        curves_drawing(quantity, found, FULL, columns=few, named=True),
        _table(quantity, found),
        tuple(sorted({(curve.index, curve.arm) for curve in found})),
    )


def _table(quantity: Quantity, found: tuple[Curve, ...]) -> Table:
    arms = sorted({(curve.index, curve.arm) for curve in found})
    values = {(curve.level, curve.index): dict(curve.values) for curve in found}
    places = sorted({(curve.level, epoch) for curve in found for epoch, _ in curve.values})
    shares = {level: [curve.density for curve in found if curve.level == level] for level, _ in places}

    def text(level: int, index: int, epoch: int) -> str:
        value = values.get((level, index), {}).get(epoch)
        return MISSING if value is None else number(quantity, value)

    names = {level: level_name(level, densities) for level, densities in shares.items()}
    rows = ((names[level], str(epoch), *(text(level, index, epoch) for index, _ in arms)) for level, epoch in places)
    return Table(("\u03bb", "epoch", *(arm for _, arm in arms)), tuple(rows))


def curves_drawing(quantity: Quantity, found: Sequence[Curve], width: float, *, columns: int, named: bool) -> Drawing:
    """A grid of small plots, from dense to sparse, all with the same axes."""
    levels = sorted({curve.level for curve in found})
    names = [Series(arm, index, ()) for index, arm in sorted({(curve.index, curve.arm) for curve in found})]
    top = legend_height(names, width) + 6 if named else 0.0
    shapes: list[Shape] = [*legend(names, width)] if named else []
    cell, height = (width - LEFT - 6) / columns, 118.0
    boxes = [
        Box(LEFT + cell * (place % columns), top + height * (place // columns) + 20, cell - 18, height - 40)
        for place in range(len(levels))
    ]
    longest = max(epoch for curve in found for epoch, _ in curve.values)
    values = [value for curve in found for _, value in curve.values]
    y = value_scale(values, boxes[0], include=(0.0,) if near_zero(values) else ())
    for place, (level, box) in enumerate(zip(levels, boxes, strict=True)):
        here = [curve for curve in found if curve.level == level]
        own = Scale(y.first, y.last, box.bottom, box.top)
        x = Scale(0, max(1, longest), box.left, box.right)
        shapes += _small_plot(quantity, here, (x, own), box, numbers=place % columns == 0)
    rows = -(-len(levels) // columns)
    bottom = top + rows * height
    shapes.append(
        Text(LEFT + (width - LEFT) / 2, bottom + 12, "epochs of training at each density", "middle", colour="muted")
    )
    shapes.append(Text(12, top + rows * height / 2, Measure(quantity).label, "middle", colour="muted", turned=True))
    return Drawing(
        width, bottom + 18, f"{quantity.label} over training, by density", _description(quantity, found), tuple(shapes)
    )


def _small_plot(
    quantity: Quantity, here: Sequence[Curve], scales: tuple[Scale, Scale], box: Box, *, numbers: bool
) -> list[Shape]:
    x, y = scales
    name = level_name(here[0].level, (curve.density for curve in here))
    title = f"{name} of weights" if box.width > 110 and name.endswith("%") else name
    shapes: list[Shape] = [Text(box.left, box.top - 6, title, bold=True)]
    shapes += value_axis(y, box, "", Measure(quantity).tick, numbers=numbers, most=4)
    shapes.append(line(box.left, box.bottom, box.right, box.bottom, "muted"))
    for value in ticks(0, x.last, 3):
        if value == int(value):
            shapes.append(line(x(value), box.bottom, x(value), box.bottom + 3, "muted"))
            shapes.append(Text(x(value), box.bottom + 14, f"{value:.0f}", "middle", 10, "muted"))
    for curve in here:
        style = style_of(curve.index)
        way: tuple[Place, ...] = tuple((x(epoch), y(value)) for epoch, value in curve.values)
        shapes.append(Group((Path(way, style.colour, 1.5, style.dash),), series=curve.index))
    return [*shapes, *_places_to_point_at(quantity, here, x, box)]


def _places_to_point_at(quantity: Quantity, here: Sequence[Curve], x: Scale, box: Box) -> list[Shape]:
    """An invisible column per epoch that tells the values of all arms."""
    where = level_name(here[0].level, (curve.density for curve in here))
    epochs = sorted({epoch for curve in here for epoch, _ in curve.values})
    epochs = epochs[:: -(-len(epochs) // _COLUMNS_TO_POINT_AT)]
    middles = [(x(a) + x(b)) / 2 for a, b in pairwise(epochs)]
    edges = [box.left, *middles, box.right]
    shapes: list[Shape] = []
    for epoch, (left, right) in zip(epochs, pairwise(edges), strict=True):
        by_arm = [(curve.arm, dict(curve.values).get(epoch)) for curve in here]
        values = [f"{arm} {number(quantity, value)}" for arm, value in by_arm if value is not None]
        tip = "\n".join([f"\u03bb = {where}, epoch {epoch}", *values])
        shapes.append(Group((Rect(left, box.top, right - left, box.height, None),), tip=tip))
    return shapes


def _description(quantity: Quantity, found: Sequence[Curve]) -> str:
    last = max(curve.level for curve in found)
    return " ".join(_curve_in_words(quantity, curve) for curve in found if curve.level in (0, last))


def _curve_in_words(quantity: Quantity, curve: Curve) -> str:
    ends = [f"{number(quantity, value)} at epoch {epoch}" for epoch, value in (curve.values[0], curve.values[-1])]
    return f"{curve.arm} at \u03bb = {density(curve.density)}: {', '.join(ends)}."
