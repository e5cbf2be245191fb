"""A run on the terminal: what it is judged by, level by level, then where each arm ends; by rich."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from budbreak.reporting.compacted import compacted
from budbreak.reporting.estimate import Point, Series, arm_series, difference_series, headline
from budbreak.reporting.layout import NARROW, Stacked
from budbreak.reporting.summary import endings, remarks
from budbreak.reporting.tables import MISSING, Table, star, table_of
from budbreak.reporting.wording import count, named, plain_lines
from budbreak.results import RunResult

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

_MOST_REMARKS = 8
_LEAST = 2  # levels of a table that leaves others out: the first and the last
_SIGNS = {"\u00b1": "+-", "\u03bb": "lambda", "\u2212": "-", MISSING: ""}  # not every terminal has them


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
        return Text(f"{_text(run.name)}: no level has finished yet", overflow="fold")
    last = endings(run)
    heading = f"{run.name}: means over {count(len({row.seed for row in run.levels}), 'seed')}"
    return Group(
        Text(_text(heading if run.complete else f"{heading}\nINTERRUPTED: tasks are missing"), "bold", overflow="fold"),
        "",
        _Levels(_text(named(headline(run))), _means(run, judged)),
        *_stacked(last),
        *_stacked(compacted(run)),
        *_remarks(run),
    )


def _stacked(table: Table) -> list[RenderableType]:
    """A table under its heading; nothing without rows."""
    from rich.text import Text

    if not table.rows:
        return []
    rows = tuple(tuple(map(_text, row)) for row in table.rows)
    heading, note = Text(f"\n{_text(table.heading)}", "bold"), Text(_text(table.note), overflow="fold")
    return [heading, Stacked(tuple(map(_text, table.header)), rows, NARROW), *([note] if table.note else [])]


def _remarks(run: RunResult) -> list[RenderableType]:
    """The first of them, each with its places."""
    from rich.text import Text

    found = remarks(run)
    lines = [f"{where}: {text}" for text, where in found[:_MOST_REMARKS]]
    if len(found) > len(lines):
        lines.append(f"and {len(found) - len(lines)} more; the report has all")
    heading = [Text("\nRemarks", "bold")] if lines else []
    return [*heading, *(Text(_text(line), overflow="fold") for line in lines)]


def _text(text: str) -> str:
    for sign, plain in _SIGNS.items():
        text = text.replace(sign, plain)
    return plain_lines(text)


@dataclass(frozen=True)
class _Levels:
    """A table with a row per level, turned; it says so where it leaves levels out."""

    title: str
    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """With as many levels as fit, the first and the last among them, evenly between."""
        from rich.text import Text

        levels = len(self.table.rows)
        for most in range(levels, 0, -1):
            arm, *turned = zip(self.table.header, *_evenly(self.table.rows, most), strict=True)
            table = Stacked(("arm", *(level.rjust(7) for level in arm[1:])), tuple(turned), justify="left")
            if table.width <= options.max_width or most <= _LEAST:
                fewer = f", {most} of {levels} levels; the report has all" if most < levels else ""
                yield Text(f"{self.title}{fewer}", "bold", overflow="fold")
                yield table
                return


def _evenly(rows: Sequence[tuple[str, ...]], most: int) -> list[tuple[str, ...]]:
    if len(rows) <= most:
        return list(rows)
    step = (len(rows) - 1) / (most - 1)
    return [rows[round(place * step)] for place in range(most)]


def _means(run: RunResult, judged: Sequence[Series]) -> Table:
    main = headline(run)
    compared = {line.index: line for line in difference_series(run, main.name)}

    def cell(line: Series, point: Point) -> str:
        found = compared[line.index].at(point.place) if line.index in compared else None
        mean = point.estimate.mean
        return (f"{100 * mean:6.2f}" if main.unit == "share" else f"{mean:6,.5g}") + star(found)

    table = table_of([(_text(line.label), line, functools.partial(cell, line)) for line in judged])
    return Table(table.header, tuple(tuple("" if cell == MISSING else cell for cell in row) for row in table.rows))
