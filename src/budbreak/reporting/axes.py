"""Scales, ticks and the frame of a plot."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from budbreak.reporting.canvas import Path, Shape, Text, line
from budbreak.reporting.wording import density

_INSET = 12.0  # room beside the first and last density for markers and intervals


@dataclass(frozen=True)
class Scale:
    """Values to pixels: ``first`` lies at ``start``, ``last`` at ``end``, by their logarithms if ``log``."""

    first: float
    last: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        if self.first == self.last:
            return (self.start + self.end) / 2
        share = (
            math.log(value / self.first) / math.log(self.last / self.first)
            if self.log
            else (value - self.first) / (self.last - self.first)
        )
        return self.start + share * (self.end - self.start)


@dataclass(frozen=True)
class Box:
    """The place of a plot."""

    left: float
    top: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """Its right edge."""
        return self.left + self.width

    @property
    def bottom(self) -> float:
        """Its lower edge."""
        return self.top + self.height


def density_scale(densities: Sequence[float], box: Box) -> Scale:
    """From dense on the left to sparse on the right, logarithmic: equal prunings are equal steps."""
    return Scale(max(densities), min(densities), box.left + _INSET, box.right - _INSET, log=True)


def value_scale(values: Iterable[float], box: Box, *, include: Sequence[float] = ()) -> Scale:
    """Upwards, with a little air around the values."""
    found = [*values, *include]
    low, high = min(found), max(found)
    if low == high:
        some = 0.01 * abs(low) or 0.01
        return Scale(low if low in include else low - some / 2, high + some, box.bottom, box.top)
    air = 0.06 * (high - low)
    low, high = (edge if edge in include else edge + side for edge, side in ((low, -air), (high, air)))
    return Scale(low, high, box.bottom, box.top)


def ticks(low: float, high: float, most: int) -> list[float]:
    """At most ``most`` + 1 round numbers in a range, evenly spaced by 1, 2 or 5 times a power of ten.

    >>> ticks(0.0, 0.93, 5)
    [0.0, 0.2, 0.4, 0.6, 0.8]
    """
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    return [
        float(f"{place * step:.10g}")
        for place in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    ]


def density_ticks(scale: Scale, room: float = 34.0) -> list[float]:
    """Round percentages, at least ``room`` pixels apart, and the sparsest density itself."""
    sparse, dense = scale.last, scale.first
    chosen = [sparse]
    powers = range(math.floor(math.log10(sparse)), 1)
    for value in sorted((factor * 10.0**power for power in powers for factor in (1, 2, 5)), reverse=True):
        inside = sparse < value <= dense * 1.0001
        if inside and all(abs(scale(value) - scale(other)) >= room for other in chosen):
            chosen.append(value)
    return chosen if dense in chosen or sparse == dense else [*chosen, *_first(scale, chosen, room)]


def _first(scale: Scale, chosen: Sequence[float], room: float) -> list[float]:
    return [scale.first] if all(abs(scale(scale.first) - scale(other)) >= room for other in chosen) else []


def short_density(value: float) -> str:
    """A density for a tick: no sign, no needless zero.

    >>> short_density(0.2), short_density(0.0687)
    ('20', '6.9')
    """
    return density(value).removesuffix(" %").removesuffix(".0")


def density_axis(scale: Scale, box: Box, levels: Iterable[float], label: str = "") -> tuple[Shape, ...]:
    """Ticks at round densities, fine ones at the levels, and the label below."""
    fine = tuple(line(scale(level), box.bottom, scale(level), box.bottom + 3, "muted", 0.7) for level in levels)
    shapes: list[Shape] = [line(box.left, box.bottom, box.right, box.bottom, "muted"), *fine]
    for value in density_ticks(scale):
        x = scale(value)
        shapes.append(line(x, box.bottom, x, box.bottom + 5, "muted"))
        shapes.append(Text(x, box.bottom + 17, short_density(value), "middle", colour="muted"))
    if label:
        shapes.append(Text(box.left + box.width / 2, box.bottom + 34, label, "middle", colour="muted"))
    return tuple(shapes)


def value_axis(
    scale: Scale, box: Box, label: str, text: Callable[[float], str], *, numbers: bool = True, most: int | None = None
) -> tuple[Shape, ...]:
    """Grid lines at round values, their numbers on the left, the label turned beside them."""
    shapes: list[Shape] = []
    for value in ticks(scale.first, scale.last, most or max(2, int(box.height / 34))):
        y = scale(value)
        shapes.append(Path(((box.left, y), (box.right, y)), "grid", 1))
        if numbers:
            shapes.append(Text(box.left - 6, y + 4, text(value), "end", colour="muted"))
    if label:
        shapes.append(Text(box.left - 46, box.top + box.height / 2, label, "middle", colour="muted", turned=True))
    return tuple(shapes)
