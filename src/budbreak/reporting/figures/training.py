"""Quantities over the training of each level: one small plot per level, on common axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

import altair as alt

from budbreak.diagnostics import Quantity
from budbreak.reporting.estimate import diagnosed
from budbreak.reporting.figures.figure import Figure, Row, slug
from budbreak.reporting.figures.looks import SHOWN, arm_key, arm_styles, column_of, drawn, near_zero, telling
from budbreak.reporting.tables import MISSING, pivot
from budbreak.reporting.wording import level_names, named, number
from budbreak.results import VALIDATION_ACCURACY, RunResult

_DRAWN = 3  # quantities of each diagnostic
_PLACES = 26  # to point at in a plot: more would be too narrow to hit


def training(run: RunResult) -> list[Figure]:
    """Accuracy and what diagnostics measured, by epoch, means over seeds; all figures read the same rows."""
    quantities = [VALIDATION_ACCURACY, *(quantity for group in diagnosed(run) for quantity in group[:_DRAWN])]
    rows = _rows(run, quantities)
    return [_figure(run, q, rows) for q in quantities if any(row[column_of(q)] is not None for row in rows)]


def _rows(run: RunResult, quantities: Sequence[Quantity]) -> list[Row]:
    found: dict[tuple[int, int, int], list[Row]] = {}
    for level in run.levels:
        for epoch in level.curve:
            key = (level.level, run.arm_names.index(level.arm), epoch.epoch)
            found.setdefault(key, []).append(epoch.numbers)
    names = level_names((level.level, level.density) for level in run.levels)
    return [
        {"arm": arm_key(arm), "level": names[level], "epoch": epoch}
        | {column_of(q): mean_of(q, [row.get(q.name) for row in numbers]) for q in quantities}
        for (level, arm, epoch), numbers in sorted(found.items())
    ]


def mean_of(quantity: Quantity, values: Sequence[float | None]) -> float | None:
    """The mean of what was measured, as it is drawn."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    return drawn(quantity, fmean(known)) if known else None


def written(quantity: Quantity, value: float | None) -> str:
    """A number that is drawn, in a table."""
    return MISSING if value is None else number(quantity, value / (100 if quantity.unit == "share" else 1))


def _figure(run: RunResult, quantity: Quantity, every: Sequence[Row]) -> Figure:
    rows = [row for row in every if row[column_of(quantity)] is not None]
    names = {arm_key(place): arm for place, arm in enumerate(run.arm_names)}
    arms = {names[key]: run.arm_names.index(names[key]) for key in names if any(row["arm"] == key for row in rows)}
    found = {
        ((row["level"], str(row["epoch"])), names[row["arm"]]): written(quantity, row[column_of(quantity)])
        for row in rows
    }
    return Figure(
        f"training-{slug(quantity.name)}",
        quantity.label,
        "Means over seeds; epoch 0 is before any training of a level.",
        f"{named(quantity)} over training, by level and arm.",
        {"training": every},
        lambda width: _chart(quantity, rows, arms, width),
        pivot(("\u03bb", "epoch"), list(arms), found),
        arms,
        "Over training",
        place="full",
    )


def _chart(quantity: Quantity, rows: Sequence[Row], arms: dict[str, int], width: float) -> alt.FacetSpec:
    column, styles = column_of(quantity), arm_styles(arms)
    levels, epochs = (list(dict.fromkeys(row[name] for row in rows)) for name in ("level", "epoch"))
    columns = -(-len(levels) // -(-len(levels) // max(3, int(width / 150))))  # as many in each line
    across = (width - 50) / columns - 16
    base = alt.Chart().transform_filter(SHOWN).transform_filter(f"isValid(datum[{column!r}])")
    marks = alt.Axis(tickCount=3, tickMinStep=1, labelFlush=True)
    x = alt.X("epoch:Q", title=None, scale=alt.Scale(nice=False), axis=marks)
    scale = alt.Scale(zero=near_zero([row[column] for row in rows]))
    y = alt.Y(f"{column}:Q", title=None, scale=scale, axis=alt.Axis(tickCount=3, format="~r"))
    lines = base.mark_line(strokeWidth=1.5).encode(x=x, y=y, color=styles["color"], strokeDash=styles["strokeDash"])
    step = -(-len(epochs) // _PLACES)
    wide = base.transform_filter(f"datum.epoch % {step} == 0").transform_pivot(
        "arm", value=column, groupby=["level", "epoch"]
    )
    titles = {"level": "\u03bb", "epoch": "epoch"} | {arm_key(place): arm for arm, place in arms.items()}
    bands = wide.mark_rule(opacity=0, strokeWidth=step * across / len(epochs)).encode(x=x)
    both = alt.LayerSpec(layer=[lines, telling(bands, titles)], width=across, height=70)
    head = alt.Facet("level:N", sort=levels, title=f"{named(quantity)} by epoch, at each density")
    return alt.FacetSpec(
        facet=head,
        spec=both,
        data=alt.NamedData("training"),
        columns=columns,
        spacing=16,
        resolve=alt.Resolve(axis=alt.AxisResolveMap(x="independent")),
    )
