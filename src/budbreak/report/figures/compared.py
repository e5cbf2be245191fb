"""Every arm of every run in one plot."""

from __future__ import annotations

from collections.abc import Sequence

from budbreak.report.estimate import Series, arm_series
from budbreak.report.figures.figure import Figure
from budbreak.report.figures.lines import arms_of, line_chart, line_rows, line_table, line_words
from budbreak.report.figures.measure import Measure
from budbreak.studies import TEST_ACCURACY, RunResult


def compared(runs: Sequence[RunResult], names: Sequence[str]) -> list[Figure]:
    """One figure if there are several runs."""
    lines = [
        (f"{name}: {line.label}", line.points)
        for run, name in zip(runs, names, strict=True)
        for line in arm_series(run, TEST_ACCURACY.name)
    ]
    series, measure = [Series(label, index, points) for index, (label, points) in enumerate(lines)], Measure(TEST_ACCURACY)
    if len(runs) == 1 or not series:
        return []
    return [
        Figure(
            "compared",
            "Test accuracy of all runs",
            "Means over seeds with 95 % intervals, if there are several. "
            "Compare runs only on the same data and budget.",
            line_words(series, measure),
            {"compared": line_rows(series, measure, seeds=False)},
            lambda width: line_chart("compared", series, measure, (width - 56, min(380, 0.62 * width))),
            line_table([(line.label, line, measure) for line in series]),
            arms_of(series),
            place="full",
        )
    ]
