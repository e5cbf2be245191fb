"""Cosine: the rate falls along half a cosine, once or again and again."""

from __future__ import annotations

import math
from dataclasses import dataclass

from budbreak.checks import check_fraction, check_number
from budbreak.errors import InvalidValue
from budbreak.training.rates.scheduler import Foreseen
from budbreak.training.rates.warming import check_room_to_fall, check_warmup, fallen, rise, warmup_steps


@dataclass(frozen=True)
class Cosine(Foreseen):
    """Fall along half a cosine from the optimizer's rate to a share of it, after an optional warm-up.

    factor(step) = end + (1 - end) * (1 + cos(pi * t)) / 2, with t in [0, 1] the share of the way from the end of the
    warm-up to that of the training, or of each cycle; in the warm-up of n steps it is (step + 1) / n.

    Args:
        end: the share of the rate that the training, or a cycle, ends with, in [0, 1).
        warmup: epochs (fractions allowed) over which the rate rises linearly from 0; 0: none.
        cycle: epochs (fractions allowed), rounded to the nearest step, after each of which the rate is back at the top
            and falls again (warm restarts); what is left at the end is a cycle that is cut short. 0: it falls once.

    Raises:
        InvalidValue: for a number out of range.

    Source: Loshchilov & Hutter 2017, arXiv 1608.03983, with cycles of one length.

    Example:
        >>> [round(Cosine().factor(step, steps_per_epoch=2, epochs=2), 3) for step in range(5)]
        [1.0, 0.854, 0.5, 0.146, 0.0]
        >>> [round(Cosine(cycle=1.0, end=0.5).factor(step, steps_per_epoch=2, epochs=2), 3) for step in range(5)]
        [1.0, 0.75, 1.0, 0.75, 0.5]
    """

    end: float = 0.0
    warmup: float = 0.0
    cycle: float = 0.0

    def __post_init__(self) -> None:
        check_fraction("end", self.end)
        check_warmup(self.warmup)
        check_number("cycle", self.cycle, usual="a quarter of the epochs, or 0")

    def factor(self, step: int, *, steps_per_epoch: int, epochs: int) -> float:
        """The share of the optimizer's rate after ``step`` steps, in [end, 1]; less in the warm-up."""
        warmup = warmup_steps(self.warmup, steps_per_epoch)
        total = epochs * steps_per_epoch
        if self.cycle:
            way = _fallen_in_cycle(step, warmup=warmup, total=total, cycle=round(self.cycle * steps_per_epoch))
        else:
            way = fallen(step, warmup=warmup, total=total)
        return rise(step, warmup) * (self.end + (1 - self.end) * (1 + math.cos(math.pi * way)) / 2)

    def check(self, epochs: int, steps_per_epoch: int) -> None:
        """Refuse a warm-up shorter than two steps, or one that leaves less than two to fall; and cycles as short."""
        check_room_to_fall(self.warmup, epochs, steps_per_epoch)
        left = epochs * steps_per_epoch - warmup_steps(self.warmup, steps_per_epoch)
        steps = round(self.cycle * steps_per_epoch)
        if self.cycle and not 2 <= steps < left:
            raise InvalidValue(
                f"cycle is {self.cycle:g} epochs: {steps} steps of the {left} that are left to fall",
                "a cycle lasts two steps or more, and another one follows it",
                "lengthen it" if steps < 2 else "shorten it, or take it out",
            )


def _fallen_in_cycle(step: int, *, warmup: int, total: int, cycle: int) -> float:
    """How much of its cycle is gone, in [0, 1): from the end of the training on, in (0, 1], as the last one ended.

    >>> [_fallen_in_cycle(step, warmup=1, total=7, cycle=4) for step in range(9)]
    [0.0, 0.0, 0.25, 0.5, 0.75, 0.0, 0.25, 0.5, 0.5]
    """
    if step >= total:
        return ((total - warmup - 1) % cycle + 1) / cycle
    return max(0, step - warmup) % cycle / cycle
