"""What the figures of findings share: their rows, arms, table, and the axes of their columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import altair as alt

from budbreak.diagnostics import Finding
from budbreak.reporting.figures.figure import SHOWN, Figure, Row
from budbreak.reporting.figures.lines import arm_key, arm_styles
from budbreak.reporting.figures.measure import Measure, near_zero
from budbreak.reporting.tables import MISSING, Table
from budbreak.studies import RunResult

_VALUES = ("value", "low", "high")
_OTHERS = 448  # what is no arm looks like the first arms, by indices of its own: styles repeat after so many


@dataclass(frozen=True)
class Shown:
    """A finding on its way into a figure; ``name`` is that of its rows."""

    name: str
    finding: Finding
    rows: tuple[Row, ...]
    arms: dict[str, int]

    @property
    def base(self) -> alt.Chart:
        """The rows of the arms that are shown."""
        chart = alt.Chart(alt.NamedData(self.name))
        return chart.transform_filter(SHOWN) if self.arms else chart

    @property
    def styles(self) -> dict[str, Any]:
        """Colour, dash and marker by arm."""
        return arm_styles(self.arms)

    def title(self, column: str) -> str:
        """What the axis of a column is called."""
        return Measure(self.finding.quantity).label if column == "value" else self.finding.labels.get(column, column)

    def x(self, column: str) -> alt.X:
        """A linear axis that ends with the values."""
        return alt.X(f"{column}:Q", title=self.title(column), scale=alt.Scale(zero=False, nice=False, padding=8))

    def y(self, column: str = "value") -> alt.Y:
        """An axis that begins at zero where the values come near it."""
        values = [row[name] for row in self.rows for name in {column, "low", "high"} & set(row)]
        zero = near_zero([value for value in values if value is not None])
        return alt.Y(f"{column}:Q", title=self.title(column), scale=alt.Scale(zero=zero), axis=alt.Axis(format="~r"))

    def tips(self, *columns: str) -> list[alt.Tooltip]:
        """The values of columns as one reads them."""
        texts = {name for name in columns if any(isinstance(row[name], str) for row in self.rows)}
        return [
            alt.Tooltip(f"{name}:N" if name in texts else f"{name}:Q", title=self.title(name))
            if name in texts
            else alt.Tooltip(f"{name}:Q", title=self.title(name), format=".4~g")
            for name in columns
        ]


def finding_figures(
    run: RunResult,
    kind: str,
    draw: Callable[[Shown, float], Any],
    *,
    caption: str,
    place: Literal["half", "full"] = "half",
) -> list[Figure]:
    """A figure for each finding of a kind that has rows."""
    found = [finding for finding in run.findings if finding.kind == kind and finding.rows()]
    return [_figure(_shown(run, f"{kind}-{number}", one), draw, caption, place) for number, one in enumerate(found)]


def _shown(run: RunResult, name: str, finding: Finding) -> Shown:
    named = list(dict.fromkeys(map(str, finding.columns.get("arm", ()))))
    others = [arm for arm in named if arm not in run.arm_names]
    first = _OTHERS + (len(run.arms) if len(others) < len(named) else 0)
    arms = {arm: first + others.index(arm) if arm in others else run.arm_names.index(arm) for arm in named}
    measure = Measure(finding.quantity)

    def cell(column: str, value: Any) -> Any:
        if column == "arm":
            return arm_key(arms[str(value)])
        if isinstance(value, float):
            return measure.value(value) if column in _VALUES else float(f"{value:.5g}")
        return value

    rows = tuple({column: cell(column, value) for column, value in row.items()} for row in finding.rows())
    return Shown(name, finding, rows, arms)


def _figure(shown: Shown, draw: Callable[[Shown, float], Any], caption: str, place: Literal["half", "full"]) -> Figure:
    finding = shown.finding
    about = f"{caption} {len(shown.rows)} rows of {', '.join(map(shown.title, finding.columns))}."
    data = {shown.name: shown.rows}
    table = Table(tuple(map(shown.title, finding.columns)), tuple(map(_texts, finding.rows())))
    return Figure(
        shown.name,
        finding.label,
        caption,
        about,
        data,
        lambda width: draw(shown, width),
        table,
        shown.arms,
        place=place,
    )


def _texts(row: Row) -> tuple[str, ...]:
    return tuple(
        MISSING if value is None else f"{value:.5g}" if isinstance(value, float) else str(value)
        for value in row.values()
    )
