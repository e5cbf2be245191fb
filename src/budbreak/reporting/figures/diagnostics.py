"""What each diagnostic measured, against density."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from budbreak.diagnostics import Quantity
from budbreak.reporting.estimate import arm_series, diagnosed
from budbreak.reporting.figures.figure import Figure, slug
from budbreak.reporting.figures.lines import Lines
from budbreak.reporting.tables import table_of
from budbreak.reporting.wording import capital
from budbreak.results import RunResult

_PANELS = 3  # of a diagnostic with more numbers the first ones are drawn; the tables of levels have all


def diagnostics(run: RunResult) -> list[Figure]:
    """One figure per diagnostic, a panel for each of its first numbers."""
    return [_figure(run, group) for group in diagnosed(run)]


def _figure(run: RunResult, group: Sequence[Quantity]) -> Figure:
    every = [Lines(f"measured-{slug(one.name)}", one, arm_series(run, one.name)) for one in group]
    parts = [lines for lines in every if lines.series][:_PANELS]
    columns = [(f"{name}, {lines.quantity.label}", line, cell) for lines in parts for name, line, cell in lines.columns]
    return Figure(
        f"measured-{slug(group[0].name)}",
        f"{capital(group[0].group or group[0].label)} against density",
        " ".join(f"{capital(p.quantity.label)}: {p.quantity.about}" for p in parts if p.quantity.about),
        " ".join(f"{lines.label}: {lines.words}" for lines in parts),
        {name: rows for lines in parts for name, rows in lines.data.items()},
        lambda width: _chart(parts, width),
        table_of(columns),
        {name: place for lines in parts for name, place in lines.arms.items()},
        place="full" if len(parts) > 1 else "half",
    )


def _chart(parts: Sequence[Lines], width: float) -> alt.ConcatSpecGenericSpec:
    columns, height = (len(parts), 190) if width > 450 else (1, 150)
    panels = [lines.plot(width / columns - 50, height, titled=True) for lines in parts]
    return alt.ConcatSpecGenericSpec(concat=panels, columns=columns, spacing=14)
