"""Lagging: what is below a quantile of the others ends."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from budbreak.checks import check_count, check_fraction
from budbreak.search.stopping_rule import first_at
from budbreak.search.trial import History, Values


@dataclass(frozen=True)
class Lagging:
    """Stop what is far behind: its best accuracy so far is below a quantile of those that others had by this epoch.

    Args:
        quantile: of the best accuracies until this epoch, of the trials that are known and got so far, in (0, 1); 0.5,
            the median, stops half of all trials sooner or later, 0.1 those without hope.
        startup: so many others that got so far there must be.
        after: the first epoch after which one may be stopped.

    Source: Golovin et al. 2017 (the median rule of Vizier). Differs: the best, not the mean of all epochs.
    """

    quantile: float = 0.5
    startup: int = 5
    after: int = 1

    def __post_init__(self) -> None:
        check_fraction("quantile", self.quantile, zero=False)
        check_count("startup", self.startup)
        check_count("after", self.after)

    @property
    def earliest(self) -> int:
        """The first epoch after which a trial may be stopped."""
        return self.after

    def stops(self, history: History, values: Values, number: int, seed: int) -> bool:
        """See `StoppingRule.stops`."""
        now = values[-1][0]
        if now < self.after:
            return False
        others = [_best_until(trial.values, now) for trial in history if first_at(trial.values, now) is not None]
        if len(others) < self.startup:
            return False
        return _best_until(values, now) < float(np.quantile(others, self.quantile))


def _best_until(values: Values, epoch: int) -> float:
    """The highest accuracy up to an epoch; that of the first report, where all came later."""
    return max((accuracy for at, accuracy in values if at <= epoch), default=values[0][1])
