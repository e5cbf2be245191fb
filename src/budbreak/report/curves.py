"""Dead neuron rates over the training of each level: one small plot per level, on common axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from budbreak.report.axes import Box, Scale, ticks, value_axis, value_scale
from budbreak.report.canvas import Drawing, Group, Path, Place, Rect, Shape, Text, line
from budbreak.report.charts import LEFT, legend, legend_height
from budbreak.report.estimate import Series
from budbreak.report.looks import look
from budbreak.report.wording import METRICS, density, percent
from budbreak.studies import RunResult

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
    """The curves of ``dnr_total``, ``dnr_static`` or ``dnr_dynamic``; epochs that were not probed are left out."""
    found: dict[tuple[int, int], dict[int, list[float]]] = {}
    densities = {row.level: row.density for row in run.levels}
    for row in run.levels:
        epochs = found.setdefault((row.level, run.arms.index(row.arm)), {})
        for epoch in row.curve:
            value = getattr(epoch, name)
            if value is not None and math.isfinite(value):
                epochs.setdefault(epoch.epoch, []).append(value)
    return tuple(
        Curve(run.arms[index], index, level, densities[level], _means(epochs))
        for (level, index), epochs in sorted(found.items())
        if epochs
    )


def _means(epochs: dict[int, list[float]]) -> tuple[tuple[int, float], ...]:
    return tuple((epoch, math.fsum(values) / len(values)) for epoch, values in sorted(epochs.items()))


def curves_drawing(name: str, found: Sequence[Curve], width: float, *, columns: int, named: bool) -> Drawing:
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
    y = value_scale([value for curve in found for _, value in curve.values], boxes[0], include=_floor(found))
    for place, (level, box) in enumerate(zip(levels, boxes, strict=True)):
        here = [curve for curve in found if curve.level == level]
        own = Scale(y.first, y.last, box.bottom, box.top)
        shapes += _small_plot(here, Scale(0, max(1, longest), box.left, box.right), own, box, place % columns == 0)
    rows = -(-len(levels) // columns)
    bottom = top + rows * height
    shapes.append(
        Text(LEFT + (width - LEFT) / 2, bottom + 12, "epochs of training at each density", "middle", colour="muted")
    )
    shapes.append(Text(12, top + rows * height / 2, f"{METRICS[name]} (%)", "middle", colour="muted", turned=True))
    return Drawing(width, bottom + 18, f"{METRICS[name]} over training, by density", _describe(found), tuple(shapes))


def _floor(found: Sequence[Curve]) -> tuple[float, ...]:
    """Zero belongs on the axis where the values come near it."""
    values = [value for curve in found for _, value in curve.values]
    return (0.0,) if min(values) < 0.5 * max(values) or max(values) == 0 else ()


def _small_plot(here: Sequence[Curve], x: Scale, y: Scale, box: Box, numbers: bool) -> list[Shape]:
    title = f"{density(here[0].density)} of weights" if box.width > 110 else density(here[0].density)
    shapes: list[Shape] = [Text(box.left, box.top - 6, title, bold=True)]
    shapes += value_axis(y, box, "", lambda value: f"{100 * value:.10g}", numbers=numbers, most=4)
    shapes.append(line(box.left, box.bottom, box.right, box.bottom, "muted"))
    for value in ticks(0, x.last, 3):
        if value == int(value):
            shapes.append(line(x(value), box.bottom, x(value), box.bottom + 3, "muted"))
            shapes.append(Text(x(value), box.bottom + 14, f"{value:.0f}", "middle", 10, "muted"))
    for curve in here:
        found = look(curve.index)
        way: tuple[Place, ...] = tuple((x(epoch), y(value)) for epoch, value in curve.values)
        shapes.append(Group((Path(way, found.colour, 1.5, found.dash),), series=curve.index))
    return [*shapes, *_places_to_point_at(here, x, box)]


def _places_to_point_at(here: Sequence[Curve], x: Scale, box: Box) -> list[Shape]:
    """An invisible column per epoch that tells the values of all arms."""
    epochs = sorted({epoch for curve in here for epoch, _ in curve.values})
    epochs = epochs[:: -(-len(epochs) // _COLUMNS_TO_POINT_AT)]
    middles = [(x(a) + x(b)) / 2 for a, b in pairwise(epochs)]
    edges = [box.left, *middles, box.right]
    shapes: list[Shape] = []
    for epoch, (left, right) in zip(epochs, pairwise(edges), strict=True):
        values = [f"{curve.arm} {percent(dict(curve.values)[epoch])}" for curve in here if epoch in dict(curve.values)]
        tip = "\n".join([f"\u03bb = {density(here[0].density)}, epoch {epoch}", *values])
        shapes.append(Group((Rect(left, box.top, right - left, box.height, None),), tip=tip))
    return shapes


def _describe(found: Sequence[Curve]) -> str:
    last = max(curve.level for curve in found)
    return " ".join(
        f"{curve.arm} at \u03bb = {density(curve.density)}: {percent(curve.values[0][1])} at epoch "
        f"{curve.values[0][0]}, {percent(curve.values[-1][1])} at epoch {curve.values[-1][0]}."
        for curve in found
        if curve.level in (0, last)
    )
