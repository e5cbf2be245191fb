"""Where an iteration stands, and what answers how sparse it should be there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Protocol


@dataclass(frozen=True)
class Progress:
    """Where the iteration stands when a schedule is asked.

    Args:
        level: the level that is about to start; 0 is dense.
        step: optimizer steps done so far, over all levels.
        metrics: what was recorded at the end of each earlier level that was trained, e.g. ``{"accuracy": 0.98}``: level
            0 first, unless the plan prunes at initialization.
    """

    level: int
    step: int = 0
    metrics: tuple[Mapping[str, float], ...] = field(default=())


class Schedule(Protocol):
    """How sparse, when? A frozen value.

    One that looks at metrics names them in an attribute ``reads``, e.g. ``reads = ("accuracy",)``: then `iterate` asks
    for a metric that a level has not recorded, instead of the schedule failing for want of it.
    """

    @property
    def levels(self) -> int:
        """How many prunings there are at most, 0 or more; with the dense level 0, one training more."""
        ...

    def __call__(self, progress: Progress, /) -> float | Fraction:
        """The sparsity of the level that is about to start, in [0, 1); never less than before.

        Counts are those of the decimal number that a float shows; of a fraction, exact.
        """
        ...


def reads_of(schedule: Schedule) -> tuple[str, ...]:
    """The names of the metrics that a schedule looks at."""
    return tuple(getattr(schedule, "reads", ()))


class NotForeseen(Exception):
    """A schedule looks at steps or metrics, which are not known before the training."""


def foresee(schedule: Schedule, level: int) -> float | Fraction:
    """What a schedule says of a level of which nothing but its number is known.

    Raises:
        NotForeseen: if it depends on steps or metrics.
    """
    return schedule(_Unseen(level))


class _Unseen(Progress):
    """A level before anything is trained."""

    def __getattribute__(self, name: str) -> Any:
        if name in ("step", "metrics"):
            raise NotForeseen(name)
        return super().__getattribute__(name)
