"""What the figures of findings share: their rows, arms, table, and the axes of their columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from budbreak.diagnostics import Finding, Quantity
from budbreak.reporting.figures.figure import Figure, Place, Row
from budbreak.reporting.figures.looks import SHOWN, arm_key, arm_styles, drawn, near_zero, safe, telling
from budbreak.reporting.tables import MISSING, Table
from budbreak.reporting.wording import named
from budbreak.results import RunResult

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

    def different(self, column: str) -> list[Any]:
        """The values of a column, in order."""
        return list(dict.fromkeys(row[column] for row in self.rows))

    def title(self, column: str) -> str:
        """What the axis of a column is called."""
        return safe(named(self.finding.quantity) if column == "value" else self.finding.labels.get(column, column))

    def x(self, column: str) -> alt.X:
        """A linear axis that ends with the values; whole numbers, as of epochs, have ticks at whole numbers."""
        whole = all(float(row[column]).is_integer() for row in self.rows)
        axis = alt.Axis(tickMinStep=1) if whole else alt.Axis()
        scale = alt.Scale(zero=False, nice=False, padding=8)
        return alt.X(f"{column}:Q", title=self.title(column), scale=scale, axis=axis)

    def y(self) -> alt.Y:
        """An axis of values that begins at zero where they come near it."""
        values = [row[name] for row in self.rows for name in _VALUES if row.get(name) is not None]
        scale = alt.Scale(zero=near_zero(values))
        return alt.Y("value:Q", title=self.title("value"), scale=scale, axis=alt.Axis(format="~r"))

    def telling(self, chart: alt.Chart, *columns: str) -> alt.Chart:
        """The chart, whose marks tell the values of columns."""
        return telling(chart, {column: self.title(column) for column in columns})

    def sheet(self, layers: Sequence[alt.Chart], width: float) -> alt.LayerSpec:
        """Layers on common axes."""
        return alt.LayerSpec(layer=list(layers), width=width - 62, height=min(260, 0.6 * width))


def finding_figures(
    run: RunResult, kind: str, draw: Callable[[Shown, float], Any], *, caption: str, place: Place = "half"
) -> list[Figure]:
    """A figure for each finding of a kind that has rows."""
    found = [finding for finding in run.findings if finding.kind == kind and finding.rows()]
    return [_figure(_shown(run, f"{kind}-{number}", one), draw, caption, place) for number, one in enumerate(found)]


def _shown(run: RunResult, name: str, finding: Finding) -> Shown:
    of_rows = list(dict.fromkeys(map(str, finding.columns.get("arm", ()))))
    others = [arm for arm in of_rows if arm not in run.arm_names]
    first = _OTHERS + (len(run.arms) if len(others) < len(of_rows) else 0)
    arms = {arm: first + others.index(arm) if arm in others else run.arm_names.index(arm) for arm in of_rows}

    def cell(column: str, value: Any) -> Any:
        if column == "arm":
            return arm_key(arms[str(value)])
        if isinstance(value, float):
            return drawn(finding.quantity, value) if column in _VALUES else float(f"{value:.5g}")
        return safe(value) if isinstance(value, str) else value

    rows = tuple({column: cell(column, value) for column, value in row.items()} for row in finding.rows())
    return Shown(name, finding, rows, arms)


def _figure(shown: Shown, draw: Callable[[Shown, float], Any], caption: str, place: Place) -> Figure:
    titles, rows = (
        tuple(shown.title(column).strip() for column in shown.finding.columns),
        tuple(_texts(row, shown.finding.quantity) for row in shown.finding.rows()),
    )
    return Figure(
        shown.name,
        shown.finding.label,
        caption,
        f"{caption} {len(rows)} rows of {', '.join(titles)}.",
        {shown.name: shown.rows},
        lambda width: draw(shown, width),
        Table(titles, rows),
        shown.arms,
        panel=shown.finding.panel,
        place="full" if shown.finding.panel else place,
    )


def _texts(row: Row, quantity: Quantity) -> tuple[str, ...]:
    return tuple(_text(drawn(quantity, cell) if name in _VALUES else cell) for name, cell in row.items())


def _text(cell: Any) -> str:
    return MISSING if cell is None else f"{cell:.5g}" if isinstance(cell, float) else str(cell)
