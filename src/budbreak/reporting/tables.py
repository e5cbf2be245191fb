"""Means and differences as tables: for the page, in LaTeX and in Markdown."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from budbreak.diagnostics import Quantity
from budbreak.reporting.estimate import Point, Series, arm_series, difference_series
from budbreak.reporting.summary import family, pairing
from budbreak.reporting.wording import UNITS, capital, count, interval, level_name, plain, spread, unit_of_change
from budbreak.studies import RunResult

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
    """For each quantity that was measured, its means, and its differences where arms have references."""
    found = [table for quantity in run.quantities for table in (means(run, quantity), differences(run, quantity))]
    return [table for table in found if table.rows]


def means(run: RunResult, quantity: Quantity) -> Table:
    """Mean and standard deviation of each arm at each density, with a star where its difference is found."""
    lines = arm_series(run, quantity.name)
    note = f"Means and standard deviations over {_seeds(lines)}.{_legend(run, quantity)}"
    heading = _heading(quantity.label, UNITS.get(quantity.unit, ""))
    return table_of(mean_columns(run, quantity), quantity.name, heading, note)


def mean_columns(run: RunResult, quantity: Quantity) -> list[Column]:
    """Those of `means`."""
    lines = arm_series(run, quantity.name)
    compared = {line.index: line for line in difference_series(run, quantity.name)}
    several = len({point.estimate.n for line in lines for point in line.points}) > 1

    def cell(line: Series, point: Point) -> str:
        other = compared[line.index].at(point.place) if line.index in compared else None
        size = f" (n = {point.estimate.n})" if several else ""
        return spread(quantity, [value for _, value in point.values]) + _star(other) + size

    return [(line.label, line, functools.partial(cell, line)) for line in lines]


def differences(run: RunResult, quantity: Quantity) -> Table:
    """Each arm minus its reference at each density, with its interval, and a star where it is found."""
    lines = difference_series(run, quantity.name)
    known = any(point.estimate.low is not None for line in lines for point in line.points)
    how = f"Means over {_seeds(lines)}, {pairing(lines)}" + (
        ", with 95 % intervals." if known else "; n=1: no interval."
    )
    references = {str(line.reference) for line in lines}
    whose = f" from {references.pop()}" if len(references) == 1 else ""
    heading = _heading(f"difference in {quantity.label}{whose}", unit_of_change(quantity))

    def cell(point: Point) -> str:
        return interval(quantity, point.estimate) + _star(point)

    named = [(line.label if whose else f"{line.label} \u2212 {line.reference}", line, cell) for line in lines]
    return table_of(named, f"{quantity.name}_difference", heading, f"{how}{_legend(run, quantity)}")


def table_of(columns: Sequence[Column], key: str = "", heading: str = "", note: str = "") -> Table:
    """A row per place of any column."""
    places: dict[int, list[float]] = {}
    for point in (point for _, line, _ in columns for point in line.points):
        places.setdefault(point.place, []).append(point.x)
    rows = [
        (
            level_name(place, places[place]),
            *(cell(p) if (p := line.at(place)) else MISSING for _, line, cell in columns),
        )
        for place in sorted(places)
    ]
    return Table(("\u03bb", *(name for name, _, _ in columns)), tuple(rows), key, heading, note)


def _seeds(lines: Sequence[Series]) -> str:
    found = sorted({point.estimate.n for line in lines for point in line.points})
    return f"{found[0]} to {found[-1]} seeds" if len(found) > 1 else count(max(found, default=0), "seed")


def _heading(label: str, unit: str) -> str:
    return capital(f"{label} ({unit})" if unit else label)


def _star(difference: Point | None) -> str:
    return "*" if difference and difference.is_found else ""


def _legend(run: RunResult, quantity: Quantity) -> str:
    lines = difference_series(run, quantity.name)
    found = any(point.is_found for line in lines for point in line.points)
    return f" *: p < 0.05 against the reference, {family(run, quantity)}." if found else ""


def to_latex(table: Table, name: str, label: str) -> str:
    """A table as floats of as many arms as fit a page, under the name of its run."""
    return _render("table.tex", _latex, table=table, name=name, label=label)


def to_markdown(runs: Sequence[RunResult]) -> str:
    """The tables of all runs, each under its name."""
    return _render("tables.md", _markdown, runs=[(run.name, tables(run)) for run in runs])


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
