"""All kinds of figures: one file each, in the order in which page and files show them."""

from collections.abc import Callable, Sequence

from budbreak.report.figures.accuracy import accuracy
from budbreak.report.figures.compared import compared
from budbreak.report.figures.cost import cost
from budbreak.report.figures.diagnostics import diagnostics
from budbreak.report.figures.difference import difference
from budbreak.report.figures.figure import Figure, Table
from budbreak.report.figures.layers import layers
from budbreak.report.figures.training import training
from budbreak.studies import RunResult

FIGURES: tuple[Callable[[RunResult], list[Figure]], ...] = (
    accuracy,
    difference,
    diagnostics,
    training,
    layers,
    cost,
)

__all__ = ["FIGURES", "Figure", "Table", "compared", "figures_of"]


def figures_of(run: RunResult) -> Sequence[Figure]:
    """The figures of a run, without those of which nothing was measured."""
    return [figure for kind in FIGURES for figure in kind(run)]
