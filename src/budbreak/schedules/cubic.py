"""Cubic: fast at first, slower as less remains."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from budbreak.checks import check_count, check_fraction, exact
from budbreak.schedules.progress import Progress


@dataclass(frozen=True)
class Cubic:
    """Approach ``sparsity`` by a cubic.

    sparsity(level) = sparsity * (1 - (1 - level / levels)^3), as an exact fraction of the decimal ``sparsity``.

    With ``rewind_to=None`` and a few steps in each level this is gradual pruning within one training: a level
    is then the pruning interval.

    Args:
        sparsity: reached at the last level; pruned / prunable, in (0, 1).
        levels: prunings, >= 1.

    Source: Zhu & Gupta 2017, arXiv 1710.01878, equation 1, from 0.

    Example:
        >>> [float(Cubic(sparsity=0.8, levels=2)(Progress(level))) for level in range(3)]
        [0.0, 0.7, 0.8]
    """

    sparsity: float
    levels: int

    def __post_init__(self) -> None:
        check_fraction("sparsity", self.sparsity, zero=False)
        check_count("levels", self.levels)

    def __call__(self, progress: Progress) -> Fraction:
        """The sparsity of this level, in [0, 1)."""
        return exact(self.sparsity) * (1 - (1 - Fraction(progress.level, self.levels)) ** 3)
