"""Cosine: the rate falls along half a cosine."""

from __future__ import annotations

import math
from dataclasses import dataclass

from budbreak.checks import check_fraction
from budbreak.training.rates.scheduler import Foreseen
from budbreak.training.rates.warming import check_room_to_fall, check_warmup, fallen, rise, warmup_steps


@dataclass(frozen=True)
class Cosine(Foreseen):
    """Fall along half a cosine from the optimizer's rate to a share of it, after an optional warm-up.

    factor(step) = end + (1 - end) * (1 + cos(pi * t)) / 2, with t in [0, 1] the share of the way from the end of the
    warm-up to that of the training; in the warm-up of n steps it is (step + 1) / n.

    Args:
        end: the share of the rate that the training ends with, in [0, 1).
        warmup: epochs (fractions allowed) over which the rate rises linearly from 0; 0: none.

    Raises:
        InvalidValue: for a number out of range.

    Source: Loshchilov & Hutter 2017, arXiv 1608.03983, without restarts.

    Example:
        >>> [round(Cosine().factor(step, steps_per_epoch=2, epochs=2), 3) for step in range(5)]
        [1.0, 0.854, 0.5, 0.146, 0.0]
    """

    end: float = 0.0
    warmup: float = 0.0

    def __post_init__(self) -> None:
        check_fraction("end", self.end)
        check_warmup(self.warmup)

    def factor(self, step: int, *, steps_per_epoch: int, epochs: int) -> float:
        """The share of the optimizer's rate after ``step`` steps, in [end, 1]; less in the warm-up."""
        warmup = warmup_steps(self.warmup, steps_per_epoch)
        way = fallen(step, warmup=warmup, total=epochs * steps_per_epoch)
        return rise(step, warmup) * (self.end + (1 - self.end) * (1 + math.cos(math.pi * way)) / 2)

    def check(self, epochs: int, steps_per_epoch: int) -> None:
        """Refuse a warm-up shorter than two steps, or one that leaves less than two to fall."""
        check_room_to_fall(self.warmup, epochs, steps_per_epoch)
