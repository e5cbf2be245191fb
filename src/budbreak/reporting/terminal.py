"""A run on the terminal: accuracy by level, then where each arm ends; by rich."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from budbreak.diagnostics import Quantity
from budbreak.reporting.estimate import Point, Series, arm_series, difference_series
from budbreak.reporting.layout import NARROW, Stacked
from budbreak.reporting.summary import Ending, endings, family
from budbreak.reporting.wording import chance, count, density, interval, level_name, number, plain
from budbreak.studies import TEST_ACCURACY, RunResult

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

_LEAST = 2  # levels of a table that leaves others out: the first and the last


@dataclass(frozen=True)
class Column:
    """A head over one cell per arm, by its index."""

    head: str
    cells: Mapping[int, str]


def terminal_table(run: RunResult) -> RenderableType:
    """What `rich.print` shows of a run: tables as wide as the terminal, in which no name and no number is cut.

    First the mean test accuracy at as many levels as fit, from dense to sparse, with a star where the difference
    from the arm's reference is told from chance; then each arm at its last level: its difference from its reference
    with its 95 % interval and corrected p, and the first number of each diagnostic. This second table is stacked,
    arm by arm, on terminals of 80 columns and fewer.
    """
    from rich.console import Group
    from rich.text import Text

    accuracy = arm_series(run, TEST_ACCURACY.name)
    if not accuracy:
        return Text(f"{plain(run.name)}: no level has finished yet", overflow="fold")
    names = {line.index: plain(line.label) for line in accuracy}
    last = endings(run)
    parts = [
        Text(_heading(run), "bold", overflow="fold"),
        "",
        _Levels(names, tuple(_level_columns(run, accuracy))),
        Text(f"\n{_where(last)}", "bold"),
        _stacked(names, _ending_columns(last), stacks=NARROW),
        *_remarks(run),
    ]
    return Group(*(Text(part, overflow="fold") if isinstance(part, str) else part for part in parts))


@dataclass(frozen=True)
class _Levels:
    """The table of accuracies, which says so where it leaves levels out."""

    names: Mapping[int, str]
    columns: tuple[Column, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """With as many levels as fit, the first and the last among them, evenly between."""
        from rich.text import Text

        for most in range(len(self.columns), 0, -1):
            table = _stacked(self.names, _evenly(self.columns, most), justify="left")
            if table.width <= options.max_width or most <= _LEAST:
                fewer = f", {most} of {len(self.columns)} levels; the report has all"
                yield Text(f"test accuracy (%){fewer if most < len(self.columns) else ''}", "bold", overflow="fold")
                yield table
                return


def _evenly(columns: Sequence[Column], most: int) -> list[Column]:
    if len(columns) <= most:
        return list(columns)
    step = (len(columns) - 1) / (most - 1)
    return [columns[round(place * step)] for place in range(most)]


def _stacked(
    names: Mapping[int, str], columns: Sequence[Column], *, stacks: int = 0, justify: Literal["left", "right"] = "right"
) -> Stacked:
    """A record for each arm."""
    records = tuple((name, *(column.cells.get(index, "") for column in columns)) for index, name in names.items())
    return Stacked(("arm", *(column.head for column in columns)), records, stacks, justify)


def _heading(run: RunResult) -> str:
    over = f"{plain(run.name)}: means over {count(len({row.seed for row in run.levels}), 'seed')}"
    return over if run.complete else f"{over}\nINTERRUPTED: tasks are missing"


def _level_columns(run: RunResult, accuracy: Sequence[Series]) -> list[Column]:
    differences = {line.index: line for line in difference_series(run, TEST_ACCURACY.name)}
    columns: list[Column] = []
    for level in sorted({point.place for line in accuracy for point in line.points}):
        here = {line.index: point for line in accuracy if (point := line.at(level)) is not None}
        compared = {index: line.at(level) for index, line in differences.items()}
        cells = {index: _accuracy(point, compared.get(index)) for index, point in here.items()}
        columns.append(Column(level_name(level, (point.x for point in here.values())).rjust(7), cells))
    return columns


def _accuracy(point: Point, difference: Point | None) -> str:
    return f"{100 * point.estimate.mean:6.2f}{_star(difference)}"


def _star(difference: Point | None) -> str:
    return "*" if difference is not None and difference.is_found else ""


def _where(last: Sequence[Ending]) -> str:
    densities = {density(ending.accuracy.x) for ending in last}
    return f"at lambda = {densities.pop()}" if len(densities) == 1 else "at the last level of each arm"


def _ending_columns(last: Sequence[Ending]) -> list[Column]:
    compared = {ending.index: ending for ending in last if ending.difference is not None}
    means = {ending.index: ending.accuracy_text.replace("\u00b1", "+-") for ending in last}
    columns = [Column("accuracy,\nmean +- sd", means)]
    if len({density(ending.accuracy.x) for ending in last}) > 1:
        columns.insert(0, Column("lambda", {ending.index: density(ending.accuracy.x) for ending in last}))
    if compared:
        against = {index: plain(str(ending.reference)) for index, ending in compared.items()}
        points = {index: _interval(ending.difference) for index, ending in compared.items()}
        chances = {index: _chance(ending.difference) for index, ending in compared.items()}
        columns += [Column("minus\nreference", against), Column("difference,\npoints [95 %]", points)]
        columns.append(Column("p,\nHolm", chances))
    quantities = dict.fromkeys(quantity for ending in last for quantity in ending.others)
    return [*columns, *(_measured(quantity, last) for quantity in quantities)]


def _interval(difference: Point | None) -> str:
    return "" if difference is None else interval(TEST_ACCURACY, difference.estimate)


def _chance(difference: Point | None) -> str:
    return "" if difference is None or difference.p is None else f"{chance(difference.p)}{_star(difference)}"


def _measured(quantity: Quantity, last: Sequence[Ending]) -> Column:
    found = {ending.index: ending.others[quantity] for ending in last if quantity in ending.others}
    cells = {index: number(quantity, point.estimate.mean) for index, point in found.items()}
    return Column(plain(quantity.label), cells)


def _remarks(run: RunResult) -> list[str]:
    points = [point for line in difference_series(run, TEST_ACCURACY.name) for point in line.points]
    if not points:
        return []
    if all(point.estimate.low is None for point in points):
        return ["n=1: no interval"]
    return [f"*: p < 0.05, {family(run)}"] if any(point.is_found for point in points) else []
