"""What a run is judged by, test accuracy, against density."""

from __future__ import annotations

from budbreak.reporting.estimate import arm_series, headline
from budbreak.reporting.figures.figure import Figure
from budbreak.reporting.figures.lines import arms_of, line_chart, line_rows, line_table, line_words
from budbreak.reporting.figures.measure import Measure
from budbreak.reporting.wording import capital
from budbreak.studies import RunResult


def accuracy(run: RunResult) -> list[Figure]:
    """One figure, with the single seeds."""
    main = headline(run)
    series, measure = arm_series(run, main.name), Measure(main)
    if not series:
        return []
    known = any(point.estimate.low is not None for line in series for point in line.points)
    caption = "Means over seeds with 95 % intervals; small dots are single seeds." if known else "n=1: no interval."
    return [
        Figure(
            "accuracy",
            f"{capital(main.label)} against {series[0].axis.name}",
            caption,
            line_words(series, measure),
            {"accuracy": line_rows(series, measure)},
            lambda width: line_chart("accuracy", series, measure, (width - 56, min(280, 0.62 * width))),
            line_table([(line.label, line, measure) for line in series]),
            arms_of(series),
        )
    ]
