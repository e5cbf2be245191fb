"""Where each arm ends, beside the arm that it is compared with: for the page and the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import replace

from budbreak.diagnostics import Quantity
from budbreak.reporting.estimate import (
    Point,
    arm_series,
    diagnosed,
    difference_series,
    family,
    headline,
    pairing,
)
from budbreak.reporting.tables import Table, pivot, star
from budbreak.reporting.wording import chance, density, interval, number, spread, unit_of_change
from budbreak.results import RunResult

_WIDE = 18  # letters of a column's name in one line


def endings(run: RunResult) -> Table:
    """The arms that finished a level, at their last; without columns that say nothing."""
    main = headline(run)
    last = {line.label: line.points[-1] for line in arm_series(run, main.name)}
    base = {line.label: str(line.reference) for line in difference_series(run, main.name)}
    compared = _at(run, main, last, differences=True)
    shares = {density(point.x) for point in last.values()}
    unit = unit_of_change(main)
    columns = {
        "\u03bb": {arm: density(point.x) for arm, point in last.items()} if len(shares) > 1 else {},
        f"{main.label},\nmean \u00b1 sd": {
            arm: spread(main, [value for _, value in point.values], unit=True) for arm, point in last.items()
        },
        "minus\nreference": {arm: base[arm] for arm in compared},
        f"difference,\n{unit} [95 %]" if unit else "difference\n[95 %]": {
            arm: interval(main, point.estimate) + star(point) for arm, point in compared.items()
        },
        "p,\nHolm": {arm: chance(point.p) for arm, point in compared.items() if point.p is not None},
    }
    for quantity in (group[0] for group in diagnosed(run)):
        found = _at(run, quantity, last)
        columns[textwrap.fill(quantity.label, _WIDE)] = {
            arm: number(quantity, point.estimate.mean) for arm, point in found.items()
        }
    cells = {((arm,), head): text for head, texts in columns.items() for arm, text in texts.items()}
    table = pivot(("arm",), [head for head, texts in columns.items() if texts], cells)
    where = "their last level" if len(shares) > 1 else f"lambda = {next(iter(shares), '')}"
    return replace(table, heading=f"Arms at {where}", note=_reading(run))


def _at(
    run: RunResult, quantity: Quantity, last: Mapping[str, Point], *, differences: bool = False
) -> dict[str, Point]:
    """A quantity, or differences in it, where arms end."""
    lines = difference_series(run, quantity.name) if differences else arm_series(run, quantity.name)
    found = {line.label: line.at(last[line.label].place) for line in lines if line.label in last}
    return {arm: point for arm, point in found.items() if point is not None}


def _reading(run: RunResult) -> str:
    """How differences are to be read."""
    lines = difference_series(run, headline(run).name)
    points = [point for line in lines for point in line.points]
    if not points:
        return ""
    if all(point.estimate.low is None for point in points):
        return "n=1: no interval."
    found = "; *: p < 0.05" if any(point.is_found for point in points) else ""
    corrected = f"; p is {family(run)}" if family(run) else ""
    return f"Differences are {pairing(lines)}{corrected}{found}."


def remarks(run: RunResult) -> list[tuple[str, str]]:
    """What the run remarked, e.g. what was not reached, and where."""
    places: dict[str, list[str]] = {}
    for row in run.levels:
        for remark in row.notes:
            said = remark.removeprefix(f"level {row.level}: ")  # the place says it
            places.setdefault(said, []).append(f"{row.arm}, seed {row.seed}, level {row.level}")
    more = {remark: f"; and {len(where) - 4} more" if len(where) > 4 else "" for remark, where in places.items()}
    return [(remark, "; ".join(where[:4]) + more[remark]) for remark, where in places.items()]
