"""What each diagnostic measured, against density."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from budbreak.diagnostics import Quantity
from budbreak.reporting.estimate import Series, arm_series, diagnosed
from budbreak.reporting.figures.figure import Figure, slug
from budbreak.reporting.figures.lines import arms_of, line_chart, line_rows, line_table, line_words
from budbreak.reporting.figures.measure import Measure
from budbreak.reporting.wording import capital
from budbreak.studies import RunResult

_PANELS = 3  # of a diagnostic with more numbers the first ones are drawn; the tables of levels have all
Part = tuple[Measure, tuple[Series, ...]]


def diagnostics(run: RunResult) -> list[Figure]:
    """One figure per diagnostic, a panel for each of its first numbers."""
    return [_figure(run, group) for group in diagnosed(run)]


def _figure(run: RunResult, group: Sequence[Quantity]) -> Figure:
    every = [(Measure(quantity), arm_series(run, quantity.name)) for quantity in group]
    parts: list[Part] = [(measure, series) for measure, series in every if series][:_PANELS]
    columns = [(line, measure) for measure, series in parts for line in series]
    first = group[0]
    return Figure(
        slug(first.name),
        f"{capital(first.group or first.label)} against density",
        " ".join(f"{capital(m.quantity.label)}: {m.quantity.about}" for m, _ in parts if m.quantity.about),
        " ".join(f"{measure.label}: {line_words(series, measure)}" for measure, series in parts),
        {slug(measure.quantity.name): line_rows(series, measure) for measure, series in parts},
        lambda width: _chart(parts, width),
        line_table([(f"{line.label}, {measure.quantity.label}", line, measure) for line, measure in columns]),
        {name: place for _, series in parts for name, place in arms_of(series).items()},
        place="full" if len(parts) > 1 else "half",
    )


def _chart(parts: Sequence[Part], width: float) -> alt.ConcatChart:
    columns = len(parts) if width > 450 else 1
    size = (width / columns - 50, 190 if width > 450 else 150)
    panels = [line_chart(slug(measure.quantity.name), series, measure, size, titled=True) for measure, series in parts]
    return alt.concat(*panels, columns=columns, spacing=14)
