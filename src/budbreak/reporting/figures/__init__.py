"""All kinds of figures: one file each, in the order in which page and files show them."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from budbreak.reporting.figures.accuracy import accuracy
from budbreak.reporting.figures.activations import activations
from budbreak.reporting.figures.cost import cost
from budbreak.reporting.figures.diagnostics import diagnostics
from budbreak.reporting.figures.difference import difference
from budbreak.reporting.figures.events import events
from budbreak.reporting.figures.figure import Figure
from budbreak.reporting.figures.hosts import hosts
from budbreak.reporting.figures.layers import layers
from budbreak.reporting.figures.masks import masks
from budbreak.reporting.figures.operators import operators
from budbreak.reporting.figures.pareto import pareto
from budbreak.reporting.figures.ratios import ratios
from budbreak.reporting.figures.search import search
from budbreak.reporting.figures.spectra import spectra
from budbreak.reporting.figures.training import training
from budbreak.results import RunResult, between

FIGURES: tuple[Callable[[RunResult], list[Figure]], ...] = (
    accuracy,
    difference,
    diagnostics,
    training,
    layers,
    cost,
    search,
    activations,
    operators,
    spectra,
    ratios,
    masks,
    events,
    pareto,
    hosts,
)

__all__ = ["FIGURES", "Figure", "compared", "figures_of"]


def figures_of(run: RunResult) -> Sequence[Figure]:
    """The figures of a run, without those of which nothing was measured."""
    return [figure for kind in FIGURES for figure in kind(run)]


def compared(runs: Sequence[RunResult]) -> Sequence[Figure]:
    """Every arm of every run in one figure, and their differences from those of the first run."""
    both = [figure for kind in (accuracy, difference) for figure in kind(between(runs))] if len(runs) > 1 else []
    note = "Compare runs only on the same data and budget."
    return [replace(one, key=f"compared-{one.key}", caption=f"{one.caption} {note}", place="full") for one in both]
