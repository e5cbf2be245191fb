"""Geometric: the same share of what remains, again and again."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from budbreak.checks import check_count, check_fraction, exact
from budbreak.errors import InvalidValue
from budbreak.schedules.progress import Progress


@dataclass(frozen=True)
class Geometric:
    """Remove the share ``rate`` of the remaining weights at each level.

    density(level) = (1 - rate)^level, as an exact fraction of the decimal ``rate``.

    Args:
        rate: share of the remaining weights, in (0, 1).
        levels: prunings, >= 1; level 0 is dense.

    Source: Frankle & Carbin 2019, arXiv 1803.03635 (iterative pruning).

    Example:
        >>> [float(1 - Geometric(rate=0.2, levels=3)(Progress(level))) for level in range(4)]
        [1.0, 0.8, 0.64, 0.512]
    """

    rate: float
    levels: int

    def __post_init__(self) -> None:
        check_fraction("rate", self.rate, zero=False)
        check_count("levels", self.levels)
        if (1 - self.rate) ** self.levels < 1e-16:
            raise InvalidValue(
                f"{self} leaves nothing", "the density of the last level must be at least 1e-16", "fewer levels"
            )

    def __call__(self, progress: Progress) -> Fraction:
        """The sparsity of this level, in [0, 1)."""
        return 1 - (1 - exact(self.rate)) ** progress.level
