"""What would have been found, and at what cost, had the same candidates been searched more cheaply."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from budbreak.search import History, StoppingRule, Trial
from reproductions.searching.measuring import Found, Measured

_ORDERS = 25  # in which the candidates of a setting may have come
_DRAWS = 1000  # of halves, by lot


@dataclass(frozen=True)
class Cheaper:
    """A cheaper search over the same candidates.

    Args:
        epochs: trained, as a share of all.
        lost: the final accuracy of the best of all, less that of the one which is chosen.
    """

    epochs: float
    lost: float


def final(one: Measured) -> float:
    """The accuracy at the full budget; 0 where it diverged."""
    return one.accuracies[-1] if one.accuracies else 0.0


def after(one: Measured, epoch: int) -> float:
    """The accuracy after an epoch; 0 where it diverged."""
    return one.accuracies[epoch - 1] if one.accuracies else 0.0


def correlation(found: Found, told: Callable[[Measured], float]) -> float:
    """Spearman's rank correlation with the final accuracy; nan where one of them is the same for all."""
    from scipy.stats import spearmanr

    if len({told(one) for one in found.candidates}) < 2:
        return float("nan")
    result: Any = spearmanr([told(one) for one in found.candidates], [final(one) for one in found.candidates])
    return float(result.statistic)


def said(one: Measured, ranker: str) -> float:
    """What a ranker says; less than of any other where it is not defined."""
    value = one.rankers[ranker].value
    return -math.inf if math.isnan(value) else value


def reranked(found: Found, epoch: int, best: int) -> Cheaper:
    """All are trained for some epochs, the best of them in full, the best of these is chosen."""
    candidates, epochs = found.candidates, found.setting.epochs
    again = sorted(candidates, key=lambda one: after(one, epoch), reverse=True)[:best]
    trained = len(candidates) * epoch + best * epochs
    return Cheaper(trained / (len(candidates) * epochs), _best(candidates) - _best(again))


def stopped(found: Found, rule: StoppingRule) -> Cheaper:
    """Trials end by a rule; the mean over some orders in which the candidates may come."""
    orders = [_stopped(found, rule, order) for order in range(_ORDERS)]
    return Cheaper(fmean(one.epochs for one in orders), fmean(one.lost for one in orders))


def halved(found: Found, told: Callable[[Measured], float]) -> Cheaper:
    """The half that a ranker puts last is not trained at all."""
    kept = sorted(found.candidates, key=told, reverse=True)[: len(found.candidates) // 2]
    return Cheaper(0.5, _best(found.candidates) - _best(kept))


def halved_blindly(found: Found) -> Cheaper:
    """Half of them, drawn by lot, are not trained: what is lost on average."""
    candidates = list(found.candidates)
    draw = random.Random(0)
    best = [_best(draw.sample(candidates, len(candidates) // 2)) for _ in range(_DRAWS)]
    return Cheaper(0.5, _best(candidates) - fmean(best))


def ranking_cost(found: Found, ranker: str) -> float:
    """The time that a ranker takes, as a share of that of a training."""
    one = fmean(candidate.rankers[ranker].seconds for candidate in found.candidates)
    return one / (found.setting.epochs * found.epoch_seconds)


def epochs_saved(found: Sequence[Found], rule: StoppingRule) -> float:
    """The share of epochs that a rule saves, the mean of some settings; 0 without any."""
    return 1 - fmean(stopped(one, rule).epochs for one in found) if found else 0.0


def _best(candidates: Sequence[Measured]) -> float:
    return max(map(final, candidates))


def _stopped(found: Found, rule: StoppingRule, order: int) -> Cheaper:
    candidates = random.Random(order).sample(list(found.candidates), len(found.candidates))
    history = History()
    for number, one in enumerate(candidates):
        values = tuple(enumerate(one.accuracies, 1))
        ends = (stop for stop in range(1, len(values)) if rule.stops(history, values[:stop], number, order))
        length = next(ends, len(values))
        score = values[length - 1][1] if values else None
        trial = Trial(
            candidate=(number,), score=score, seconds=0.0, epochs=float(length or found.setting.epochs),
            values=values[:length], stopped=length < len(values),
        )  # fmt: skip
        history = history.then(trial)
    chosen = candidates[history.best_trial().candidate[0]]
    trained = sum(trial.epochs or 0 for trial in history)
    return Cheaper(trained / (len(candidates) * found.setting.epochs), _best(candidates) - final(chosen))
