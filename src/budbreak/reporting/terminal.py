"""A run on the terminal: what it is judged by, level by level, then where each arm ends; by rich."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from budbreak.diagnostics import Quantity
from budbreak.reporting.estimate import Point, Series, arm_series, difference_series, headline
from budbreak.reporting.layout import NARROW, Stacked
from budbreak.reporting.summary import Ending, endings, family, pairing
from budbreak.reporting.wording import chance, count, density, interval, level_name, number, plain, unit_of_change
from budbreak.studies import RunResult

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

    First the mean of what it is judged by (test accuracy) at as many levels as fit, from dense to sparse, with a star
    where the difference from the arm's reference is told from chance; then each arm at its last level: its difference
    from its reference with its 95 % interval and corrected p, and the first number of each diagnostic. This second
    table is stacked, arm by arm, on terminals of 80 columns and fewer.
    """
    from rich.console import Group
    from rich.text import Text

    judged = arm_series(run, headline(run).name) if run.levels else ()
    if not judged:
        return Text(f"{plain(run.name)}: no level has finished yet", overflow="fold")
    names = {line.index: plain(line.label) for line in judged}
    last = endings(run)
    parts = [
        Text(_heading(run), "bold", overflow="fold"),
        "",
        _Levels(_with_unit(headline(run)), names, tuple(_level_columns(run, judged))),
        Text(f"\n{_where(last)}", "bold"),
        _stacked(names, _ending_columns(headline(run), last), stacks=NARROW),
        *_remarks(run),
    ]
    return Group(*(Text(part, overflow="fold") if isinstance(part, str) else part for part in parts))


@dataclass(frozen=True)
class _Levels:
    """The table of means, which says so where it leaves levels out."""

    title: str
    names: Mapping[int, str]
    columns: tuple[Column, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """With as many levels as fit, the first and the last among them, evenly between."""
        from rich.text import Text

        for most in range(len(self.columns), 0, -1):
            table = _stacked(self.names, _evenly(self.columns, most), justify="left")
            if table.width <= options.max_width or most <= _LEAST:
                fewer = f", {most} of {len(self.columns)} levels; the report has all"
                yield Text(f"{self.title}{fewer if most < len(self.columns) else ''}", "bold", overflow="fold")
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


def _with_unit(quantity: Quantity) -> str:
    return f"{plain(quantity.label)} (%)" if quantity.unit == "share" else plain(quantity.label)


def _level_columns(run: RunResult, judged: Sequence[Series]) -> list[Column]:
    main = headline(run)
    differences = {line.index: line for line in difference_series(run, main.name)}
    columns: list[Column] = []
    for level in sorted({point.place for line in judged for point in line.points}):
        here = {line.index: point for line in judged if (point := line.at(level)) is not None}
        compared = {index: line.at(level) for index, line in differences.items()}
        cells = {index: f"{_mean(main, point)}{_star(compared.get(index))}" for index, point in here.items()}
        columns.append(Column(level_name(level, (point.x for point in here.values())).rjust(7), cells))
    return columns


def _mean(quantity: Quantity, point: Point) -> str:
    mean = point.estimate.mean
    return f"{100 * mean:6.2f}" if quantity.unit == "share" else number(quantity, mean).rjust(6)


def _star(difference: Point | None) -> str:
    return "*" if difference is not None and difference.is_found else ""


def _where(last: Sequence[Ending]) -> str:
    densities = {density(ending.accuracy.x) for ending in last}
    return f"at lambda = {densities.pop()}" if len(densities) == 1 else "at the last level of each arm"


def _ending_columns(main: Quantity, last: Sequence[Ending]) -> list[Column]:
    compared = {ending.index: ending for ending in last if ending.difference is not None}
    means = {ending.index: ending.accuracy_text.replace("\u00b1", "+-") for ending in last}
    columns = [Column(f"{plain(main.label)},\nmean +- sd", means)]
    if len({density(ending.accuracy.x) for ending in last}) > 1:
        columns.insert(0, Column("lambda", {ending.index: density(ending.accuracy.x) for ending in last}))
    if compared:
        unit = unit_of_change(main)
        against = {index: plain(str(ending.reference)) for index, ending in compared.items()}
        points = {index: _interval(main, ending.difference) for index, ending in compared.items()}
        chances = {index: _chance(ending.difference) for index, ending in compared.items()}
        head = f"difference,\n{unit} [95 %]" if unit else "difference\n[95 %]"
        columns += [Column("minus\nreference", against), Column(head, points), Column("p,\nHolm", chances)]
    quantities = dict.fromkeys(quantity for ending in last for quantity in ending.others)
    return [*columns, *(_measured(quantity, last) for quantity in quantities)]


def _interval(main: Quantity, difference: Point | None) -> str:
    return "" if difference is None else interval(main, difference.estimate)


def _chance(difference: Point | None) -> str:
    return "" if difference is None or difference.p is None else f"{chance(difference.p)}{_star(difference)}"


def _measured(quantity: Quantity, last: Sequence[Ending]) -> Column:
    found = {ending.index: ending.others[quantity] for ending in last if quantity in ending.others}
    cells = {index: number(quantity, point.estimate.mean) for index, point in found.items()}
    return Column(plain(quantity.label), cells)


def _remarks(run: RunResult) -> list[str]:
    lines = difference_series(run, headline(run).name)
    points = [point for line in lines for point in line.points]
    if not points:
        return []
    if all(point.estimate.low is None for point in points):
        return ["n=1: no interval"]
    said = [f"*: p < 0.05, {family(run)}"] if any(point.is_found for point in points) else []
    return [*said, *([] if all(line.paired for line in lines) else [f"differences are {pairing(lines)}"])]
