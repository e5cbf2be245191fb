"""A run as plain text for a terminal: never wider than 80 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from budbreak.diagnostics import Quantity
from budbreak.reporting.estimate import Point, Series, arm_series, difference_series
from budbreak.reporting.summary import Ending, endings, family
from budbreak.reporting.wording import chance, count, density, interval, level_name, number, plain
from budbreak.studies import TEST_ACCURACY, RunResult

WIDTH = 80
_GAP = 2
_NAME, _RUN_NAME = 18, 40  # longer names are shortened; the page has them whole
_LABEL = 24


@dataclass(frozen=True)
class Column:
    """A header of two lines over one cell per arm, by its index."""

    top: str
    bottom: str
    cells: Mapping[int, str]

    @property
    def width(self) -> int:
        """The widest of all its lines."""
        return max(map(len, (self.top, self.bottom, *self.cells.values())))


def terminal_table(run: RunResult) -> str:
    """A run as plain text, at most 80 columns wide, one row per arm.

    First the mean test accuracy at as many levels as fit, from dense to sparse, with a star where the difference
    from the arm's reference is told from chance; then each arm at its last level: its difference from its reference
    with its 95 % interval and corrected p, and the first number of each diagnostic.
    """
    accuracy = arm_series(run, TEST_ACCURACY.name)
    if not accuracy:
        return f"{_short(run.name, _RUN_NAME)}: no level has finished yet"
    names = Column("", "arm", {line.index: _short(line.label) for line in accuracy})
    levels = _fitting(names, _level_columns(run, accuracy))
    last = endings(run)
    ends = [_table(names, group) for group in _filled(names, _ending_columns(last))]
    parts = [_heading(run), f"test accuracy (%)\n{_table(names, levels)}", f"{_where(last)}\n{ends[0]}", *ends[1:]]
    return "\n\n".join([*parts, *_remarks(run)])


def _heading(run: RunResult) -> str:
    text = f"{_short(run.name, _RUN_NAME)}: means over {count(len({row.seed for row in run.levels}), 'seed')}"
    if not run.complete:
        text += "\nINTERRUPTED: tasks are missing"
    return text


def _short(name: str, longest: int = _NAME) -> str:
    clean = plain(name)
    return clean if len(clean) <= longest else f"{clean[: longest - 3]}..."


def _level_columns(run: RunResult, accuracy: Sequence[Series]) -> list[Column]:
    differences = {line.index: line for line in difference_series(run, TEST_ACCURACY.name)}
    columns: list[Column] = []
    for level in sorted({point.place for line in accuracy for point in line.points}):
        here = {line.index: point for line in accuracy if (point := line.at(level)) is not None}
        compared = {index: line.at(level) for index, line in differences.items()}
        cells = {index: _accuracy(point, compared.get(index)) for index, point in here.items()}
        columns.append(Column("", f"{level_name(level, (point.x for point in here.values()))} ", cells))
    return columns


def _accuracy(point: Point, difference: Point | None) -> str:
    return f"{100 * point.estimate.mean:.2f}{_star(difference)}"


def _star(difference: Point | None) -> str:
    return "*" if difference is not None and difference.is_found else " "


def _fitting(names: Column, columns: Sequence[Column]) -> list[Column]:
    """As many columns as the width allows, the first and the last among them, evenly between."""
    most = (WIDTH - names.width) // (_GAP + max(column.width for column in columns))
    if len(columns) <= most:
        return list(columns)
    step = (len(columns) - 1) / (most - 1)
    return [columns[round(place * step)] for place in range(most)]


def _where(last: Sequence[Ending]) -> str:
    densities = {density(ending.accuracy.x) for ending in last}
    return f"at lambda = {densities.pop()}" if len(densities) == 1 else "at the last level of each arm"


def _ending_columns(last: Sequence[Ending]) -> list[Column]:
    compared = {ending.index: ending for ending in last if ending.difference is not None}
    columns = [Column("accuracy", "mean +- sd", {e.index: e.accuracy_text.replace("\u00b1", "+-") for e in last})]
    if len({density(ending.accuracy.x) for ending in last}) > 1:
        columns.insert(0, Column("", "lambda", {ending.index: density(ending.accuracy.x) for ending in last}))
    if compared:
        against = {index: _short(str(ending.reference)) for index, ending in compared.items()}
        points = {index: _interval(ending.difference) for index, ending in compared.items()}
        columns += [Column("minus", "reference", against), Column("difference", "points [95 %]", points)]
        columns.append(Column("p,", "Holm ", {index: _chance(ending.difference) for index, ending in compared.items()}))
    quantities = dict.fromkeys(quantity for ending in last for quantity in ending.others)
    return [*columns, *(_measured(quantity, last) for quantity in quantities)]


def _interval(difference: Point | None) -> str:
    return "" if difference is None else interval(TEST_ACCURACY, difference.estimate)


def _chance(difference: Point | None) -> str:
    return "" if difference is None or difference.p is None else f"{chance(difference.p)}{_star(difference)}"


def _measured(quantity: Quantity, last: Sequence[Ending]) -> Column:
    found = {ending.index: ending.others[quantity] for ending in last if quantity in ending.others}
    cells = {index: number(quantity, point.estimate.mean) for index, point in found.items()}
    return Column("", _short(quantity.label, _LABEL), cells)


def _remarks(run: RunResult) -> list[str]:
    points = [point for line in difference_series(run, TEST_ACCURACY.name) for point in line.points]
    if not points:
        return []
    if all(point.estimate.low is None for point in points):
        return ["n=1: no interval"]
    return [f"*: p < 0.05, {family(run)}"] if any(point.is_found for point in points) else []


def _filled(first: Column, columns: Sequence[Column]) -> list[list[Column]]:
    groups: list[list[Column]] = [[]]
    for column in columns:
        used = first.width + sum(_GAP + other.width for other in groups[-1])
        if groups[-1] and used + _GAP + column.width > WIDTH:
            groups.append([])
        groups[-1].append(column)
    return groups


def _table(first: Column, columns: Sequence[Column]) -> str:
    def line(left: str, cells: Sequence[str]) -> str:
        right = "".join(" " * _GAP + cell.rjust(column.width) for cell, column in zip(cells, columns, strict=True))
        return (left.ljust(first.width) + right).rstrip()

    head = [line(first.top, [c.top for c in columns]), line(first.bottom, [c.bottom for c in columns])]
    body = [line(text, [c.cells.get(index, "") for c in columns]) for index, text in first.cells.items()]
    return "\n".join([*(text for text in head if text), "-" * max(map(len, head + body)), *body])
