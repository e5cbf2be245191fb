"""Many small arenas of one weight at once: the highest scores of each row of a matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from budbreak.errors import TooManySpared

Array = np.ndarray[Any, Any]

_CHUNK = 1 << 20  # scores that are sorted at a time: what is made beside them stays small


def keep_highest(name: str, scores: Array, alive: Array | None, counts: Array) -> Array:
    """Keep the ``counts[i]`` highest scores of row i, of equal ones those with lower indices.

    Args:
        name: of the weight, for messages.
        scores: [arenas, members], without NaN where something competes.
        alive: bool [arenas, members]: what competes; None: all.
        counts: [arenas]; each at most as many as compete in its row.

    Returns:
        Bool [arenas, members].

    Raises:
        TooManySpared: if more scores of a row are +inf than may stay there.
    """
    kept = np.zeros(scores.shape, dtype=bool)
    if not scores.size:
        return kept
    step = max(1, _CHUNK // scores.shape[1])
    for lo in range(0, len(scores), step):
        part = slice(lo, lo + step)
        kept[part] = _keep_highest(name, scores[part], None if alive is None else alive[part], counts[part, None])
    return kept


def _keep_highest(name: str, scores: Array, alive: Array | None, counts: Array) -> Array:
    competing = np.ones_like(scores, dtype=bool) if alive is None else alive
    ranked = scores if alive is None else np.where(alive, scores, -np.inf)
    _check_spared(name, ranked, counts)
    members = scores.shape[1]
    place = np.clip(members - counts, 0, members - 1)
    cut = np.where(counts > 0, np.take_along_axis(np.sort(ranked, axis=1), place, axis=1), np.inf)
    above = ranked > cut
    equal = (ranked == cut) & competing
    ties = counts - above.sum(axis=1, keepdims=True)
    return above | (equal & (equal.cumsum(axis=1) <= ties))


def _check_spared(name: str, ranked: Array, counts: Array) -> None:
    """Nothing with score +inf may go."""
    spared = (ranked == np.inf).sum(axis=1, keepdims=True)
    if (spared > counts).any():
        worst = int((spared - counts).argmax())
        raise TooManySpared(
            f"{int(counts[worst, 0])} stay in a row or group of {name!r}, and {int(spared[worst, 0])} scores are +inf",
            "+inf means never prune",
            f"leave it out: prunable=bb.excluding({name!r}); or let all weights compete: scope=bb.masks.Global()",
        )


def level_off(capacities: Array, keep: int) -> Array:
    """As many in each arena, up to its capacity: exactly ``keep`` in all; remainders go to the first that have room.

    >>> level_off(np.array([5, 1, 5]), 6)  # 3, 1 and 2: not 2 of each, as the second has only 1
    array([3, 1, 2])
    """
    low, high = 0, int(capacities.max(initial=0))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if np.minimum(capacities, middle).sum() <= keep else (low, middle - 1)
    counts = np.minimum(capacities, low)
    counts[np.flatnonzero(capacities > low)[: keep - int(counts.sum())]] += 1
    return counts
