"""Layer by layer: one layer at each pruning, from the input on."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from budbreak.checks import check_count, check_fraction, exact
from budbreak.errors import InvalidValue
from budbreak.schedules.progress import Progress


@dataclass(frozen=True)
class LayerByLayer:
    """Each pruning removes the same share of one layer at once.

    sparsity(level) = sum over the first ``level`` layers of floor(share * size) / all that is prunable, as an exact
    fraction. A plan that is fitted to its model, as `budbreak.iterate` and `Plan.preview` do, tells it the sizes of
    what is counted (weights, or units), in state_dict order; without them, layers are taken for equally large.
    That all of it goes from one layer is for the plan to say: ``scope=masks.Layer(), allocation=masks.InOrder()``.

    Args:
        share: of each layer, in (0, 1).
        levels: prunings: as many as there are layers from which something may go.

    Source: Ganguli & Chong 2024, doi 10.3390/a17010048, ``PruneLayer`` in their repository.

    Example:
        >>> [float(LayerByLayer(0.5, levels=2).of([60, 30], total=100)(Progress(level))) for level in range(3)]
        [0.0, 0.3, 0.45]
    """

    share: float
    levels: int
    sizes: tuple[int, ...] = field(default=(), init=False, repr=False)
    total: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        check_fraction("share", self.share, zero=False)
        check_count("levels", self.levels)

    def of(self, sizes: Sequence[int], *, total: int) -> LayerByLayer:
        """The same for a network whose layers, those from which something may go, are so large.

        Raises:
            InvalidValue: if there are more or fewer of them.
        """
        if len(sizes) != self.levels:
            raise InvalidValue(
                f"{self} on a network with {len(sizes)} layers from which something may go",
                "it prunes each of them once",
                f'write levels={len(sizes)}, or spare some: spare=["fc5.*"]',
            )
        fitted = copy.copy(self)
        object.__setattr__(fitted, "sizes", tuple(sizes))
        object.__setattr__(fitted, "total", total)
        return fitted

    def __call__(self, progress: Progress) -> Fraction:
        """The sparsity of this level, in [0, 1)."""
        if not self.sizes:
            return exact(self.share) * Fraction(progress.level, self.levels)
        removed = sum(math.floor(exact(self.share) * size) for size in self.sizes[: progress.level])
        return Fraction(removed, self.total)
