"""What a run is judged by, test accuracy, against density."""

from __future__ import annotations

from budbreak.reporting.estimate import arm_series, headline
from budbreak.reporting.figures.figure import Figure
from budbreak.reporting.figures.lines import Lines
from budbreak.reporting.tables import table_of
from budbreak.reporting.wording import capital
from budbreak.results import RunResult


def accuracy(run: RunResult) -> list[Figure]:
    """One figure, with the single seeds."""
    main = headline(run)
    lines = Lines("accuracy", main, arm_series(run, main.name))
    if not lines.series:
        return []
    title = f"{capital(main.label)} against {lines.series[0].axis.name}"
    several = "Means over seeds with 95 % intervals; small dots are single seeds."
    caption = several if lines.has_intervals else "n=1: no interval."
    table = table_of(lines.columns)
    return [Figure("accuracy", title, caption, lines.words, lines.data, lines.draw, table, lines.arms)]
