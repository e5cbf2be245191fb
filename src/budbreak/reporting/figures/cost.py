"""What each arm cost: epochs and seconds per seed, as bars from zero."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from budbreak.reporting.estimate import Cost, costs
from budbreak.reporting.figures.bars import bar_chart
from budbreak.reporting.figures.figure import Figure, Row
from budbreak.reporting.figures.lines import arm_key
from budbreak.reporting.tables import MISSING, Table
from budbreak.reporting.wording import duration
from budbreak.studies import RunResult

_KINDS = ("epochs per seed", "time per seed")


def cost(run: RunResult) -> list[Figure]:
    """One figure; each number and its ratio to the reference stand beside the bar."""
    found = costs(run)
    if not found:
        return []
    caption = "Means per seed over all finished levels, those that arms share included"
    if any(one.epochs_ratio is not None for one in found):
        caption += "; ratios to each arm's reference on what both finished"
    arms = {one.arm: one.index for one in found}
    said = "; ".join(f"{one.arm}: {one.epochs:.0f} epochs, {duration(one.seconds)}" for one in found)
    return [
        Figure(
            "cost",
            "Cost",
            f"{caption}.",
            f"{said}.",
            {"cost": [row for one in found for row in _rows(one)]},
            lambda width: alt.vconcat(*(bar_chart("cost", kind, arms, width) for kind in _KINDS)),
            Table(("arm", "epochs", "steps", "time", "epochs, ratio", "time, ratio"), _table(found)),
            place="aside",
        )
    ]


def _rows(one: Cost) -> list[Row]:
    epochs, seconds = (f"  ({r:.2f}x)" if r is not None else "" for r in (one.epochs_ratio, one.seconds_ratio))
    values = ((one.epochs, f"{one.epochs:g}{epochs}"), (round(one.seconds, 1), f"{duration(one.seconds)}{seconds}"))
    return [
        {"arm": arm_key(one.index), "kind": kind, "value": value, "text": text}
        for kind, (value, text) in zip(_KINDS, values, strict=True)
    ]


def _table(found: Sequence[Cost]) -> tuple[tuple[str, ...], ...]:
    def ratio(value: float | None) -> str:
        return MISSING if value is None else f"{value:.2f}x"

    def row(one: Cost) -> tuple[str, ...]:
        sums = (f"{one.epochs:g}", f"{one.steps:g}", duration(one.seconds))
        return (one.arm, *sums, ratio(one.epochs_ratio), ratio(one.seconds_ratio))

    return tuple(map(row, found))
