"""Constant: the same rate throughout."""

from __future__ import annotations

from dataclasses import dataclass

from budbreak.training.rates.scheduler import Foreseen
from budbreak.training.rates.warming import check_warmup, check_warmup_fits, rise, warmup_steps


@dataclass(frozen=True)
class Constant(Foreseen):
    """Stay at the optimizer's rate, after an optional warm-up.

    factor(step) = min(1, (step + 1) / (warmup * steps_per_epoch)).

    Args:
        warmup: epochs (fractions allowed) over which the rate rises linearly from 0; 0: none.

    Raises:
        InvalidValue: if it is negative or no finite number.

    Example:
        >>> [Constant(warmup=1.0).factor(step, steps_per_epoch=2, epochs=2) for step in range(4)]
        [0.5, 1.0, 1.0, 1.0]
    """

    warmup: float = 0.0

    def __post_init__(self) -> None:
        check_warmup(self.warmup)

    def factor(self, step: int, *, steps_per_epoch: int, epochs: int) -> float:
        """The share of the optimizer's rate after ``step`` steps, in (0, 1]."""
        return rise(step, warmup_steps(self.warmup, steps_per_epoch))

    def check(self, epochs: int, steps_per_epoch: int) -> None:
        """Refuse a warm-up longer than the training, or shorter than two steps."""
        check_warmup_fits(self.warmup, epochs, steps_per_epoch)
