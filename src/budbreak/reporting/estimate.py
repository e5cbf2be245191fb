"""Means over seeds with their 95 % t-intervals, as series over density or whatever else they run over."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from budbreak.diagnostics import Quantity
from budbreak.reporting.wording import count, listed
from budbreak.results import TRAINING, Difference, Estimate, RunResult, estimate, is_compaction
from budbreak.studies import is_search

_CHANCE = 0.05
_ENOUGH = 3  # seeds: fewer are no result, whatever their interval
_LISTED = 4  # more arms than this are counted
_POSSIBLE = {"share": (0.0, 1.0), "count": (0.0, math.inf), "seconds": (0.0, math.inf)}


@dataclass(frozen=True)
class Axis:
    """What series run over.

    Args:
        name: e.g. "density"; ``label``: for people.
        unit: as of a `Quantity`: a "share" is shown in percent, "" has none.
        log: whether equal ratios take equal room; ``falling``: whether the largest comes first.
    """

    name: str
    label: str
    unit: str = ""
    log: bool = False
    falling: bool = False

    def shown(self, x: float) -> float:
        """A place on it as it is shown."""
        return 100 * x if self.unit == "share" else x


DENSITY = Axis("density", "remaining weights", "share", log=True, falling=True)


@dataclass(frozen=True)
class Point:
    """One place of a series.

    Args:
        place: which, for all series of a figure: the level, epoch or trial.
        x: where that lies on the axis: the density of the level.
        values: the single seeds, as (seed, value); empty where the record keeps only the mean.
        p: of a difference, corrected for all that are looked at; None without an interval.
    """

    place: int
    x: float
    estimate: Estimate
    values: tuple[tuple[int, float], ...] = ()
    p: float | None = None

    @property
    def is_found(self) -> bool:
        """Whether a difference is told from chance: by three seeds at least, after the correction."""
        return self.p is not None and self.p < _CHANCE and self.estimate.n >= _ENOUGH


@dataclass(frozen=True)
class Series:
    """One line of a figure.

    Args:
        index: fixes its colour, marker and dash everywhere on the page.
        reference: what the arm is compared with; ``paired``: whether by seed, in a series of differences.
    """

    label: str
    index: int
    points: tuple[Point, ...]
    reference: str | None = None
    axis: Axis = DENSITY
    paired: bool = True

    def at(self, place: int) -> Point | None:
        """The point of a place, if there is one."""
        return next((point for point in self.points if point.place == place), None)


def headline(run: RunResult) -> Quantity:
    """What a run is judged by: test accuracy, or what an own loop recorded first."""
    return run.quantities[0]


Row = tuple[int, float, int, float | None]
"""(place, x, seed, value or None)"""


def arm_series(run: RunResult, name: str) -> tuple[Series, ...]:
    """A quantity against density, one series per arm, in the order of the arms; arms without a value are left out."""
    quantity = next((quantity for quantity in run.quantities if quantity.name == name), Quantity(name, name))
    built = (
        Series(arm.name, index, points(quantity, _at_levels(run, arm.name, name)), arm.reference)
        for index, arm in enumerate(run.arms)
    )
    return tuple(series for series in built if series.points)


def _at_levels(run: RunResult, arm: str, name: str) -> list[Row]:
    return [(row.level, row.density, row.seed, row.numbers.get(name)) for row in run.levels if row.arm == arm]


def points(quantity: Quantity, rows: Iterable[Row]) -> tuple[Point, ...]:
    """One point per place, by its number: the mean of its finite values, at its mean x.

    The interval of a rate ends at 0 and 1, that of a count or duration at 0: the true mean lies within, so an interval
    that is cut there holds it as often as the whole t-interval does.
    """
    places: dict[int, list[Row]] = {}
    for row in rows:
        places.setdefault(row[0], []).append(row)
    found: list[Point] = []
    for place, here in sorted(places.items()):
        values = tuple(sorted((seed, v) for *_, seed, v in here if v is not None and math.isfinite(v)))
        if values:
            x = math.fsum(row[1] for row in here) / len(here)
            possible = estimate([value for _, value in values]).within(*_POSSIBLE.get(quantity.unit, ()))
            found.append(Point(place, x, possible, values))
    return tuple(found)


def difference_series(run: RunResult, name: str) -> tuple[Series, ...]:
    """The recorded differences of a quantity, one series per arm that has a reference."""
    share = any(quantity.unit == "share" for quantity in run.quantities if quantity.name == name)
    built: list[Series] = []
    for index, arm in enumerate(run.arms):
        rows = sorted((d for d in run.differences if (d.arm, d.quantity) == (arm.name, name)), key=lambda d: d.level)
        finite = tuple(_recorded(row, share=share) for row in rows if math.isfinite(row.mean))
        if finite:
            paired = all(row.n_reference is None for row in rows)
            built.append(Series(arm.name, index, finite, arm.reference, paired=paired))
    return tuple(built)


def _recorded(row: Difference, *, share: bool) -> Point:
    """An interval has both its ends or is none; a difference of rates lies between -1 and 1."""
    ends = [end for end in (row.low, row.high) if end is not None and math.isfinite(end)]
    n = row.n if row.n_reference is None else min(row.n, row.n_reference)
    found = Estimate(n, row.mean, *(ends if len(ends) == 2 else (None, None)))
    return Point(row.level, row.density, found.within(-1.0, 1.0) if share else found, p=row.p_adjusted)


def groups(quantities: Iterable[Quantity]) -> list[list[Quantity]]:
    """The quantities that are drawn together, in order; one without a group is on its own."""
    found: dict[str, list[Quantity]] = {}
    for quantity in quantities:
        found.setdefault(quantity.group or quantity.name, []).append(quantity)
    return list(found.values())


def diagnosed(run: RunResult) -> list[list[Quantity]]:
    """The groups of what diagnostics measured at the end of some level; the first of each is its most telling."""
    judged = {quantity.name for quantity in (*TRAINING, *run.quantities[:1])}
    measured = {name for level in run.levels for name in level.numbers} - judged
    drawn = [one for one in run.quantities if not (is_compaction(one.name) or is_search(one.name))]
    return groups(one for one in drawn if one.name in measured)


def family(run: RunResult, quantity: Quantity | None = None) -> str:
    """What the p-values of a quantity are corrected for; unless it is given, of what the run is judged by.

    Empty where there is none.
    """
    main = quantity or headline(run)
    number = sum(row.p is not None for row in run.differences if row.quantity == main.name)
    return f"corrected for all {number} differences of {main.label} (Holm)" if number else ""


def pairing(lines: Sequence[Series]) -> str:
    """Whether differences are between pairs or between groups; empty where there is none."""
    apart = [line.label for line in lines if not line.paired]
    if len(apart) == len(lines):
        return "unpaired (Welch), as the dense trainings differ" if apart else ""
    who = listed(apart) if len(apart) <= _LISTED else count(len(apart), "arm")
    return f"paired by seed, but for {who}: unpaired (Welch)" if apart else "paired by seed"
