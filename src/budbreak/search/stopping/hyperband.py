"""Hyperband: the best of those that got as far go on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from budbreak.checks import check_count
from budbreak.errors import InvalidValue
from budbreak.search.sampler import generator
from budbreak.search.stopping_rule import first_at
from budbreak.search.trial import History, Values


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

    @property
    def earliest(self) -> int:
        """The first epoch after which a trial may be stopped."""
        return self.least

    def stops(self, history: History, values: Values, number: int, seed: int) -> bool:
        """See `StoppingRule.stops`."""
        own = self.bracket(number, seed)
        before = max((epoch for epoch, _ in values[:-1]), default=0)
        fellows = [trial.values for place, trial in enumerate(history) if self.bracket(place, seed) == own]
        now, accuracy = values[-1]
        reached = [rung for rung in self.rungs(own) if before < rung <= now]
        return not all(self._goes_on(accuracy, rung, fellows) for rung in reached)

    def _goes_on(self, accuracy: float, rung: int, fellows: list[Values]) -> bool:
        there = [first_at(values, rung) for values in fellows]
        known = sorted([accuracy, *[one for one in there if one is not None]], reverse=True)
        return accuracy >= known[max(1, len(known) // self.factor) - 1]
