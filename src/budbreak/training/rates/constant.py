"""Constant: the same rate throughout."""

from __future__ import annotations

from dataclasses import dataclass

from budbreak.checks import check_fraction
from budbreak.errors import InvalidValue
from budbreak.training.rates.scheduler import Foreseen
from budbreak.training.rates.warming import check_warmup, check_warmup_fits, rise, warmup_steps


@dataclass(frozen=True)
class Constant(Foreseen):
    """Stay at the optimizer's rate, after an optional warm-up.

    factor(step) = start + (1 - start) * min(1, (step + 1) / (warmup * steps_per_epoch)).

    Args:
        warmup: epochs (fractions allowed) over which the rate rises linearly; 0: none.
        start: the share of the rate that it rises from, in [0, 1); it needs a warm-up.

    Raises:
        InvalidValue: for a number out of range, and for a ``start`` without a warm-up.

    Example:
        >>> [Constant(warmup=1.0).factor(step, steps_per_epoch=2, epochs=2) for step in range(4)]
        [0.5, 1.0, 1.0, 1.0]
    """

    warmup: float = 0.0
    start: float = 0.0

    def __post_init__(self) -> None:
        check_warmup(self.warmup)
        check_fraction("start", self.start)
        if self.start and not self.warmup:
            raise InvalidValue(
                f"start is {self.start:g} without a warm-up", "it is where one starts", "add warmup = 5.0"
            )

    def factor(self, step: int, *, steps_per_epoch: int, epochs: int) -> float:
        """The share of the optimizer's rate after ``step`` steps, in (0, 1]."""
        return self.start + (1 - self.start) * rise(step, warmup_steps(self.warmup, steps_per_epoch))

    def check(self, epochs: int, steps_per_epoch: int) -> None:
        """Refuse a warm-up longer than the training, or shorter than two steps."""
        check_warmup_fits(self.warmup, epochs, steps_per_epoch)
