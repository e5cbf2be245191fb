"""Simulated annealing, with a temperature that is measured in the spread of the energies."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median

from budbreak.checks import check_count, check_number
from budbreak.errors import InvalidValue
from budbreak.search.parameters import Candidate, drawn
from budbreak.search.sampler import generator, moved
from budbreak.search.space import SearchSpace
from budbreak.search.trial import History


@dataclass(frozen=True)
class SimulatedAnnealing:
    """Take each step up, and a step down with a probability that falls from step to step.

    With E = 1 / score, step k of n accepts a candidate that is worse than the current one by d with the probability
    exp(-d / T), T = start * (end / start)^(k / n) * s, where s is the spread of the energies until then: the median
    distance from their median. A candidate that diverged is never accepted, unless the current one did. Moves are
    those of late acceptance.

    Args:
        steps: n; there are as many trials, and the first.
        start: the temperature at first, > 0, in spreads.
        end: the temperature at last, > 0, at most ``start``.

    Source: Kirkpatrick et al. 1983. Differs from SAFS's code, whose T goes from 1e4 to 10 whatever the energies are:
    these differ by hundredths, so that it accepts everything, and is a random walk.
    """

    steps: int = 20
    start: float = 1.0
    end: float = 0.05

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        check_number("start", self.start, usual="1.0", zero=False)
        check_number("end", self.end, usual="0.05", zero=False)
        if self.end > self.start:
            raise InvalidValue(f"end is {self.end!r}, start {self.start!r}", "temperatures fall", "exchange the two")

    def propose(self, space: SearchSpace, history: History, seed: int, number: int) -> Candidate | None:
        """See `Sampler.propose`."""
        if number > self.steps:
            return None
        if not history:
            return drawn(space, generator(seed, number))
        return moved(space, self._current(history, seed), generator(seed, number))

    def _current(self, history: History, seed: int) -> Candidate:
        current, energies = history[0], [history[0].energy]
        for number in range(1, len(history)):
            trial = history[number]
            energies.append(trial.energy)
            chance = generator(seed, number, "acceptance").random()
            if chance < self._probability(trial.energy, current.energy, number - 1, energies):
                current = trial
        return current.candidate

    def _probability(self, energy: float, current: float, step: int, energies: list[float]) -> float:
        if energy <= current:
            return 1.0
        temperature = self.start * (self.end / self.start) ** (step / self.steps) * _spread(energies)
        return math.exp(-(energy - current) / temperature) if temperature > 0 else 0.0


def _spread(energies: list[float]) -> float:
    """The median distance from the median, of those that are finite; 0 where there are fewer than two."""
    finite = [energy for energy in energies if math.isfinite(energy)]
    middle = median(finite) if finite else 0.0
    return median(abs(energy - middle) for energy in finite) if finite else 0.0
