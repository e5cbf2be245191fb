"""One cycle: the rate rises to its peak and falls far below its start."""

from __future__ import annotations

import math
from dataclasses import dataclass

from budbreak.checks import check_fraction
from budbreak.errors import InvalidValue
from budbreak.training.rates.scheduler import Foreseen


@dataclass(frozen=True)
class OneCycle(Foreseen):
    """Rise along half a cosine from a share of the optimizer's rate to it, then fall along another one.

    With p = peak * steps_per_epoch * epochs - 1 and l the last step: from ``start`` at step 0 to 1 at step p, and to
    ``end`` at step l, each way as a + (b - a) * (1 - cos(pi * t)) / 2 for t in [0, 1].

    It needs no warm-up, being one; the momentum stays as it is.

    Args:
        peak: the share of the training after which the rate is at its highest, in (0, 1).
        start: the share of that rate at which the first step is made, in [0, 1).
        end: the share of that rate at which the last step is made, in [0, 1).

    Raises:
        InvalidValue: for a number out of range.

    Source: Smith & Topin 2018, arXiv 1708.07120; with the two cosines, and the default numbers, of torch's OneCycleLR
    (start = 1 / div_factor, end = start / final_div_factor).

    Example:
        >>> cycle = OneCycle(peak=0.375, start=0.0, end=0.5)
        >>> [round(cycle.factor(step, steps_per_epoch=4, epochs=2), 3) for step in range(8)]
        [0.0, 0.5, 1.0, 0.952, 0.827, 0.673, 0.548, 0.5]
    """

    peak: float = 0.3
    start: float = 0.04
    end: float = 4e-6

    def __post_init__(self) -> None:
        check_fraction("peak", self.peak, zero=False)
        check_fraction("start", self.start)
        check_fraction("end", self.end)

    def factor(self, step: int, *, steps_per_epoch: int, epochs: int) -> float:
        """The share of the optimizer's rate after ``step`` steps, in [0, 1]."""
        total = steps_per_epoch * epochs
        peak, last = self.peak * total - 1, total - 1
        if step < peak:
            return _between(self.start, 1.0, step / peak)
        return _between(1.0, self.end, 1.0 if step >= last else (step - peak) / (last - peak))

    def check(self, epochs: int, steps_per_epoch: int) -> None:
        """Refuse a peak at the first step or the last, where there is no rise or no fall."""
        total = steps_per_epoch * epochs
        at = self.peak * total - 1
        if not 1 <= at <= total - 2:
            raise InvalidValue(
                f"the peak {self.peak:g} falls on step {at:g} of the steps 0 to {total - 1}",
                "the highest rate comes after the first step and before the last",
                "move it, or train for longer",
            )


def _between(first: float, second: float, way: float) -> float:
    return second + (first - second) / 2.0 * (math.cos(math.pi * way) + 1)
