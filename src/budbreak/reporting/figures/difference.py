"""Each arm minus its reference."""

from __future__ import annotations

from budbreak.reporting.estimate import difference_series, headline
from budbreak.reporting.figures.figure import Figure
from budbreak.reporting.figures.lines import Lines
from budbreak.reporting.summary import pairing
from budbreak.reporting.tables import difference_columns, table_of
from budbreak.results import RunResult


def difference(run: RunResult) -> list[Figure]:
    """One figure; its table says of each arm what it is compared with, where that is not the same for all."""
    main = headline(run)
    lines = Lines("difference", main, difference_series(run, main.name), differences=True)
    if not lines.series:
        return []
    references = {str(line.reference) for line in lines.series}
    base, whose = (references.pop(),) * 2 if len(references) == 1 else ("the reference", "its own")
    how = f"{pairing(lines.series)}, with 95 % intervals" if lines.has_intervals else "n=1: no interval"
    better = {"higher": "; above zero is better", "lower": "; below zero is better"}.get(main.better, "")
    title, caption = f"Difference from {base}", f"Each arm minus {whose}, {how}{better}."
    table = table_of(difference_columns(lines.series, lines.written))
    return [Figure("difference", title, caption, lines.words, lines.data, lines.draw, table, lines.arms)]
