"""Means over seeds with their 95 % t-intervals, grouped by arm and density."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from budbreak.studies import Estimate, LevelResult, PairedDifference, RunResult, estimate


@dataclass(frozen=True)
class Point:
    """One density of a series; ``values`` are the single seeds (empty where the record keeps only the mean)."""

    level: int
    density: float
    estimate: Estimate
    values: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Series:
    """One line of a figure; ``index`` fixes its colour, marker and dash everywhere on the page."""

    label: str
    index: int
    points: tuple[Point, ...]


def metric(level: LevelResult, name: str) -> float | None:
    """A finite metric of a level, else None."""
    value = level.metrics.get(name)
    return value if value is not None and math.isfinite(value) else None


def arm_series(run: RunResult, name: str) -> tuple[Series, ...]:
    """A metric against density, one series per arm, in the order of the arms; arms without a value are left out."""
    built = (
        Series(arm, index, points(name, [level for level in run.levels if level.arm == arm]))
        for index, arm in enumerate(run.arms)
    )
    return tuple(series for series in built if series.points)


def points(name: str, levels: Sequence[LevelResult]) -> tuple[Point, ...]:
    """One point per level of one arm, from dense to sparse."""
    found: list[Point] = []
    for number in sorted({level.level for level in levels}):
        here = sorted((level for level in levels if level.level == number), key=lambda level: level.seed)
        values = tuple((level.seed, value) for level in here if (value := metric(level, name)) is not None)
        if values:
            density = math.fsum(level.density for level in here) / len(here)
            found.append(Point(number, density, estimate([value for _, value in values]), values))
    return tuple(found)


def difference_series(run: RunResult, name: str) -> tuple[Series, ...]:
    """The recorded paired differences of a metric, one series per arm that is not the reference."""
    built: list[Series] = []
    for index, arm in enumerate(run.arms):
        rows = sorted((d for d in run.differences if d.arm == arm and d.metric == name), key=lambda d: d.level)
        finite = [row for row in rows if math.isfinite(row.mean)]
        if finite:
            line = tuple(Point(row.level, row.density, _recorded(row)) for row in finite)
            built.append(Series(arm, index, line))
    return tuple(built)


def _recorded(row: PairedDifference) -> Estimate:
    """An interval has both its ends or is none."""
    low, high = row.low, row.high
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return Estimate(row.n, row.mean, None, None)
    return Estimate(row.n, row.mean, low, high)


@dataclass(frozen=True)
class Cost:
    """What an arm took per seed over all levels, and in proportion to the reference on the jobs both finished."""

    arm: str
    index: int
    epochs: float
    steps: float
    seconds: float
    epochs_ratio: float | None
    seconds_ratio: float | None


def costs(run: RunResult) -> tuple[Cost, ...]:
    """The cost of each arm that finished a level."""
    jobs = {arm: {(row.seed, row.level): row for row in run.levels if row.arm == arm} for arm in run.arms}
    return tuple(_cost(arm, index, jobs[arm], jobs[run.arms[0]]) for index, arm in enumerate(run.arms) if jobs[arm])


_Jobs = dict[tuple[int, int], LevelResult]


def _cost(arm: str, index: int, own: _Jobs, reference: _Jobs) -> Cost:
    seeds = len({seed for seed, _ in own})
    shared = own.keys() & reference.keys()

    def total(jobs: _Jobs, field: str) -> float:
        return math.fsum(getattr(jobs[key], field) for key in shared)

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
