"""Where each arm ends, and how its differences are to be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from budbreak.diagnostics import Quantity
from budbreak.reporting.estimate import Point, Series, arm_series, diagnosed, difference_series, headline
from budbreak.reporting.wording import listed, spread
from budbreak.studies import RunResult


@dataclass(frozen=True)
class Ending:
    """An arm at its last level.

    Args:
        index: its place among the arms.
        accuracy: what the run is judged by, with its seeds; ``accuracy_text``: its mean and standard deviation.
        difference: from the reference at this level, if there is one.
        others: quantity -> what diagnostics measured, the first of each.
    """

    index: int
    arm: str
    reference: str | None
    accuracy: Point
    accuracy_text: str
    difference: Point | None
    others: Mapping[Quantity, Point]


def endings(run: RunResult) -> list[Ending]:
    """The arms that finished a level, in order."""
    main = headline(run)
    differences = {line.index: line for line in difference_series(run, main.name)}
    measured = [(g[0], {line.index: line for line in arm_series(run, g[0].name)}) for g in diagnosed(run)]

    def ending(line: Series) -> Ending:
        last, compared = line.points[-1], differences.get(line.index)
        others = {
            q: point for q, lines in measured if line.index in lines and (point := lines[line.index].at(last.place))
        }
        text = spread(main, [value for _, value in last.values], unit=True)
        difference = compared.at(last.place) if compared else None
        return Ending(line.index, line.label, line.reference, last, text, difference, others)

    return [ending(line) for line in arm_series(run, main.name)]


def family(run: RunResult, quantity: Quantity | None = None) -> str:
    """What the p-values of a quantity are corrected for; unless it is given, of what the run is judged by.

    Empty where there is none.
    """
    main = quantity or headline(run)
    number = sum(row.p is not None for row in run.differences if row.quantity == main.name)
    return f"corrected for all {number} differences of {main.label} (Holm)" if number else ""


def pairing(lines: Sequence[Series]) -> str:
    """Whether differences are between pairs or between groups.

    Empty where there is none.
    """
    apart = [line.label for line in lines if not line.paired]
    if len(apart) == len(lines):
        return "unpaired (Welch), as the dense trainings differ" if apart else ""
    return "paired by seed" if not apart else f"paired by seed, but for {listed(apart)}: unpaired (Welch)"
