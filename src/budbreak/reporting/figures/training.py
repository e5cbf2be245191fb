"""Quantities over the training of each level: one small plot per level, on common axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

import altair as alt

from budbreak.diagnostics import Quantity
from budbreak.reporting.estimate import diagnosed
from budbreak.reporting.figures.figure import SHOWN, Figure, Row, slug
from budbreak.reporting.figures.lines import arm_key, arm_styles
from budbreak.reporting.figures.measure import Measure, near_zero
from budbreak.reporting.tables import MISSING, Table
from budbreak.reporting.wording import level_name, number
from budbreak.studies import VALIDATION_ACCURACY, RunResult

_DRAWN = 3  # quantities of each diagnostic
_PLACES = 26  # to point at in a plot: more would be too narrow to hit


def training(run: RunResult) -> list[Figure]:
    """Accuracy and what diagnostics measured, by epoch, means over seeds; all figures read the same rows."""
    quantities = [VALIDATION_ACCURACY, *(quantity for group in diagnosed(run) for quantity in group[:_DRAWN])]
    rows = _rows(run, quantities)
    return [_figure(run, q, rows) for q in quantities if any(row[q.name] is not None for row in rows)]


def _rows(run: RunResult, quantities: Sequence[Quantity]) -> list[Row]:
    found: dict[tuple[int, int, int], list[Row]] = {}
    densities: dict[int, set[float]] = {}
    for level in run.levels:
        densities.setdefault(level.level, set()).add(level.density)
        for epoch in level.curve:
            key = (level.level, run.arm_names.index(level.arm), epoch.epoch)
            found.setdefault(key, []).append(epoch.numbers)
    names = {level: level_name(level, shares) for level, shares in densities.items()}
    return [
        {"arm": arm_key(arm), "level": names[level], "epoch": epoch} | {q.name: _mean(q, numbers) for q in quantities}
        for (level, arm, epoch), numbers in sorted(found.items())
    ]


def _mean(quantity: Quantity, numbers: Sequence[Row]) -> float | None:
    values = [row[quantity.name] for row in numbers if math.isfinite(row.get(quantity.name, math.nan))]
    return Measure(quantity).value(fmean(values)) if values else None


def _figure(run: RunResult, quantity: Quantity, every: Sequence[Row]) -> Figure:
    rows = [row for row in every if row[quantity.name] is not None]
    arms = {arm: place for place, arm in enumerate(run.arm_names) if any(row["arm"] == arm_key(place) for row in rows)}
    return Figure(
        f"training-{slug(quantity.name)}",
        quantity.label,
        "Means over seeds; epoch 0 is right after rewinding, before any training.",
        f"{Measure(quantity).label} over training, by level and arm.",
        {"training": every},
        lambda width: _chart(quantity, rows, arms, width),
        _table(quantity, rows, arms),
        arms,
        "Over training",
        place="full",
    )


def _chart(quantity: Quantity, rows: Sequence[Row], arms: dict[str, int], width: float) -> alt.FacetChart:
    levels, styles, measure = list(dict.fromkeys(row["level"] for row in rows)), arm_styles(arms), Measure(quantity)
    rows_needed = -(-len(levels) // max(2, int(width / 150)))
    columns = -(-len(levels) // rows_needed)
    size = ((width - 50) / columns - 16, 70)
    base = alt.Chart().transform_filter(SHOWN).transform_filter(f"isValid(datum[{quantity.name!r}])")
    epochs = sorted({row["epoch"] for row in rows})
    x = alt.X(
        "epoch:Q", title=None, scale=alt.Scale(nice=False), axis=alt.Axis(tickCount=3, tickMinStep=1, labelFlush=True)
    )
    zero = near_zero([row[quantity.name] for row in rows])
    y = alt.Y(f"{quantity.name}:Q", title=None, scale=alt.Scale(zero=zero), axis=alt.Axis(tickCount=3, format="~r"))
    lines = base.mark_line(strokeWidth=1.5).encode(x=x, y=y, color=styles["color"], strokeDash=styles["strokeDash"])
    step = -(-len(epochs) // _PLACES)
    said = [alt.Tooltip("level:N", title="\u03bb"), alt.Tooltip("epoch:Q", title="epoch")]
    said += [alt.Tooltip(f"{arm_key(place)}:Q", title=arm, format=".5~g") for arm, place in arms.items()]
    wide = base.transform_filter(f"datum.epoch % {step} == 0").transform_pivot(
        "arm", value=quantity.name, groupby=["level", "epoch"]
    )
    places = wide.mark_rule(opacity=0, strokeWidth=step * size[0] / len(epochs)).encode(x=x, tooltip=said)
    both = alt.layer(lines, places, data=alt.NamedData("training"), width=size[0], height=size[1])
    head = alt.Facet("level:N", sort=levels, title=f"{measure.label} by epoch, at each density")
    return both.facet(facet=head, columns=columns, spacing=16).resolve_axis(x="independent")


def _table(quantity: Quantity, rows: Sequence[Row], arms: dict[str, int]) -> Table:
    places = dict.fromkeys((row["level"], row["epoch"]) for row in rows)
    found = {(row["level"], row["epoch"], row["arm"]): row[quantity.name] for row in rows}
    scale = 100 if quantity.unit == "share" else 1

    def text(*place: object) -> str:
        return number(quantity, found[place] / scale) if place in found else MISSING  # pyright: ignore

    body = (
        (level, str(epoch), *(text(level, epoch, arm_key(arm)) for arm in arms.values())) for level, epoch in places
    )
    return Table(("\u03bb", "epoch", *arms), tuple(body))
