"""Where each arm ends: its accuracy, its difference from its reference, and what diagnostics measured there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import stdev

from budbreak.diagnostics import Quantity
from budbreak.report.estimate import Point, arm_series, diagnosed, difference_series
from budbreak.report.wording import percent
from budbreak.studies import TEST_ACCURACY, RunResult


@dataclass(frozen=True)
class Ending:
    """An arm at its last level.

    Args:
        index: its place among the arms.
        accuracy: the point of test accuracy, with its seeds.
        difference: from the reference at this level, if there is one.
        others: quantity -> what diagnostics measured, the first of each.
    """

    index: int
    arm: str
    reference: str | None
    accuracy: Point
    difference: Point | None
    others: Mapping[Quantity, Point]

    @property
    def spread(self) -> float | None:
        """The standard deviation of the accuracy over seeds; None for one seed."""
        values = [value for _, value in self.accuracy.values]
        return stdev(values) if len(values) > 1 else None

    @property
    def accuracy_text(self) -> str:
        """Mean and standard deviation in percent."""
        mean = percent(self.accuracy.estimate.mean).removesuffix(" %")
        return f"{mean} %" if self.spread is None else f"{mean} \u00b1 {100 * self.spread:.2f} %"


def endings(run: RunResult) -> list[Ending]:
    """The arms that finished a level, in order."""
    differences = {line.index: line for line in difference_series(run, TEST_ACCURACY.name)}
    first = [group[0] for group in diagnosed(run)]
    measured = {quantity: {line.index: line for line in arm_series(run, quantity.name)} for quantity in first}
    found: list[Ending] = []
    for line in arm_series(run, TEST_ACCURACY.name):
        last, compared = line.points[-1], differences.get(line.index)
        others = {
            quantity: point
            for quantity, lines in measured.items()
            if line.index in lines and (point := lines[line.index].at(last.place)) is not None
        }
        difference = compared.at(last.place) if compared else None
        found.append(Ending(line.index, line.label, line.reference, last, difference, others))
    return found


def tests(run: RunResult) -> int:
    """For how many differences of test accuracy the p-values are corrected."""
    return sum(row.p is not None for row in run.differences if row.quantity == TEST_ACCURACY.name)


def family(run: RunResult) -> str:
    """What the p-values are corrected for.

    Empty where there is none.
    """
    number = tests(run)
    return f"corrected for all {number} differences of test accuracy (Holm)" if number else ""
