"""A report on disk: the page, the tables and the figures, each whole or absent."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from budbreak.errors import InvalidValue
from budbreak.files import write_bytes, write_json, write_text
from budbreak.report.curves import curve_figures
from budbreak.report.figure import Figure
from budbreak.report.figures import (
    accuracy_figure,
    compared_figure,
    cost_figure,
    diagnostic_figures,
    difference_figure,
)
from budbreak.report.heatmap import heat_figures
from budbreak.report.page import distinct_names, to_html
from budbreak.report.pdf import to_pdf
from budbreak.report.svg import to_svg
from budbreak.report.tables import difference_rows, level_rows, to_csv, to_json
from budbreak.studies import RunResult

PAGE = "report.html"


def write_report(runs: Sequence[RunResult], folder: Path) -> Path:
    """Write the report of one run, or of several compared; returns the path of the page.

    The folder then holds report.html, levels.csv and levels.json (one row per run, arm, seed and level),
    differences.csv, and each figure as SVG and PDF under figures/. Files of an earlier report of the same runs
    are replaced, each atomically; the page comes last.

    Raises:
        InvalidValue: without any run.
        CannotWrite: on a full disk or a forbidden folder.
    """
    if not runs:
        raise InvalidValue("there is no run to report", "a report needs at least one", "give the folder of a run")
    levels = level_rows(runs)
    write_text(folder / "levels.csv", to_csv(levels))
    write_json(folder / "levels.json", {"rows": to_json(levels)}, "levels 2")
    write_text(folder / "differences.csv", to_csv(difference_rows(runs)))
    for prefix, figure in _named_figures(runs):
        write_text(folder / "figures" / f"{prefix}{figure.key}.svg", to_svg(figure.paper))
        write_bytes(folder / "figures" / f"{prefix}{figure.key}.pdf", to_pdf(figure.paper))
    page = folder / PAGE
    write_text(page, to_html(runs))
    return page


def _named_figures(runs: Sequence[RunResult]) -> list[tuple[str, Figure]]:
    if len(runs) == 1:
        return [("", figure) for figure in _figures(runs[0])]
    compared = compared_figure(runs, distinct_names(runs))
    own = [
        (f"{place}-{_slug(run.name)}-", figure) for place, run in enumerate(runs, start=1) for figure in _figures(run)
    ]
    return [*([("", compared)] if compared else []), *own]


def _figures(run: RunResult) -> list[Figure]:
    single = (accuracy_figure(run), difference_figure(run), cost_figure(run))
    drawn = [figure for figure in single if figure]
    return [*drawn, *diagnostic_figures(run), *curve_figures(run), *heat_figures(run)]


def _slug(name: str) -> str:
    """A part of a file name that every system allows.

    >>> _slug("../ResNet-20 <CIFAR>")
    'resnet-20-cifar'
    """
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "run"
