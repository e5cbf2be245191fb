"""Means and differences as tables: for the page, in LaTeX and in Markdown."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from budbreak.diagnostics import Quantity
from budbreak.reporting.estimate import DENSITY, Point, Series, arm_series, difference_series, family, pairing
from budbreak.reporting.wording import (
    UNITS,
    capital,
    count,
    interval,
    level_names,
    named,
    plain,
    spread,
    titled,
    unit_of_change,
)
from budbreak.results import RunResult, is_compaction

Column = tuple[str, Series, Callable[[Point], str]]
"""Its name, what it lists, and how a point is written."""

_LINE = 60  # characters beside the first column, in a line of a paper
MISSING = "\u2013"
_LATEX = {sign: f"\\{sign}" for sign in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "\u03bb": r"$\lambda$",
    "\u00b1": r"$\pm$",
    "\u2212": "$-$",
    MISSING: "--",
}


@dataclass(frozen=True)
class Table:
    """Text in rows under a header; the first cell of each row names it.

    Args:
        key: names it in files.
        heading: what it shows; ``note``: how to read it.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    key: str = ""
    heading: str = ""
    note: str = ""

    @property
    def side_by_side(self) -> int:
        """How many columns fit a page of print beside the first."""
        return max(1, _LINE // (3 + max(len(cell) for row in (self.header, *self.rows) for cell in row[1:])))


def tables(run: RunResult) -> list[Table]:
    """For each quantity that was measured, its means, and its differences where arms have references.

    What compacted networks measure is a table of its own.
    """
    own = [quantity for quantity in run.quantities if not is_compaction(quantity.name)]
    found = [table for quantity in own for table in (means(run, quantity), differences(run, quantity))]
    return [table for table in found if table.rows]


def means(run: RunResult, quantity: Quantity) -> Table:
    """Mean and standard deviation of each arm at each density, with a star where its difference is found."""
    lines = arm_series(run, quantity.name)
    compared = {line.index: line for line in difference_series(run, quantity.name)}
    several = len({point.estimate.n for line in lines for point in line.points}) > 1

    def cell(line: Series, point: Point) -> str:
        other = compared[line.index].at(point.place) if line.index in compared else None
        size = f" (n = {point.estimate.n})" if several else ""
        return spread(quantity, [value for _, value in point.values]) + star(other) + size

    table = table_of([(line.label, line, functools.partial(cell, line)) for line in lines])
    note = f"Means and standard deviations over {_seeds(lines)}.{_legend(run, quantity)}"
    return replace(table, key=quantity.name, heading=capital(named(quantity)), note=note)


def differences(run: RunResult, quantity: Quantity) -> Table:
    """Each arm minus its reference at each density, with its interval, and a star where it is found."""
    lines = difference_series(run, quantity.name)
    known = any(point.estimate.low is not None for line in lines for point in line.points)
    how = f"{pairing(lines)}, with 95 % intervals." if known else f"{pairing(lines)}; n=1: no interval."
    references = {str(line.reference) for line in lines}
    whose = f" from {references.pop()}" if len(references) == 1 else ""
    table = table_of(difference_columns(lines, lambda point: interval(quantity, point.estimate) + star(point)))
    return replace(
        table,
        key=f"{quantity.name}_difference",
        heading=capital(titled(f"difference in {quantity.label}{whose}", unit_of_change(quantity))),
        note=f"Means over {_seeds(lines)}, {how}{_legend(run, quantity)}",
    )


def difference_columns(lines: Sequence[Series], cell: Callable[[Point], str]) -> list[Column]:
    """A column per series, which says what it is compared with unless that is the same for all."""
    alone = len({line.reference for line in lines}) == 1
    return [(line.label if alone else f"{line.label} \u2212 {line.reference}", line, cell) for line in lines]


def table_of(columns: Sequence[Column]) -> Table:
    """A row per place of any column; all lie on one axis."""
    axis = next((line.axis for _, line, _ in columns), DENSITY)
    places = sorted({(point.place, point.x) for _, line, _ in columns for point in line.points})
    names = level_names(places) if axis == DENSITY else {place: f"{axis.shown(x):g}" for place, x in places}
    found = {
        ((names[place],), name): cell(point)
        for place in names
        for name, line, cell in columns
        if (point := line.at(place))
    }
    corner = "\u03bb" if axis == DENSITY else titled(axis.label, UNITS.get(axis.unit, ""))
    return pivot((corner,), [name for name, *_ in columns], found)


def pivot(corner: tuple[str, ...], columns: Sequence[str], found: Mapping[tuple[tuple[str, ...], str], str]) -> Table:
    """Cells, by what names their row and by their column, in the order of their rows; gaps are marked."""
    rows = dict.fromkeys(row for row, _ in found)
    body = ((*row, *(found.get((row, column), MISSING) for column in columns)) for row in rows)
    return Table((*corner, *columns), tuple(body))


def _seeds(lines: Sequence[Series]) -> str:
    found = sorted({point.estimate.n for line in lines for point in line.points})
    return f"{found[0]} to {found[-1]} seeds" if len(found) > 1 else count(max(found, default=0), "seed")


def star(difference: Point | None) -> str:
    """What marks a difference that is told from chance."""
    return "*" if difference and difference.is_found else ""


def _legend(run: RunResult, quantity: Quantity) -> str:
    lines = difference_series(run, quantity.name)
    found = any(point.is_found for line in lines for point in line.points)
    return f" *: p < 0.05 against the reference, {family(run, quantity)}." if found else ""


def to_latex(table: Table, name: str, label: str) -> str:
    """A table as floats of as many arms as fit a page, under the name of its run."""
    return _render("table.tex", _latex, table=table, name=name, label=label)


def to_markdown(runs: Sequence[tuple[str, Sequence[Table]]]) -> str:
    """The tables of runs, each under its name."""
    return _render("tables.md", _markdown, runs=runs)


def _render(template: str, escape: Callable[[object], str], **values: object) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("budbreak.reporting"),
        undefined=StrictUndefined,
        finalize=escape,  # of whatever stands in << >>
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(values)


def _latex(value: object) -> str:
    r"""A text as itself, with true minus signs before digits.

    >>> _latex("50 % & a_b\\c -0.1 \u00b1 2")
    '50 \\% \\& a\\_b\\textbackslash{}c $-$0.1 $\\pm$ 2'
    """
    signs = re.sub(r"(?<![\w.-])-(?=\d)", "\u2212", plain(str(value)))
    return "".join(_LATEX.get(letter, letter) for letter in signs)


def _markdown(value: object) -> str:
    r"""A text as itself, whatever Markdown would make of it.

    >>> _markdown("a|b_c [x](y) <i> 1*")
    'a\\|b\\_c [x\\](y) &lt;i> 1\\*'
    """
    escaped = re.sub(r"[\\`*_|~#]|\](?=[(\[])", r"\\\g<0>", plain(str(value)))
    return escaped.replace("&", "&amp;").replace("<", "&lt;")
