"""Where an iteration stands, and what answers how sparse it should be there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol


@dataclass(frozen=True)
class Progress:
    """Where the iteration stands when a schedule is asked.

    Args:
        level: the level that is about to start; 0 is dense.
        step: optimizer steps done so far, over all levels.
        metrics: what was recorded at the end of each earlier level, e.g. ``{"accuracy": 0.98}``.
    """

    level: int
    step: int = 0
    metrics: tuple[Mapping[str, float], ...] = field(default=())


class Schedule(Protocol):
    """How sparse, when? A frozen value."""

    @property
    def levels(self) -> int:
        """How many prunings there are at most, 0 or more; with the dense level 0, one training more."""
        ...

    def __call__(self, progress: Progress, /) -> float | Fraction:
        """The sparsity of the level that is about to start, in [0, 1); never less than before.

        Counts are those of the decimal number that a float shows; of a fraction, exact.
        """
        ...
