"""What each arm cost: epochs and seconds per seed, as bars from zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt

from budbreak.reporting.figures.figure import Figure, Row
from budbreak.reporting.figures.looks import SHOWN, arm_key, arm_labels, arm_styles, heading
from budbreak.reporting.tables import MISSING, Table
from budbreak.reporting.wording import duration
from budbreak.results import Cost, RunResult, costs

_KINDS = ("epochs per seed", "time per seed")
_LETTER = 6.4  # pixels, roughly


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
            lambda width: alt.VConcatSpecGenericSpec(vconcat=[_bars(kind, arms, width) for kind in _KINDS]),
            Table(("arm", "epochs", "steps", "time", "epochs, ratio", "time, ratio"), tuple(map(_texts, found))),
            place="aside",
        )
    ]


def _texts(one: Cost) -> tuple[str, ...]:
    ratios = (MISSING if ratio is None else f"{ratio:.2f}x" for ratio in (one.epochs_ratio, one.seconds_ratio))
    return (one.arm, f"{one.epochs:g}", f"{one.steps:g}", duration(one.seconds), *ratios)


def _rows(one: Cost) -> Sequence[Row]:
    _, epochs, _, seconds, *ratios = _texts(one)
    epochs_ratio, seconds_ratio = ("" if ratio == MISSING else f"  ({ratio})" for ratio in ratios)
    key = {"arm": arm_key(one.index)}
    return [
        {**key, "kind": _KINDS[0], "value": one.epochs, "text": f"{epochs}{epochs_ratio}"},
        {**key, "kind": _KINDS[1], "value": round(one.seconds, 1), "text": f"{seconds}{seconds_ratio}"},
    ]


def _bars(kind: str, arms: Mapping[str, int], width: float) -> alt.LayerSpec:
    """One bar per arm, with its number beside it."""
    label = min(0.4 * width, 12 + _LETTER * max(map(len, arms)))
    axis = alt.Axis(labelExpr=arm_labels(arms), labelLimit=label, domain=True)
    base = (
        alt.Chart(alt.NamedData("cost"))
        .transform_filter(SHOWN)
        .transform_filter(alt.FieldEqualPredicate(field="kind", equal=kind))
        .encode(
            x=alt.X("value:Q", axis=None, scale=alt.Scale(zero=True, nice=False)),
            y=alt.Y("arm:N", sort=list(map(arm_key, arms.values())), title=None, axis=axis),
        )
    )
    bars = base.mark_bar(height=15).encode(color=arm_styles(arms)["color"].legend(None), tooltip=alt.Tooltip("text:N"))
    texts = base.mark_text(align="left", dx=6).encode(text=alt.Text("text:N"))
    return alt.LayerSpec(layer=[bars, texts, heading(kind, above=4)], width=width - label - 120, height=22 * len(arms))
