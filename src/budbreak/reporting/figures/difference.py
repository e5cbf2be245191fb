"""Each arm minus its reference."""

from __future__ import annotations

from dataclasses import replace

from budbreak.reporting.estimate import difference_series, headline
from budbreak.reporting.figures.figure import Figure
from budbreak.reporting.figures.lines import arms_of, line_chart, line_rows, line_table, line_words
from budbreak.reporting.figures.measure import Measure
from budbreak.reporting.summary import pairing
from budbreak.studies import RunResult


def difference(run: RunResult) -> list[Figure]:
    """One figure; the legend says of each arm what it is compared with, where that is not the same for all."""
    main = headline(run)
    series, measure = difference_series(run, main.name), Measure(main, differences=True)
    if not series:
        return []
    references = {str(line.reference) for line in series}
    alone = len(references) == 1
    base, whose = (references.pop(),) * 2 if alone else ("the reference", "its own")
    known = any(point.estimate.low is not None for line in series for point in line.points)
    how = f"{pairing(series)}, with 95 % intervals" if known else "n=1: no interval"
    better = {"higher": "; above zero is better", "lower": "; below zero is better"}.get(main.better, "")
    named = [line if alone else replace(line, label=f"{line.label} \u2212 {line.reference}") for line in series]
    return [
        Figure(
            "difference",
            f"Difference from {base}",
            f"Each arm minus {whose}, {how}{better}.",
            line_words(series, measure),
            {"difference": line_rows(series, measure)},
            lambda width: line_chart("difference", series, measure, (width - 56, min(280, 0.62 * width))),
            line_table([(line.label, line, measure) for line in named]),
            arms_of(series),
        )
    ]
