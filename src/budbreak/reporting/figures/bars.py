"""Bars from zero with their numbers beside them: what cost and hosts share."""

from __future__ import annotations

from collections.abc import Mapping

import altair as alt

from budbreak.reporting.figures.figure import SHOWN
from budbreak.reporting.figures.lines import arm_key, arm_labels, arm_styles, heading

_LETTER = 6.4  # pixels, roughly


def bar_chart(name: str, kind: str, arms: Mapping[str, int], width: float) -> alt.LayerChart:
    """One bar per arm, of the rows of a kind (fields arm, kind, value, text)."""
    label = min(0.4 * width, 12 + _LETTER * max(map(len, arms)))
    axis = alt.Axis(labelExpr=arm_labels(arms), labelLimit=label, domain=True)
    colour = arm_styles(arms)["color"].legend(None)
    base = (
        alt.Chart(alt.NamedData(name))
        .transform_filter(SHOWN)
        .transform_filter(alt.FieldEqualPredicate(field="kind", equal=kind))
        .encode(
            x=alt.X("value:Q", axis=None, scale=alt.Scale(zero=True, nice=False)),
            y=alt.Y("arm:N", sort=list(map(arm_key, arms.values())), title=None, axis=axis),
        )
    )
    bars = base.mark_bar(height=15).encode(color=colour, tooltip="text:N")
    texts = base.mark_text(align="left", dx=6).encode(text="text:N")
    return alt.LayerChart(layer=[bars, texts, heading(kind, above=4)], width=width - label - 120, height=22 * len(arms))
