"""Lines against density: accuracy, paired differences, dead neuron rates, runs compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from budbreak.diagnostics import Quantity
from budbreak.reporting.axes import Box, Scale, density_axis, density_scale, value_axis, value_scale
from budbreak.reporting.canvas import Circle, Drawing, Group, Path, Shape, Text, line, shorten, text_width
from budbreak.reporting.estimate import Point, Series
from budbreak.reporting.styles import marker, sample, style_of
from budbreak.reporting.wording import (
    chance_words,
    change,
    count,
    density,
    interval,
    number,
    short,
    unit_of_change,
    with_unit,
)
from budbreak.studies import Estimate

LEFT, BOTTOM, TOP = 58.0, 42.0, 12.0
_DODGE = 4.0  # pixels between the intervals of neighbouring series at one density; little where lines are steep
_LITTLE = 1.2


@dataclass(frozen=True)
class Measure:
    """What the values of a plot are: a quantity, or differences in it."""

    quantity: Quantity
    differences: bool = False

    @property
    def label(self) -> str:
        """Of the axis, with the unit."""
        name = "difference" if self.differences else self.quantity.label
        unit = unit_of_change(self.quantity) if self.differences else _UNITS[self.quantity.unit]
        return f"{name} ({unit})" if unit else name

    def tick(self, value: float) -> str:
        """A number on the axis."""
        text = short(100 * value if self.quantity.unit == "share" else value)
        text = f"+{text}" if self.differences and value > 0 and text != "0" else text
        return text.replace("-", "\u2212")

    def written(self, found: Estimate) -> str:
        """A mean, with its interval if there is one."""
        if self.differences:
            return interval(self.quantity, found)
        mean = number(self.quantity, found.mean)
        if found.low is None or found.high is None:
            return mean
        return f"{mean} [{self._bound(found.low)}, {self._bound(found.high)}]"

    def _bound(self, value: float) -> str:
        return f"{100 * value:.2f}" if self.quantity.unit == "share" else number(self.quantity, value)

    def tip(self, series: Series, point: Point) -> str:
        """What one reads when pointing at a mean."""
        found = point.estimate
        name = f"{series.label} \u2212 {series.reference}" if self.differences else series.label
        mean = change(self.quantity, found.mean) if self.differences else number(self.quantity, found.mean)
        said = with_unit(mean, self.quantity) if self.differences else mean
        lines = [name, f"\u03bb = {density(point.x)}", f"{self.quantity.label} {said}"]
        lines.append("one seed, no interval" if found.low is None else self._interval(found))
        return "\n".join([*lines, *([f"{chance_words(point.p)}, corrected"] if point.p is not None else [])])

    def _interval(self, found: Estimate) -> str:
        if found.low is None or found.high is None:
            return ""
        bounds = [change(self.quantity, b) if self.differences else number(self.quantity, b) for b in _ends(found)]
        return f"95 % interval {' to '.join(bounds)}, {count(found.n, 'seed')}"


_UNITS: Mapping[str, str] = {"share": "%", "count": "", "seconds": "s", "nats": "nats", "": ""}


def _ends(found: Estimate) -> Iterable[float]:
    return (end for end in (found.low, found.high) if end is not None)


def chart(
    title: str, series: Sequence[Series], measure: Measure, size: tuple[float, float], *, named: str = "none"
) -> Drawing:
    """A single plot against density.

    Args:
        title: of the drawing.
        series: at least one.
        measure: what is plotted.
        size: width and height of the plot, without the legend.
        named: "none", "legend" above the plot, or "ends": direct labels where the lines end.
    """
    width, height = size
    names = legend(series, width) if named == "legend" else ()
    above = TOP + 18 * _legend_rows(series, width) if named == "legend" else TOP
    room = 14.0
    if named == "ends":
        room = min(width * 0.3, 22 + max(text_width(one.label) for one in series))
    box = Box(LEFT, above, width - LEFT - room, height - TOP - BOTTOM)
    shapes = [*names, *plot(series, measure, box)]
    if named == "ends":
        shapes += end_labels(series, measure, box, room)
    return Drawing(width, height + above - TOP, title, description_of(series, measure), tuple(shapes))


def description_of(series: Sequence[Series], measure: Measure) -> str:
    """The figure in a sentence per series: where it begins and ends."""
    return " ".join(
        f"{one.label}: {_point_in_words(measure, one.points[0])}, {_point_in_words(measure, one.points[-1])}."
        for one in series
    )


def _point_in_words(measure: Measure, point: Point) -> str:
    value = interval(measure.quantity, point.estimate) if measure.differences else ""
    words = with_unit(value, measure.quantity) if value else number(measure.quantity, point.estimate.mean)
    return f"{words} at \u03bb = {density(point.x)}"


def plot(
    series: Sequence[Series], measure: Measure, box: Box, *, dodge: float = _DODGE, label: bool = True
) -> list[Shape]:
    """Axes, grid and lines in a box."""
    densities = sorted({point.x for one in series for point in one.points}, reverse=True)
    x = density_scale(densities, box)
    y = _value_scale(series, measure, box)
    shapes: list[Shape] = [*value_axis(y, box, measure.label if label else "", measure.tick)]
    if measure.differences:
        shapes.append(line(box.left, y(0), box.right, y(0), "ink", 1.2))
    shapes += density_axis(x, box, densities, "remaining weights (%, log scale)")
    shapes += [Group(_drawn(one, measure, x, y, _offset(series, one, dodge)), series=one.index) for one in series]
    return shapes


def _value_scale(series: Sequence[Series], measure: Measure, box: Box) -> Scale:
    """Zero belongs on the axis of differences, and on others where the values come near it."""
    values = list(_extent(series))
    return value_scale(values, box, include=(0.0,) if measure.differences or near_zero(values) else ())


def near_zero(values: Sequence[float]) -> bool:
    """Whether an axis of values that are never negative is to begin at zero.

    >>> near_zero([0.1, 0.3]), near_zero([0.86, 0.92]), near_zero([-1.0, 1.0])
    (True, False, False)
    """
    return min(values) >= 0 and (2 * min(values) < max(values) or max(values) == 0)


def _extent(series: Sequence[Series]) -> Iterable[float]:
    for one in series:
        for point in one.points:
            yield from (value for _, value in point.values)
            yield from (v for v in (point.estimate.low, point.estimate.mean, point.estimate.high) if v is not None)


def _offset(series: Sequence[Series], one: Series, room: float) -> float:
    return (list(series).index(one) - (len(series) - 1) / 2) * min(room, 4 * room / len(series))


def _drawn(series: Series, measure: Measure, x: Scale, y: Scale, offset: float) -> tuple[Shape, ...]:
    style = style_of(series.index)
    places = [(x(point.x) + offset, y(point.estimate.mean)) for point in series.points]
    seeds = [
        Circle(place[0], y(value), 1.8, style.colour, 0.45)
        for point, place in zip(series.points, places, strict=True)
        for _, value in point.values
        if len(point.values) > 1
    ]
    way = [Path(tuple(places), style.colour, 1.6, style.dash)] if len(places) > 1 else []
    means = [
        Group((*_bar(point, y, place[0], style.colour), marker(series.index, *place)), tip=measure.tip(series, point))
        for point, place in zip(series.points, places, strict=True)
    ]
    return (*seeds, *way, *means)


def _bar(point: Point, y: Scale, x: float, colour: str) -> tuple[Shape, ...]:
    low, high = point.estimate.low, point.estimate.high
    if low is None or high is None:
        return ()
    caps = [line(x - 2.5, y(edge), x + 2.5, y(edge), colour, 1.1) for edge in (low, high)]
    return (line(x, y(low), x, y(high), colour, 1.1), *caps)


def _entries(series: Sequence[Series], width: float) -> list[tuple[Series, int, float]]:
    """Each series with its row and left edge in a legend that wraps."""
    placed: list[tuple[Series, int, float]] = []
    row, left = 0, LEFT
    for one in series:
        needed = 30 + text_width(one.label) + 18
        if left > LEFT and left + needed > width:
            row, left = row + 1, LEFT
        placed.append((one, row, left))
        left += needed
    return placed


def _legend_rows(series: Sequence[Series], width: float) -> int:
    return _entries(series, width)[-1][1] + 1


def legend(series: Sequence[Series], width: float) -> tuple[Shape, ...]:
    """Samples and names in rows, from the top."""
    shapes: list[Shape] = []
    for one, row, left in _entries(series, width):
        y = 12 + 18 * row
        name = shorten(one.label, width - left - 32)
        shapes.append(Group((*sample(one.index, left, y), Text(left + 31, y + 4, name)), series=one.index))
    return tuple(shapes)


def legend_height(series: Sequence[Series], width: float) -> float:
    """The height that `legend` takes."""
    return 18.0 * _legend_rows(series, width)


def end_labels(series: Sequence[Series], measure: Measure, box: Box, room: float) -> list[Shape]:
    """Names beside the ends of the lines, pushed apart where they would touch."""
    y = _value_scale(series, measure, box)
    ends = sorted(((y(one.points[-1].estimate.mean), one) for one in series), key=lambda end: (end[0], end[1].index))
    heights = spread([height for height, _ in ends], 14.0, box.top + 4, box.bottom - 4)
    return [
        Group(
            (marker(one.index, box.right + 8, at), Text(box.right + 16, at + 4, shorten(one.label, room - 18))),
            one.index,
        )
        for at, (_, one) in zip(heights, ends, strict=True)
    ]


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Sorted heights moved as little as needed to be ``gap`` apart, kept within the range if it has room.

    >>> spread([10.0, 11.0, 50.0], 14.0, 0.0, 60.0)
    [10.0, 24.0, 50.0]
    """
    placed: list[float] = []
    for value in wanted:
        placed.append(max(value, placed[-1] + gap if placed else low))
    limit = high
    for place in reversed(range(len(placed))):
        placed[place] = min(placed[place], limit)
        limit = placed[place] - gap
    return placed


def panels(
    title: str,
    parts: Sequence[tuple[str, Sequence[Series], Measure]],
    width: float,
    *,
    columns: int,
    named: Callable[[float], tuple[Shape, ...]] | None = None,
) -> Drawing:
    """Several plots side by side, in rows of ``columns``, each under its own heading."""
    every = {one.index: one for _, series, _ in parts for one in series}
    names = list(every.values())
    top = legend_height(names, width) + 6 if named else 0.0
    shapes: list[Shape] = [*named(width)] if named else []
    cell, height = width / columns, 250.0
    for place, (heading, series, measure) in enumerate(parts):
        left, above = cell * (place % columns), top + height * (place // columns)
        box = Box(left + LEFT - 8, above + 24, cell - LEFT - 4, height - 24 - BOTTOM)
        shapes.append(Text(box.left, above + 14, heading, size=12, bold=True))
        shapes += plot(series, measure, box, dodge=_LITTLE, label=False)
    rows = -(-len(parts) // columns)
    said = " ".join(f"{heading}: {description_of(series, measure)}" for heading, series, measure in parts)
    return Drawing(width, top + rows * height, title, said, tuple(shapes))
