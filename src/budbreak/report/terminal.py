"""A run as plain text for a terminal: never wider than 80 columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from budbreak.report.estimate import Point, Series, arm_series, difference_series
from budbreak.report.wording import count, density, interval, percent, plain
from budbreak.studies import RunResult

WIDTH = 80
_GAP = 2
_NAME, _RUN_NAME = 20, 40  # longer names are shortened; the page has them whole


@dataclass(frozen=True)
class Column:
    """A header of two lines over one cell per level."""

    top: str
    bottom: str
    cells: Mapping[int, str]

    @property
    def width(self) -> int:
        """The widest of all its lines."""
        return max(map(len, (self.top, self.bottom, *self.cells.values())))


def terminal_table(run: RunResult) -> str:
    """The levels of a run as plain text, from dense to sparse, at most 80 columns wide.

    Columns: test accuracy of each arm (mean over seeds), each arm minus the reference with its 95 % interval in
    points, and the dead neuron rate of each arm as total / static / dynamic. Where that does not
    fit beside the densities, the dead neuron rates have a table of their own below.
    """
    first = _density_column(run)
    if not first.cells:
        return f"{_short(run.name, _RUN_NAME)}: no level has finished yet"
    columns = [_accuracy_column(series) for series in arm_series(run, "test_accuracy")]
    reference = _short(run.arms[0])
    columns += [_difference_column(series, reference) for series in difference_series(run, "test_accuracy")]
    tables = [_table(first, group) for group in _groups(first, columns, _dnr_columns(run))]
    return "\n\n".join([_heading(run), *tables])


def _heading(run: RunResult) -> str:
    text = f"{_short(run.name, _RUN_NAME)}: means over {count(len({row.seed for row in run.levels}), 'seed')}"
    if not run.complete:
        text += "\nINTERRUPTED: jobs are missing"
    return text


def _short(name: str, longest: int = _NAME) -> str:
    clean = plain(name)
    return clean if len(clean) <= longest else f"{clean[: longest - 3]}..."


def _density_column(run: RunResult) -> Column:
    levels = {row.level: f"lambda = {density(row.density)}" for row in run.levels}
    widest = max((len(text) for text in levels.values()), default=0)
    aligned = {level: text.replace("= ", "= " + " " * (widest - len(text))) for level, text in levels.items()}
    return Column("remaining", "weights", dict(sorted(aligned.items())))


def _accuracy_column(series: Series) -> Column:
    return Column(_short(series.label), "accuracy", _cells(series.points, lambda p: percent(p.estimate.mean)))


def _difference_column(series: Series, reference: str) -> Column:
    top = f"{_short(series.label)} - {reference}"
    return Column(top, "points [95 %]", _cells(series.points, lambda p: interval(p.estimate)))


def _dnr_columns(run: RunResult) -> list[Column]:
    parts = {name: {s.label: s for s in arm_series(run, f"dnr_{name}")} for name in ("total", "static", "dynamic")}
    columns: list[Column] = []
    for arm, total in parts["total"].items():
        cells = _cells(total.points, lambda point: f"{100 * point.estimate.mean:.1f}")
        for name, sign in (("static", " / "), ("dynamic", " / ")):
            for point in parts[name][arm].points if arm in parts[name] else ():
                cells[point.level] = f"{cells.get(point.level, '?')}{sign}{100 * point.estimate.mean:.1f}"
        columns.append(Column(_short(arm), "DNR % tot/stat/dyn", cells))
    return columns


def _cells(points: Sequence[Point], text: Callable[[Point], str]) -> dict[int, str]:
    return {point.level: text(point) for point in points}


def _groups(first: Column, *kinds: Sequence[Column]) -> list[list[Column]]:
    """All columns in one table if the width allows, else each kind in as few tables as it does."""
    together = _filled(first, [column for kind in kinds for column in kind])
    return together if len(together) == 1 else [group for kind in kinds if kind for group in _filled(first, kind)]


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
    body = [line(text, [c.cells.get(level, "") for c in columns]) for level, text in first.cells.items()]
    return "\n".join([*head, "-" * max(map(len, head + body)), *body])
