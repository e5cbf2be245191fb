"""How many weights go in a level, and by whom."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from numbers import Real

from budbreak.checks import exact, shown
from budbreak.errors import InvalidValue
from budbreak.masks import Mask, survivors


@dataclass(frozen=True)
class LevelTarget:
    """How many weights (units, for `Unit`) go in one level.

    Args:
        alive: before the level; ``keep``: after it, ``round(density * prunable)``.
        host: removed by the host criterion; ``shares``: by each `Remove` that follows. All add up to alive - keep.
    """

    level: int
    alive: int
    keep: int
    host: int
    shares: tuple[int, ...]


@dataclass(frozen=True)
class Removal:
    """The next mask, and who removed how many; ``shortfall`` is the part of ``host`` that follow-ups left over.

    ``exchanged``: so many weights came in for others, so that each class keeps a path; None where nobody asked for it,
    or nothing was removed.
    """

    mask: Mask
    host: int
    follow_ups: tuple[int, ...]
    shortfall: int
    exchanged: int | None = None


def count_level(
    where: str,
    level: int,
    sparsity: float | Fraction,
    shares: Sequence[float],
    *,
    total: int,
    alive: int,
    at_most: bool,
) -> LevelTarget:
    """The counts of a level; see `Plan.target`.

    Args:
        where: the level in words, for messages.
        level: its number.
        sparsity: what the schedule says.
        shares: q of each removal that follows the host.
        total: prunable weights (units, for `Unit`).
        alive: those before the level.
        at_most: whether they are a budget, which may not be used up: then fewer can be alive than may stay.

    Raises:
        InvalidValue: with what does not add up.
    """
    keep = survivors(_checked(sparsity, level), total)
    if keep < 1:
        raise InvalidValue(
            f"{where} keeps none of {total}", "at least one must stay in each level", "end at a lower sparsity"
        )
    keep = min(keep, alive) if at_most else keep
    if keep > alive:
        raise InvalidValue(
            f"{where} keeps {keep}, but only {alive} are alive",
            "sparsity rises from level to level: what was pruned does not come back",
            "start at a higher sparsity",
        )
    if keep == alive:
        return LevelTarget(level, alive, keep, 0, (0,) * len(shares))
    wanted = tuple(math.floor(exact(share) * alive) for share in shares)
    host = alive - keep - sum(wanted)
    if host < 0:
        raise InvalidValue(
            f"{where} removes {alive - keep}, what follows the host wants {sum(wanted)}",
            "the host removes what that leaves of the level's total",
            "choose a smaller q",
        )
    return LevelTarget(level, alive, keep, host, wanted)


def _checked(sparsity: float | Fraction, level: int) -> float | Fraction:
    number = isinstance(sparsity, Real) and not isinstance(sparsity, bool)  # pyright: ignore[reportUnnecessaryIsInstance]
    if not number or not 0 <= sparsity < 1:
        said = float(sparsity) if number else shown(sparsity)
        value = f"the schedule says sparsity {said} at level {level}"
        raise InvalidValue(value, "it is a share in [0, 1)", "write pruned / prunable, as a float or a Fraction")
    return sparsity
