"""Which trials are not worth going on? Pure values that look at accuracies after epochs; `STOPPING` enrols them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from budbreak.checks import check_count, check_fraction, check_instance
from budbreak.errors import InvalidValue
from budbreak.search.sampler import generator
from budbreak.search.trial import History, Values
from budbreak.values import Family


@runtime_checkable
class StoppingRule(Protocol):
    """Does a trial end before its training is over? A frozen value, pure in all that it is given, as samplers are."""

    def stops(self, history: History, values: Values, number: int, seed: int) -> bool:
        """Whether the trial ends here; asked after each report of its training.

        Args:
            history: the trials that are known; where several run at a time not all before this one.
            values: (epoch, accuracy) of this trial so far, one at least; the last is that of now.
            number: of this trial, from 0.
            seed: of everything random.
        """
        ...


@dataclass(frozen=True)
class Hyperband:
    """Let the best third go on, at three times as many epochs each time; several brackets begin at different ones.

    With factor f, there are floor(log_f(most / least)) + 1 brackets. Bracket b looks first after least * f^b epochs,
    then after f times as many, and so on below most; there a trial goes on if it is among the best max(1, floor(n / f))
    of the n trials of its bracket that are known and got so far, itself among them. Into bracket b a trial falls with
    a probability in proportion to ceil(brackets * f^s / (s + 1)), s = brackets - 1 - b.

    Args:
        most: epochs of a whole training.
        least: epochs before which none is stopped.
        factor: f, >= 2.

    Source: Li et al. 2018, arXiv 1603.06560, asynchronously as in Li et al. 2020, arXiv 1810.05934, and in Optuna,
    which also stops after the last epoch.
    """

    most: int
    least: int = 1
    factor: int = 3

    def __post_init__(self) -> None:
        check_count("least", self.least)
        check_count("factor", self.factor, least=2)
        check_count("most", self.most)
        if self.most <= self.least:
            value = f"most is {self.most}, least {self.least}"
            raise InvalidValue(value, "a whole training has more epochs than it takes to be stopped", "raise most")

    @property
    def brackets(self) -> int:
        """How many there are."""
        count = 1
        while self.least * self.factor**count <= self.most:
            count += 1
        return count

    def bracket(self, number: int, seed: int) -> int:
        """That of a trial, from 0; those of higher numbers begin to stop later."""
        powers = range(self.brackets - 1, -1, -1)
        weights = [math.ceil(self.brackets * self.factor**s / (s + 1)) for s in powers]
        return generator(seed, number, "bracket").choices(range(self.brackets), weights)[0]

    def rungs(self, bracket: int) -> Iterator[int]:
        """The epochs after which a bracket looks, below ``most``."""
        epoch = self.least * self.factor**bracket
        while epoch < self.most:
            yield epoch
            epoch *= self.factor

    def stops(self, history: History, values: Values, number: int, seed: int) -> bool:
        """See `StoppingRule.stops`."""
        own = self.bracket(number, seed)
        before = max((epoch for epoch, _ in values[:-1]), default=0)
        fellows = [trial.values for place, trial in enumerate(history) if self.bracket(place, seed) == own]
        now, accuracy = values[-1]
        reached = [rung for rung in self.rungs(own) if before < rung <= now]
        return not all(self._goes_on(accuracy, rung, fellows) for rung in reached)

    def _goes_on(self, accuracy: float, rung: int, fellows: list[Values]) -> bool:
        there = [_first_at(values, rung) for values in fellows]
        known = sorted([accuracy, *[one for one in there if one is not None]], reverse=True)
        return accuracy >= known[max(1, len(known) // self.factor) - 1]


@dataclass(frozen=True)
class Lagging:
    """Stop what is far behind: its best accuracy so far is below a quantile of those that others had by this epoch.

    Args:
        quantile: of the best accuracies until this epoch, of the trials that are known and got so far, in (0, 1); 0.5,
            the median, stops half of all trials sooner or later, 0.1 those without hope.
        startup: so many others that got so far there must be.
        after: epochs before which none is stopped.

    Source: Golovin et al. 2017 (the median rule of Vizier). Differs: the best, not the mean of all epochs.
    """

    quantile: float = 0.5
    startup: int = 5
    after: int = 1

    def __post_init__(self) -> None:
        check_fraction("quantile", self.quantile, zero=False)
        check_count("startup", self.startup)
        check_count("after", self.after)

    def stops(self, history: History, values: Values, number: int, seed: int) -> bool:
        """See `StoppingRule.stops`."""
        now = values[-1][0]
        if now < self.after:
            return False
        others = [_best_until(trial.values, now) for trial in history if _first_at(trial.values, now) is not None]
        if len(others) < self.startup:
            return False
        return _best_until(values, now) < float(np.quantile(others, self.quantile))


STOPPING = (Hyperband, Lagging)
STOPPING_FAMILY = Family.of("stopping rule", STOPPING, needs=("stops",), call=False, example='"lagging"')


def check_stopping(stop: object) -> None:
    """Refuse what is no rule.

    Raises:
        InvalidValue: with what to write.
    """
    check_instance("stop", stop, ("stops",), "bb.search.Lagging()", call=False, choices=STOPPING)


def _first_at(values: Values, epoch: int) -> float | None:
    """The first accuracy at this epoch or after it, if there is one."""
    return next((accuracy for at, accuracy in values if at >= epoch), None)


def _best_until(values: Values, epoch: int) -> float:
    """The highest accuracy up to an epoch; that of the first report, where all came later."""
    return max((accuracy for at, accuracy in values if at <= epoch), default=values[0][1])
