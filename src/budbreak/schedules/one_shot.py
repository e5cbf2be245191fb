"""One-shot: train, prune once, train again."""

from __future__ import annotations

from dataclasses import dataclass

from budbreak.checks import check_fraction
from budbreak.schedules.progress import Progress


@dataclass(frozen=True)
class OneShot:
    """Dense at level 0, then ``sparsity`` at once.

    Args:
        sparsity: pruned / prunable, in (0, 1).

    Source: Han et al. 2015, arXiv 1506.02626.
    """

    sparsity: float
    levels = 1

    def __post_init__(self) -> None:
        check_fraction("sparsity", self.sparsity, zero=False)

    def __call__(self, progress: Progress) -> float:
        """The sparsity of this level, in [0, 1)."""
        return self.sparsity if progress.level > 0 else 0.0
