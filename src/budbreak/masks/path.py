"""How many stay after each of several rounds of one pruning."""

from __future__ import annotations

import bisect

from budbreak.checks import check_count
from budbreak.errors import InvalidValue

_ROUNDING = 1e-12
"""Far more than the share by which the formula misses in floats, a few times 1e-16 times the logarithms of counts."""


def exponential_path(alive: int, keep: int, rounds: int) -> tuple[int, ...]:
    """How many stay after each of ``rounds`` rounds that lead from ``alive`` to ``keep``.

    keep[i] = round(alive * (keep / alive) ** (i / rounds)), i = 1..rounds: each round removes about the same share of
    what is left. Exact, in whole numbers: no round revives anything, the last keeps ``keep``.

    Source: Tanaka et al. 2020 (SynFlow), arXiv 2006.05467, algorithm 1.

    >>> exponential_path(1000, 10, 4)
    (316, 100, 32, 10)

    Args:
        alive: how many there are, >= 0.
        keep: how many stay in the end, from 0 to ``alive``; 0: none stay after the first round.
        rounds: >= 1.

    Raises:
        InvalidValue: for any other number.
    """
    check_count("alive", alive, least=0)
    check_count("keep", keep, least=0)
    check_count("rounds", rounds)
    if keep > alive:
        raise InvalidValue(f"keep is {keep}", f"only {alive} are alive", f"keep at most {alive}")
    return tuple(_nearest(alive, keep, place, rounds) for place in range(1, rounds + 1))


def _nearest(alive: int, keep: int, place: int, rounds: int) -> int:
    """The whole number nearest to x = alive ** (1 - place / rounds) * keep ** (place / rounds).

    It is the least n with (2n + 1) ** rounds > (2x) ** rounds, both of which are whole. There are no ties: a root of
    a whole number is whole or irrational. Powers of many rounds take long, and are asked only where floats are too
    near to a half to tell.
    """
    if not keep:
        return 0
    x = alive * (keep / alive) ** (place / rounds)
    if abs(x % 1 - 0.5) > _ROUNDING * (1 + x):
        return round(x)
    power = 2**rounds * alive ** (rounds - place) * keep**place
    return keep + bisect.bisect_right(range(keep, alive), power, key=lambda n: (2 * n + 1) ** rounds)
