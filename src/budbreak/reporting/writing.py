"""A report on disk: the page, the tables and the figures, each whole or absent."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from budbreak.checks import check_known
from budbreak.errors import InvalidValue, one_of
from budbreak.files import write_bytes, write_json, write_text
from budbreak.reporting.compacted import tables_with
from budbreak.reporting.tables import to_latex, to_markdown
from budbreak.results import RunResult, between, difference_rows, level_rows, to_csv, to_json

if TYPE_CHECKING:
    from budbreak.reporting.figures import Figure

PAGE = "report.html"
FORMATS = ("html", "svg", "pdf", "png", "csv", "json", "tex", "md")
DEFAULT = ("html", "csv", "json")
DRAWN = ("html", "svg", "pdf", "png", "tex", "md")
INSTALL = "pip install 'budbreak[report]'"
"""What page, figures and tables need."""


def write_report(runs: Sequence[RunResult], folder: Path, *, formats: Sequence[str] | None = None) -> Path:
    """Write the report of one run, or of several compared; returns the path of the page, or the folder without one.

    Files of an earlier report of the same runs are replaced, each atomically; the page comes last.

    Args:
        runs: at least one.
        folder: made if it is not there.
        formats: what is written, of `FORMATS`: the page report.html; each figure under figures/ as SVG, PDF and PNG;
            the records as levels.csv and differences.csv, and as levels.json; means and differences
            in tables.md, and each of these tables under tables/ as LaTeX. None writes what of `DEFAULT` can be:
            without the extra ``report`` there is neither page, figure nor table.

    Raises:
        InvalidValue: without any run, or any format.
        UnknownName: if a format is none of `FORMATS`.
        CannotWrite: on a full disk or a forbidden folder.
    """
    formats = [name for name in DEFAULT if can_draw() or name not in DRAWN] if formats is None else formats
    check_formats(formats)
    if not runs:
        raise InvalidValue("there is no run to report", "a report needs at least one", "give the folder of a run")
    _write_records(runs, folder, formats)
    _write_tables(runs, folder, formats)
    _write_figures(runs, folder, formats)
    if "html" not in formats:
        return folder
    from budbreak.reporting.page import to_html

    write_text(folder / PAGE, to_html(runs))
    return folder / PAGE


def can_draw() -> bool:
    """Whether what draws figures and page is installed."""
    return all(find_spec(name) for name in ("altair", "vl_convert", "jinja2"))


def lacking() -> str:
    """What to say where page and figures cannot be drawn; empty where they can."""
    return "" if can_draw() else f" tables only; for page and figures: {INSTALL}"


def check_formats(formats: Sequence[str]) -> None:
    """Refuse what no report is written as.

    Raises:
        InvalidValue: if there is none.
        UnknownName: with the nearest one.
    """
    if not formats or isinstance(formats, str):
        rule = f"what is written is a list, and each {one_of(FORMATS)}"
        raise InvalidValue(f"formats is {formats!r}", rule, 'write formats=("html", "csv")')
    for name in formats:
        check_known(f"no format is named {name!r}", name, FORMATS)
        if name in DRAWN and not can_draw():
            raise InvalidValue(f"{name} is asked for", "it needs what the extra named report installs", INSTALL)


def _write_records(runs: Sequence[RunResult], folder: Path, formats: Sequence[str]) -> None:
    levels = level_rows(runs)
    if "csv" in formats:
        write_text(folder / "levels.csv", to_csv(levels))
        write_text(folder / "differences.csv", to_csv(difference_rows(with_comparison(runs))))
    if "json" in formats:
        write_json(folder / "levels.json", {"rows": to_json(levels)}, "levels 2")


def _write_tables(runs: Sequence[RunResult], folder: Path, formats: Sequence[str]) -> None:
    shown = with_comparison(runs)
    if "md" in formats:
        write_text(folder / "tables.md", to_markdown([(run.name, tables_with(run)) for run in shown]))
    for place, run in enumerate(shown) if "tex" in formats else ():
        prefix = f"{place}-{_slug(run.name)}-" if place else "compared-" if len(runs) > 1 else ""
        for table in tables_with(run):
            name = f"{prefix}{table.key.replace('_', '-')}"
            write_text(folder / "tables" / f"{name}.tex", to_latex(table, run.name, name))


def with_comparison(runs: Sequence[RunResult]) -> list[RunResult]:
    """The runs, and before several of them their comparison."""
    return [*([between(runs)] if len(runs) > 1 else []), *runs]


def _write_figures(runs: Sequence[RunResult], folder: Path, formats: Sequence[str]) -> None:
    wanted = [name for name in ("svg", "pdf", "png") if name in formats]
    if not wanted:
        return
    from budbreak.reporting.drawing import WIDTHS, draw

    for prefix, figure in _named_figures(runs):
        for suffix, width in WIDTHS.items():
            for name, content in draw(figure, width, wanted).items():
                write_bytes(folder / "figures" / f"{prefix}{figure.key}-{suffix}.{name}", content)


def _named_figures(runs: Sequence[RunResult]) -> Iterator[tuple[str, Figure]]:
    from budbreak.reporting.figures import compared, figures_of

    yield from (("", figure) for figure in compared(runs))
    for place, run in enumerate(runs, start=1):
        prefix = "" if len(runs) == 1 else f"{place}-{_slug(run.name)}-"
        yield from ((prefix, figure) for figure in figures_of(run))


def _slug(name: str) -> str:
    """A part of a file name that every system allows.

    >>> _slug("../ResNet-20 <CIFAR>")
    'resnet-20-cifar'
    """
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "run"
