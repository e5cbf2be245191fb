"""Runs as tables: records for CSV and JSON, means and differences for the page, LaTeX and Markdown."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from budbreak.diagnostics import Quantity
from budbreak.report.estimate import Series, arm_series, difference_series
from budbreak.report.summary import family, pairing
from budbreak.report.wording import UNITS, capital, count, interval, level_name, plain, spread, unit_of_change
from budbreak.studies import LevelResult, RunResult

Row = dict[str, object]
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

    key: str
    heading: str
    note: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

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
    compared = {line.index: line for line in difference_series(run, quantity.name)}
    seeds = {point.estimate.n for line in lines for point in line.points}

    def cell(line: Series, place: int) -> str:
        point, other = line.at(place), compared.get(line.index)
        if point is None:
            return MISSING
        size = f" (n = {point.estimate.n})" if len(seeds) > 1 else ""
        return spread(quantity, [value for _, value in point.values]) + _star(other, place) + size

    several = "n seeds" if len(seeds) > 1 else count(max(seeds, default=0), "seed")
    note = f"Means and standard deviations over {several}.{_legend(run, quantity)}"
    heading = _heading(quantity.label, UNITS.get(quantity.unit, ""))
    return _table((quantity.name, heading, note), {line.label: line for line in lines}, cell)


def differences(run: RunResult, quantity: Quantity) -> Table:
    """Each arm minus its reference at each density, with its interval, and a star where it is found."""
    lines = difference_series(run, quantity.name)
    seeds = sorted({point.estimate.n for line in lines for point in line.points})

    def cell(line: Series, place: int) -> str:
        point = line.at(place)
        return MISSING if point is None else interval(quantity, point.estimate) + _star(line, place)

    known = any(point.estimate.low is not None for line in lines for point in line.points)
    over = f"{seeds[0]} to {seeds[-1]} seeds" if len(seeds) > 1 else count(max(seeds, default=0), "seed")
    how = f"Means over {over}, {pairing(lines)}" + (", with 95 % intervals." if known else "; n=1: no interval.")
    references = {str(line.reference) for line in lines}
    whose = f" from {references.pop()}" if len(references) == 1 else ""
    heading = _heading(f"difference in {quantity.label}{whose}", unit_of_change(quantity))
    named = {line.label if whose else f"{line.label} \u2212 {line.reference}": line for line in lines}
    return _table((f"{quantity.name}_difference", heading, f"{how}{_legend(run, quantity)}"), named, cell)


def _heading(label: str, unit: str) -> str:
    return capital(f"{label} ({unit})" if unit else label)


def _star(line: Series | None, place: int) -> str:
    point = line.at(place) if line else None
    return "*" if point and point.is_found else ""


def _legend(run: RunResult, quantity: Quantity) -> str:
    lines = difference_series(run, quantity.name)
    found = any(point.is_found for line in lines for point in line.points)
    return f" *: p < 0.05 against the reference, {family(run, quantity)}." if found else ""


def _table(names: tuple[str, str, str], lines: Mapping[str, Series], cell: Callable[[Series, int], str]) -> Table:
    places: dict[int, list[float]] = {}
    for line in lines.values():
        for point in line.points:
            places.setdefault(point.place, []).append(point.x)
    rows = (
        (level_name(place, places[place]), *(cell(line, place) for line in lines.values())) for place in sorted(places)
    )
    return Table(*names, ("\u03bb", *lines), tuple(rows))


def to_latex(table: Table, name: str, label: str) -> str:
    """A table as floats of as many arms as fit a page, under the name of its run."""
    return _render("table.tex", _latex, table=table, name=name, label=label)


def to_markdown(runs: Sequence[RunResult]) -> str:
    """The tables of all runs, each under its name."""
    return _render("tables.md", _markdown, runs=[(run.name, tables(run)) for run in runs])


def _render(template: str, escape: Callable[[object], str], **values: object) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("budbreak.report"),
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


def level_rows(runs: Sequence[RunResult]) -> list[Row]:
    """One row per run, arm, seed and level; every row has the same columns, None where a run lacks a quantity."""
    measured = {name for run in runs for level in run.levels for name in level.numbers}
    names = [name for name in dict.fromkeys(q.name for run in runs for q in run.quantities) if name in measured]
    return [_level_row(run, level, names) for run in runs for level in run.levels]


def _level_row(run: RunResult, level: LevelResult, names: Sequence[str]) -> Row:
    plain_fields = ("level", "kept", "total", "density", "density_all")
    return {
        "run": run.name,
        "identity": run.identity,
        "arm": level.arm,
        "reference": next(arm.reference for arm in run.arms if arm.name == level.arm),
        "seed": level.seed,
        **{field: getattr(level, field) for field in plain_fields},
        **{name: level.numbers.get(name) for name in names},
        **{field: getattr(level, field) for field in ("epochs", "steps", "seconds", "shared")},
        "invariants_held": all(level.invariants.values()),
        "invariants_broken": "; ".join(name for name, held in level.invariants.items() if not held),
        "notes": "; ".join(level.notes),
    }


def difference_rows(runs: Sequence[RunResult]) -> list[Row]:
    """One row per difference; shares, not points; ``p_adjusted`` by Holm's correction; ``test``: paired or Welch."""
    return [
        {
            "run": run.name,
            "identity": run.identity,
            **asdict(row),
            "test": "paired" if row.n_reference is None else "Welch",
        }
        for run in runs
        for row in run.differences
    ]


def to_csv(rows: Sequence[Mapping[str, object]]) -> str:
    r"""Rows as CSV with a header; floats by their shortest exact form, None as an empty field.

    >>> to_csv([{"arm": "a, b", "density": 0.1, "low": None}])
    'arm,density,low\n"a, b",0.1,\n'
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    if rows:
        writer.writerow(rows[0])
        writer.writerows(row.values() for row in rows)
    return stream.getvalue()


def to_json(rows: Sequence[Mapping[str, object]]) -> list[Row]:
    """Rows for a JSON file: what is not finite becomes null, since JSON has no word for it."""
    return [{key: _finite(value) for key, value in row.items()} for row in rows]


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
