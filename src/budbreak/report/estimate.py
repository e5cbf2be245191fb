"""Means over seeds with their 95 % t-intervals, grouped by arm and density."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from budbreak.diagnostics import Quantity
from budbreak.studies import TRAINING, Estimate, LevelResult, PairedDifference, RunResult, estimate

_CHANCE = 0.05
_ENOUGH = 3  # seeds: fewer are no result, whatever their interval


@dataclass(frozen=True)
class Point:
    """One density of a series.

    Args:
        values: the single seeds, as (seed, value); empty where the record keeps only the mean.
        p: of a difference, corrected for all that are looked at; None without an interval.
    """

    level: int
    density: float
    estimate: Estimate
    values: tuple[tuple[int, float], ...] = ()
    p: float | None = None

    @property
    def is_found(self) -> bool:
        """Whether a difference is told from chance: by three seeds at least, after the correction."""
        return self.p is not None and self.p < _CHANCE and self.estimate.n >= _ENOUGH


@dataclass(frozen=True)
class Series:
    """One line of a figure; ``index`` fixes its colour, marker and dash everywhere on the page."""

    label: str
    index: int
    points: tuple[Point, ...]
    reference: str | None = None

    def at(self, level: int) -> Point | None:
        """The point of a level, if there is one."""
        return next((point for point in self.points if point.level == level), None)


def arm_series(run: RunResult, name: str) -> tuple[Series, ...]:
    """A quantity against density, one series per arm, in the order of the arms; arms without a value are left out."""
    built = (
        Series(arm.name, index, points(name, [level for level in run.levels if level.arm == arm.name]), arm.reference)
        for index, arm in enumerate(run.arms)
    )
    return tuple(series for series in built if series.points)


def points(name: str, levels: Sequence[LevelResult]) -> tuple[Point, ...]:
    """One point per level of one arm, from dense to sparse."""
    found: list[Point] = []
    for number in sorted({level.level for level in levels}):
        here = sorted((level for level in levels if level.level == number), key=lambda level: level.seed)
        values = tuple((level.seed, value) for level in here if (value := _finite(level.numbers.get(name))) is not None)
        if values:
            density = math.fsum(level.density for level in here) / len(here)
            found.append(Point(number, density, estimate([value for _, value in values]), values))
    return tuple(found)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def difference_series(run: RunResult, name: str) -> tuple[Series, ...]:
    """The recorded paired differences of a quantity, one series per arm that has a reference."""
    built: list[Series] = []
    for index, arm in enumerate(run.arms):
        rows = sorted((d for d in run.differences if (d.arm, d.quantity) == (arm.name, name)), key=lambda d: d.level)
        finite = tuple(_recorded(row) for row in rows if math.isfinite(row.mean))
        if finite:
            built.append(Series(arm.name, index, finite, arm.reference))
    return tuple(built)


def _recorded(row: PairedDifference) -> Point:
    """An interval has both its ends or is none."""
    low, high = _finite(row.low), _finite(row.high)
    both = (None, None) if low is None or high is None else (low, high)
    return Point(row.level, row.density, Estimate(row.n, row.mean, *both), p=row.p_adjusted)


def groups(quantities: Iterable[Quantity]) -> list[list[Quantity]]:
    """The quantities that are drawn together, in order; one without a group is on its own."""
    found: dict[str, list[Quantity]] = {}
    for quantity in quantities:
        found.setdefault(quantity.group or quantity.name, []).append(quantity)
    return list(found.values())


def diagnosed(run: RunResult) -> list[list[Quantity]]:
    """The groups of what diagnostics measured at the end of some level; the first of each is its most telling."""
    measured = {name for level in run.levels for name in level.numbers} - {quantity.name for quantity in TRAINING}
    return groups(quantity for quantity in run.quantities if quantity.name in measured)


@dataclass(frozen=True)
class Cost:
    """What an arm took per seed over all levels, and in proportion to its reference on what both finished."""

    arm: str
    index: int
    epochs: float
    steps: float
    seconds: float
    epochs_ratio: float | None
    seconds_ratio: float | None


def costs(run: RunResult) -> tuple[Cost, ...]:
    """The cost of each arm that finished a level."""
    cells = {arm.name: _cells(run, arm.name) for arm in run.arms}
    return tuple(
        _cost(arm.name, index, cells[arm.name], cells.get(arm.reference or "", {}))
        for index, arm in enumerate(run.arms)
        if cells[arm.name]
    )


_Cells = dict[tuple[int, int], LevelResult]


def _cells(run: RunResult, arm: str) -> _Cells:
    return {(level.seed, level.level): level for level in run.levels if level.arm == arm}


def _cost(arm: str, index: int, own: _Cells, reference: _Cells) -> Cost:
    seeds = len({seed for seed, _ in own})
    both = own.keys() & reference.keys()

    def total(cells: _Cells, field: str) -> float:
        return math.fsum(getattr(cells[key], field) for key in both)

    def ratio(field: str) -> float | None:
        base = total(reference, field)
        return total(own, field) / base if base > 0 else None

    return Cost(
        arm,
        index,
        sum(row.epochs for row in own.values()) / seeds,
        sum(row.steps for row in own.values()) / seeds,
        math.fsum(row.seconds for row in own.values()) / seeds,
        ratio("epochs"),
        ratio("seconds"),
    )
