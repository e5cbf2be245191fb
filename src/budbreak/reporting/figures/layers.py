"""Layers against densities, one figure per arm: which weights stay, and what diagnostics measured of each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

import altair as alt

from budbreak.diagnostics import Quantity
from budbreak.reporting.estimate import groups
from budbreak.reporting.figures.figure import Figure, Row
from budbreak.reporting.figures.heat import heat_chart, names_room
from budbreak.reporting.figures.measure import Measure
from budbreak.reporting.tables import MISSING, Table
from budbreak.reporting.wording import capital, density, number
from budbreak.studies import LayerResult, RunResult

_KEPT = Quantity("kept", "kept weights", "share")


def layers(run: RunResult) -> list[Figure]:
    """Kept weights and the first number of each diagnostic, by layer and density."""
    measured = {name for level in run.levels for layer in level.layers for name in layer.numbers}
    shown = [group[0] for group in groups(quantity for quantity in run.quantities if quantity.name in measured)]
    rows = {arm: _rows(run, arm, [_KEPT, *shown]) for arm in run.arm_names}
    return [_figure(place, arm, rows[arm], [_KEPT, *shown]) for place, arm in enumerate(run.arm_names) if rows[arm]]


def _rows(run: RunResult, arm: str, quantities: Sequence[Quantity]) -> list[Row]:
    found: dict[tuple[int, str], list[LayerResult]] = {}
    densities: dict[int, float] = {}
    for level in sorted((level for level in run.levels if level.arm == arm), key=lambda level: level.level):
        densities[level.level] = level.density
        for layer in level.layers:
            found.setdefault((level.level, layer.name), []).append(layer)
    return [
        {"layer": name, "density": density(densities[level])}
        | {quantity.name: _mean(quantity, layers) for quantity in quantities}
        for (level, name), layers in found.items()
    ]


def _mean(quantity: Quantity, found: Sequence[LayerResult]) -> float | None:
    numbers: list[Mapping[str, float]] = [{_KEPT.name: layer.kept / layer.total, **layer.numbers} for layer in found]
    values = [row[quantity.name] for row in numbers if math.isfinite(row.get(quantity.name, math.nan))]
    return Measure(quantity).value(fmean(values)) if values else None


def _figure(place: int, arm: str, rows: Sequence[Row], quantities: Sequence[Quantity]) -> Figure:
    explained = [f" {capital(quantity.label)}: {quantity.about}" for quantity in quantities if quantity.about]
    return Figure(
        f"layers-{place}",
        arm,
        f"Means over seeds; {MISSING}: no answer for this layer.{''.join(explained)}",
        f"{', '.join(quantity.label for quantity in quantities)} of {arm} by layer and density.",
        {f"layers-{place}": rows},
        lambda width: _chart(f"layers-{place}", rows, quantities, width),
        _table(rows, quantities),
        panel="Layers",
        place="full",
    )


def _chart(name: str, rows: Sequence[Row], quantities: Sequence[Quantity], width: float) -> alt.ConcatChart:
    columns = min(2, len(quantities)) if width > 450 else 1
    names = names_room({row["layer"] for row in rows}, width / columns)
    each = (width - 12 * (columns - 1) + (columns - 1) * names) / columns  # only the first has names
    maps = [
        heat_chart(name, rows, quantity, ("density", "layer"), each, numbered=place % columns == 0)
        for place, quantity in enumerate(quantities)
    ]
    return alt.concat(*maps, columns=columns, spacing=12).resolve_scale(color="independent")


def _table(rows: Sequence[Row], quantities: Sequence[Quantity]) -> Table:
    def text(row: Row) -> str:
        scale = {q.name: 100 if q.unit == "share" else 1 for q in quantities}
        return " / ".join(
            MISSING if row[q.name] is None else number(q, row[q.name] / scale[q.name]) for q in quantities
        )

    found = {(row["layer"], row["density"]): text(row) for row in rows}
    columns, names = (dict.fromkeys(row[field] for row in rows) for field in ("density", "layer"))
    body = ((name, *(found.get((name, column), MISSING) for column in columns)) for name in names)
    return Table((" / ".join(quantity.label for quantity in quantities), *columns), tuple(body))
