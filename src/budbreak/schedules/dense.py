"""Dense: no pruning at all, level 0 alone."""

from __future__ import annotations

from dataclasses import dataclass

from budbreak.schedules.progress import Progress


@dataclass(frozen=True)
class Dense:
    """Level 0 alone: the dense training, and no pruning after it. See `Plan.dense`."""

    levels = 0

    def __call__(self, progress: Progress) -> float:
        """The sparsity of this level: 0."""
        return 0.0
