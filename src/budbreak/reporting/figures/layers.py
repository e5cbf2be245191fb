"""Layers against densities, one figure per arm: which weights stay, and what diagnostics measured of each."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from budbreak.diagnostics import Quantity
from budbreak.reporting.estimate import groups
from budbreak.reporting.figures.figure import Figure, Row
from budbreak.reporting.figures.heat import Heat, names_room
from budbreak.reporting.figures.looks import column_of, safe
from budbreak.reporting.figures.training import mean_of, written
from budbreak.reporting.tables import MISSING, pivot
from budbreak.reporting.wording import capital, level_names
from budbreak.results import LayerResult, RunResult

_KEPT = Quantity("kept", "kept weights", "share")


def layers(run: RunResult) -> list[Figure]:
    """Kept weights and the first number of each diagnostic, by layer and density."""
    measured = {name for level in run.levels for layer in level.layers for name in layer.numbers}
    shown = [group[0] for group in groups(quantity for quantity in run.quantities if quantity.name in measured)]
    rows = {arm: _rows(run, arm, shown) for arm in run.arm_names}
    return [_figure(place, arm, rows[arm], [_KEPT, *shown]) for place, arm in enumerate(run.arm_names) if rows[arm]]


def _rows(run: RunResult, arm: str, measured: Sequence[Quantity]) -> list[Row]:
    found: dict[tuple[int, str], list[LayerResult]] = {}
    levels = sorted((level for level in run.levels if level.arm == arm), key=lambda level: level.level)
    for level in levels:
        for layer in level.layers:
            found.setdefault((level.level, layer.name), []).append(layer)
    names = level_names((level.level, level.density) for level in levels)
    return [
        {"layer": safe(name), "density": names[level]}
        | {column_of(_KEPT): mean_of(_KEPT, [layer.kept / layer.total for layer in here])}
        | {column_of(one): mean_of(one, [layer.numbers.get(one.name) for layer in here]) for one in measured}
        for (level, name), here in found.items()
    ]


def _figure(place: int, arm: str, rows: Sequence[Row], quantities: Sequence[Quantity]) -> Figure:
    explained = [f" {capital(quantity.label)}: {quantity.about}" for quantity in quantities if quantity.about]
    labels = [quantity.label for quantity in quantities]
    found = {
        ((row["layer"].strip(),), row["density"]): " / ".join(written(one, row[column_of(one)]) for one in quantities)
        for row in rows
    }
    columns = list(dict.fromkeys(row["density"] for row in rows))
    return Figure(
        f"layers-{place}",
        arm,
        f"Means over seeds; {MISSING}: no answer for this layer.{''.join(explained)}",
        f"{', '.join(labels)} of {arm} by layer and density.",
        {f"layers-{place}": rows},
        lambda width: _chart(f"layers-{place}", rows, quantities, width),
        pivot((" / ".join(labels),), columns, found),
        panel="Layers",
        place="full",
    )


def _chart(name: str, rows: Sequence[Row], quantities: Sequence[Quantity], width: float) -> alt.ConcatSpecGenericSpec:
    columns = min(2, len(quantities)) if width > 450 else 1
    names = names_room({row["layer"] for row in rows}, width / columns)
    each = (width - 12 * (columns - 1) + (columns - 1) * names) / columns  # only the first has names
    maps = [
        Heat(name, rows, one, column_of(one), across="density", down="layer").draw(
            each, with_names=place % columns == 0
        )
        for place, one in enumerate(quantities)
    ]
    own_colours = alt.Resolve(scale=alt.ScaleResolveMap(color="independent"))
    return alt.ConcatSpecGenericSpec(concat=maps, columns=columns, spacing=12, resolve=own_colours)
