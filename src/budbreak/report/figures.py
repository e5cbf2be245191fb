"""Every figure of a report: drawn for wide screens, for narrow ones and for paper, with its table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from budbreak.report.bars import cost_drawing
from budbreak.report.canvas import Drawing
from budbreak.report.charts import Measure, chart, legend, panels
from budbreak.report.curves import Curve, curves, curves_drawing
from budbreak.report.estimate import Estimate, Point, Series, arm_series, costs, difference_series
from budbreak.report.heatmap import Cell, Grid, grid, heat_drawing
from budbreak.report.wording import METRICS, density, duration, interval, percent
from budbreak.studies import RunResult

HALF, FULL, NARROW = 470.0, 900.0, 360.0
ACCURACY = Measure("test accuracy", "test accuracy (%)")
DIFFERENCE = Measure("difference", "difference (points)", differences=True, floor=0.0)
DEAD = ("dnr_total", "dnr_static", "dnr_dynamic")


@dataclass(frozen=True)
class Table:
    """The numbers of a figure, as text."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Figure:
    """One figure three times, and its table.

    Args:
        key: names the files and the elements of the page.
        heading, caption: what it shows and how to read it.
        wide, narrow, paper: for screens (without a legend: the page has one) and for files (with it).
        arms: what its legend lists, as (index, name).
    """

    key: str
    heading: str
    caption: str
    wide: Drawing
    narrow: Drawing
    paper: Drawing
    table: Table
    arms: tuple[tuple[int, str], ...] = ()


def accuracy_figure(run: RunResult) -> Figure | None:
    """Test accuracy against density."""
    series = arm_series(run, "test_accuracy")
    if not series:
        return None
    caption = _bars_said(series)
    return _chart_figure("accuracy", "Test accuracy against density", caption, series, ACCURACY)


def difference_figure(run: RunResult) -> Figure | None:
    """Each arm minus the reference, paired by seed."""
    series = difference_series(run, "test_accuracy")
    if not series:
        return None
    known = any(point.estimate.low is not None for one in series for point in one.points)
    how = "paired by seed, with 95 % intervals" if known else "one seed, so there is no interval"
    caption = f"Each arm minus {run.arms[0]}, {how}; above zero is better."
    return _chart_figure("difference", f"Difference from {run.arms[0]}", caption, series, DIFFERENCE)


def _bars_said(series: Sequence[Series]) -> str:
    known = any(point.estimate.low is not None for one in series for point in one.points)
    if known:
        return "Means over seeds with 95 % intervals; small dots are single seeds."
    return "One seed, so there is no interval."


def _chart_figure(key: str, heading: str, caption: str, series: Sequence[Series], measure: Measure) -> Figure:
    wide, narrow = (chart(heading, series, measure, (width, 300)) for width in (HALF, NARROW))
    paper = chart(heading, series, measure, (HALF, 300), named="legend")
    return Figure(key, heading, caption, wide, narrow, paper, _series_table(series, measure), _arms(series))


def _arms(series: Sequence[Series]) -> tuple[tuple[int, str], ...]:
    return tuple((one.index, one.label) for one in series)


def _series_table(series: Sequence[Series], measure: Measure) -> Table:
    return Table(("\u03bb", *(one.label for one in series)), _by_density(series, measure))


def _by_density(series: Sequence[Series], measure: Measure) -> tuple[tuple[str, ...], ...]:
    levels = {point.level: point.density for one in series for point in one.points}
    found = [{point.level: point.estimate for point in one.points} for one in series]
    return tuple(
        (density(levels[level]), *(_written(column.get(level), measure) for column in found))
        for level in sorted(levels)
    )


def _written(found: Estimate | None, measure: Measure) -> str:
    if found is None:
        return "\u2013"
    if measure.differences:
        return interval(found)
    if found.low is None or found.high is None:
        return percent(found.mean)
    return f"{percent(found.mean)} [{100 * found.low:.2f}, {100 * found.high:.2f}]"


def dead_figure(run: RunResult) -> Figure | None:
    """Total, static and dynamic dead neuron rate against density."""
    parts = [(METRICS[name], arm_series(run, name), Measure(METRICS[name], "", floor=_zero(name))) for name in DEAD]
    parts = [part for part in parts if part[1]]
    if not parts:
        return None
    heading = "Dead neuron rate against density"
    caption = (
        "Share of outputs (%), averaged over samples. Total: zero. Static: no incoming weight left, though a bias or "
        "norm may keep it firing. Dynamic: zero and not static."
    )
    every = {one.index: one for _, series, _ in parts for one in series}
    names = list(every.values())
    table = Table(
        ("\u03bb", *(f"{one.label}, {name}" for name, series, _ in parts for one in series)),
        _by_density([one for _, series, _ in parts for one in series], parts[0][2]),
    )
    return Figure(
        "dnr",
        heading,
        caption,
        panels(heading, parts, FULL, columns=len(parts)),
        panels(heading, parts, NARROW, columns=1),
        panels(heading, parts, FULL, columns=len(parts), named=lambda width: legend(names, width)),
        table,
        _arms(names),
    )


def _zero(name: str) -> float | None:
    return 0.0 if name == "dnr_static" else None


def curve_figures(run: RunResult) -> list[Figure]:
    """The three rates over the training of each level."""
    return [_curve_figure(name, found) for name in reversed(DEAD) if (found := curves(run, name))]


def _curve_figure(name: str, found: tuple[Curve, ...]) -> Figure:
    few = max(1, min(5, len({curve.level for curve in found})))
    return Figure(
        f"training-{name.replace('_', '-')}",
        METRICS[name],
        "Means over seeds; epoch 0 is right after rewinding, before any training.",
        curves_drawing(name, found, FULL, columns=few, named=False),
        curves_drawing(name, found, NARROW, columns=min(few, 2), named=False),
        curves_drawing(name, found, FULL, columns=few, named=True),
        _curve_table(found),
        tuple(sorted({(curve.index, curve.arm) for curve in found})),
    )


def _curve_table(found: tuple[Curve, ...]) -> Table:
    arms = sorted({(curve.index, curve.arm) for curve in found})
    values = {(curve.level, curve.index): dict(curve.values) for curve in found}
    places = sorted({(curve.level, curve.density, epoch) for curve in found for epoch, _ in curve.values})
    return Table(
        ("\u03bb", "epoch", *(arm for _, arm in arms)),
        tuple(
            (
                density(share),
                str(epoch),
                *(_share(values.get((level, index), {}).get(epoch)) for index, _ in arms),
            )
            for level, share, epoch in places
        ),
    )


def _share(value: float | None) -> str:
    return "\u2013" if value is None else percent(value)


def heat_figures(run: RunResult) -> list[Figure]:
    """Kept weights and dead units by layer and density, one figure per arm."""
    grids = [(index, grid(run, arm)) for index, arm in enumerate(run.arms)]
    return [_heat_figure(index, found) for index, found in grids if found]


def _heat_figure(index: int, found: Grid) -> Figure:
    wide = heat_drawing(found, FULL, stacked=False)
    return Figure(
        f"layers-{index}",
        found.arm,
        "Means over seeds. Dead counts units without an incoming weight and outputs that were zero all the same; "
        "\u2013: no nonlinearity follows the layer directly.",
        wide,
        heat_drawing(found, NARROW, stacked=True),
        wide,
        _heat_table(found),
    )


def _heat_table(found: Grid) -> Table:
    def text(cell: Cell | None) -> str:
        return "\u2013" if cell is None else f"{percent(cell.kept, 1)} / {_share(cell.dead)}"

    header = ("kept / dead", *(density(value) for value in found.densities))
    return Table(
        header,
        tuple((name, *map(text, cells)) for name, cells in zip(found.layers, found.cells, strict=True)),
    )


def cost_figure(run: RunResult) -> Figure | None:
    """Epochs and time per arm."""
    found = costs(run)
    if not found:
        return None
    rows = tuple(
        (
            cost.arm,
            f"{cost.epochs:g}",
            f"{cost.steps:g}",
            duration(cost.seconds),
            *("\u2013" if ratio is None else f"{ratio:.2f}x" for ratio in (cost.epochs_ratio, cost.seconds_ratio)),
        )
        for cost in found
    )
    header = ("arm", "epochs", "steps", "time", "epochs, ratio", "time, ratio")
    return Figure(
        "cost",
        "Cost",
        f"Means per seed over all finished levels; ratios to {run.arms[0]} on the jobs that both finished.",
        cost_drawing(found, HALF),
        cost_drawing(found, NARROW),
        cost_drawing(found, HALF),
        Table(header, rows),
    )


def compared_figure(runs: Sequence[RunResult], names: Sequence[str]) -> Figure | None:
    """Every arm of every run in one plot, named where its line ends."""
    lines = [
        (f"{name}: {one.label}", one)
        for run, name in zip(runs, names, strict=True)
        for one in arm_series(run, "test_accuracy")
    ]
    series = [Series(label, index, _without_seeds(one.points)) for index, (label, one) in enumerate(lines)]
    if not series:
        return None
    heading = "Test accuracy of all runs"
    wide, narrow, paper = (
        chart(heading, series, ACCURACY, (width, 400), named=named)
        for width, named in ((FULL, "ends"), (NARROW, "none"), (FULL, "legend"))
    )
    caption = (
        "Means over seeds with 95 % intervals, if there are several. Compare runs only on the same data and budget."
    )
    return Figure("compared", heading, caption, wide, narrow, paper, _series_table(series, ACCURACY), _arms(series))


def _without_seeds(points: Sequence[Point]) -> tuple[Point, ...]:
    return tuple(replace(point, values=()) for point in points)
