"""Decaying: shares of the whole that shrink from pruning to pruning."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from budbreak.checks import check_count, check_fraction, exact
from budbreak.schedules.progress import Progress


@dataclass(frozen=True)
class Decaying:
    """Each pruning removes the share ``1 - decay`` of what the one before it removed.

    sparsity(level) = sparsity * (1 - (1 - decay)^level) / (1 - (1 - decay)^levels), as an exact fraction of the
    decimals: pruning k = 0, 1, ... removes p_k = sparsity * (1 - decay)^k / sum of (1 - decay)^i over i < levels, a
    share of all prunable weights, not of those that remain.

    Args:
        sparsity: reached at the last level; pruned / prunable, in (0, 1).
        levels: prunings, >= 1.
        decay: in (0, 1).

    Source: Ganguli & Chong 2024, doi 10.3390/a17010048, their repository's schedule (b = 0.2). Differs: what is pruned
    by a level is rounded to the nearest weight, where they round each pruning down. They count the weights of the
    output layer, of which none goes, among the prunable: see ``spare`` of `budbreak.Plan`.

    Example:
        >>> [round(float(Decaying(sparsity=0.8, levels=5)(Progress(level))), 4) for level in range(6)]
        [0.0, 0.238, 0.4284, 0.5807, 0.7025, 0.8]
    """

    sparsity: float
    levels: int
    decay: float = 0.2

    def __post_init__(self) -> None:
        check_fraction("sparsity", self.sparsity, zero=False)
        check_count("levels", self.levels)
        check_fraction("decay", self.decay, zero=False)

    def __call__(self, progress: Progress) -> Fraction:
        """The sparsity of this level, in [0, 1)."""
        kept = 1 - exact(self.decay)
        return exact(self.sparsity) * (1 - kept**progress.level) / (1 - kept**self.levels)
