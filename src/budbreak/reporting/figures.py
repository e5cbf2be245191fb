"""The figures against density: accuracy, differences, what diagnostics measured, cost, runs compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from budbreak.diagnostics import Quantity
from budbreak.reporting.bars import cost_drawing
from budbreak.reporting.charts import Measure, chart, legend, panels
from budbreak.reporting.estimate import Cost, Point, Series, arm_series, costs, diagnosed, difference_series
from budbreak.reporting.figure import FULL, HALF, MISSING, NARROW, Figure, Table, names_of, slug
from budbreak.reporting.wording import capital, duration, level_name
from budbreak.studies import TEST_ACCURACY, RunResult

_PANELS = 3  # of a diagnostic with more numbers the first ones are drawn; the tables of levels have all


def accuracy_figure(run: RunResult) -> Figure | None:
    """Test accuracy against density."""
    series = arm_series(run, TEST_ACCURACY.name)
    if not series:
        return None
    heading = "Test accuracy against density"
    return _chart_figure(("accuracy", heading, _bars_said(series)), series, Measure(TEST_ACCURACY))


def difference_figure(run: RunResult) -> Figure | None:
    """Each arm minus its reference, paired by seed."""
    series = difference_series(run, TEST_ACCURACY.name)
    if not series:
        return None
    references = {line.reference for line in series}
    base = str(next(iter(references))) if len(references) == 1 else "the reference"
    labelled = [replace(line, label=_label(line, alone=len(references) == 1)) for line in series]
    known = any(point.estimate.low is not None for line in series for point in line.points)
    how = "paired by seed, with 95 % intervals" if known else "n=1: no interval"
    heading, caption = (
        f"Difference from {base}",
        f"Each arm minus {base if len(references) == 1 else 'its own'}, {how}; above zero is better.",
    )
    return _chart_figure(("difference", heading, caption), labelled, Measure(TEST_ACCURACY, differences=True))


def _label(series: Series, *, alone: bool) -> str:
    return series.label if alone else f"{series.label} \u2212 {series.reference}"


def _bars_said(series: Sequence[Series]) -> str:
    known = any(point.estimate.low is not None for line in series for point in line.points)
    if known:
        return "Means over seeds with 95 % intervals; small dots are single seeds."
    return "n=1: no interval."


def _chart_figure(names: tuple[str, str, str], series: Sequence[Series], measure: Measure) -> Figure:
    key, heading, caption = names
    return Figure(
        key,
        heading,
        caption,
        chart(heading, series, measure, (HALF, 320)),
        chart(heading, series, measure, (NARROW, 320)),
        chart(heading, series, measure, (HALF, 320), named="legend"),
        Table(("\u03bb", *(line.label for line in series)), _by_density([(line, measure) for line in series])),
        names_of(series),
    )


def _by_density(columns: Sequence[tuple[Series, Measure]]) -> tuple[tuple[str, ...], ...]:
    levels = sorted({point.place for series, _ in columns for point in series.points})
    found = {level: [(series.at(level), measure) for series, measure in columns] for level in levels}
    return tuple(
        (
            level_name(level, (point.x for point, _ in cells if point)),
            *(_written(point, measure) for point, measure in cells),
        )
        for level, cells in found.items()
    )


def _written(point: Point | None, measure: Measure) -> str:
    return MISSING if point is None else measure.written(point.estimate)


def diagnostic_figures(run: RunResult) -> list[Figure]:
    """What each diagnostic measured, against density."""
    return [_group_figure(run, group) for group in diagnosed(run)]


def _group_figure(run: RunResult, group: Sequence[Quantity]) -> Figure:
    every = [(Measure(quantity), arm_series(run, quantity.name)) for quantity in group]
    parts = [(measure.label, series, measure) for measure, series in every if series][:_PANELS]
    names = list({line.index: line for _, series, _ in parts for line in series}.values())
    columns = [(line, measure) for _, series, measure in parts for line in series]
    header = ("\u03bb", *(f"{line.label}, {measure.quantity.label}" for _, series, measure in parts for line in series))
    first = group[0]
    heading = f"{capital(first.group or first.label)} against density"
    width = FULL if len(parts) > 1 else HALF
    return Figure(
        slug(first.name),
        heading,
        _explained([measure.quantity for _, _, measure in parts]),
        panels(heading, parts, width, columns=len(parts)),
        panels(heading, parts, NARROW, columns=1),
        panels(heading, parts, width, columns=len(parts), named=lambda width: legend(names, width)),
        Table(header, _by_density(columns)),
        names_of(names),
    )


def _explained(quantities: Sequence[Quantity]) -> str:
    return " ".join(f"{capital(quantity.label)}: {quantity.about}" for quantity in quantities if quantity.about)


def cost_figure(run: RunResult) -> Figure | None:
    """Epochs and time per arm."""
    found = costs(run)
    if not found:
        return None
    caption = "Means per seed over all finished levels, those that arms share included"
    if any(cost.epochs_ratio is not None for cost in found):
        caption += "; ratios to each arm's reference on what both finished"
    return Figure(
        "cost",
        "Cost",
        f"{caption}.",
        cost_drawing(found, HALF),
        cost_drawing(found, NARROW),
        cost_drawing(found, HALF),
        Table(("arm", "epochs", "steps", "time", "epochs, ratio", "time, ratio"), tuple(map(_cost_row, found))),
    )


def _cost_row(cost: Cost) -> tuple[str, ...]:
    ratios = (cost.epochs_ratio, cost.seconds_ratio)
    written = (MISSING if ratio is None else f"{ratio:.2f}x" for ratio in ratios)
    return (cost.arm, f"{cost.epochs:g}", f"{cost.steps:g}", duration(cost.seconds), *written)


def compared_figure(runs: Sequence[RunResult], names: Sequence[str]) -> Figure | None:
    """Every arm of every run in one plot, named where its line ends."""
    lines = [
        (f"{name}: {line.label}", line)
        for run, name in zip(runs, names, strict=True)
        for line in arm_series(run, TEST_ACCURACY.name)
    ]
    series = [Series(label, index, _without_seeds(line.points)) for index, (label, line) in enumerate(lines)]
    if not series:
        return None
    heading, measure = "Test accuracy of all runs", Measure(TEST_ACCURACY)
    wide, narrow, paper = (
        chart(heading, series, measure, (width, 400), named=named)
        for width, named in ((FULL, "ends"), (NARROW, "none"), (FULL, "legend"))
    )
    caption = (
        "Means over seeds with 95 % intervals, if there are several. Compare runs only on the same data and budget."
    )
    table = Table(("\u03bb", *(line.label for line in series)), _by_density([(line, measure) for line in series]))
    return Figure("compared", heading, caption, wide, narrow, paper, table, names_of(series))


def _without_seeds(points: Sequence[Point]) -> tuple[Point, ...]:
    return tuple(replace(point, values=()) for point in points)
