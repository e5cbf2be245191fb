"""A budget of weights, into which as many whole units or blocks are put as fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from budbreak.errors import TooManySpared
from budbreak.masks.contest import Contest, Scope
from budbreak.masks.scores import Score


def choose_within(scope: Scope, contest: Contest, sizes: Mapping[str, Tensor], budget: int) -> dict[str, Tensor]:
    """Name -> bool: as many of what competes as hold at most ``budget`` weights, by the scope's choice for that number.

    The next more would not fit. What is chosen for a larger number holds more weights (with an allocation, but for its
    remainders), so that bisection finds the number.

    Args:
        scope: chooses.
        contest: how many are kept is not looked at.
        sizes: name -> how many weights each of what competes holds.
        budget: of weights.

    Raises:
        TooManySpared: if what stays in any case, by the floor and by scores of +inf, holds more.
    """
    held = replace(contest, scores={name: _held(score) for name, score in contest.scores.items()})
    total = sum(held.capacities.values())
    fewest = _fewest(scope, held, total)
    best = scope.choose(replace(held, keep=fewest))
    if _weight(best, sizes) > budget:
        value = f"the budget is {budget} weights, and {_weight(best, sizes)} stay by the floor or by scores of +inf"
        raise TooManySpared(value, "what stays in any case must fit", "keep more weights, or lower the floor")
    while fewest < total:
        middle = (fewest + total + 1) // 2
        tried = scope.choose(replace(held, keep=middle))
        if _weight(tried, sizes) <= budget:
            fewest, best = middle, tried
        else:
            total = middle - 1
    return best


def _fewest(scope: Scope, contest: Contest, total: int) -> int:
    """The lowest number for which a scope chooses: more than `Contest.fewest` where shares of layers leave +inf out."""
    fewest = contest.fewest()
    while scope.divides and fewest < total:
        middle = (fewest + total) // 2
        try:
            scope.choose(replace(contest, keep=middle))
            total = middle
        except TooManySpared:
            fewest = middle + 1
    return fewest


def _held(score: Score) -> Score:
    """The same, computed once."""
    scores = score.tensor().reshape(-1)
    return Score(score.shape, lambda: lambda lo, hi: scores[lo:hi])


def _weight(kept: Mapping[str, Tensor], sizes: Mapping[str, Tensor]) -> int:
    return sum(int(sizes[name][entry].sum()) for name, entry in kept.items())
