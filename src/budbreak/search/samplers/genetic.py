"""A genetic algorithm over the activations of sites."""

from __future__ import annotations

import random
from dataclasses import dataclass

from budbreak.checks import check_count, shown
from budbreak.errors import InvalidValue
from budbreak.search.parameters import Candidate, drawn
from budbreak.search.sampler import generator
from budbreak.search.space import SearchSpace
from budbreak.search.trial import History, Trial


@dataclass(frozen=True)
class Genetic:
    """Generations, each bred from the best of the one before.

    The first generation is drawn. In each other one the first candidate is the best of the one before, which takes its
    score over without being trained again; each other one has two parents, each the better one of two that are drawn.
    With the probability ``crossover`` it has the sites before a place that is drawn from one parent, the rest from the
    other, else all from one; with the probability ``mutation`` one of its sites is then given another activation. Where
    trials run at a time, the parents are the last ones that are known, a generation of them at most.

    Args:
        population: candidates in a generation, >= 2.
        generations: of which the first is drawn.
        crossover: a probability in [0, 1].
        mutation: a probability in [0, 1].

    Source: Holland 1975; the numbers are those of SAFS's code, whose mutation writes 0 or 1 in the place of operators.
    """

    population: int = 5
    generations: int = 2
    crossover: float = 0.8
    mutation: float = 0.3

    def __post_init__(self) -> None:
        check_count("population", self.population, least=2)
        check_count("generations", self.generations)
        for name in ("crossover", "mutation"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
                raise InvalidValue(f"{name} is {shown(value)}", "it is a probability in [0, 1]", f"write {name}=0.5")

    def propose(self, space: SearchSpace, history: History, seed: int, number: int) -> Candidate | None:
        """See `Sampler.propose`."""
        generation, place = divmod(number, self.population)
        if generation >= self.generations:
            return None
        draw = generator(seed, number)
        parents = history[: generation * self.population][-self.population :]
        if len(parents) < 2:
            return drawn(space, draw)
        return _best(parents).candidate if place == 0 else self._child(space, parents, draw)

    def _child(self, space: SearchSpace, parents: History, draw: random.Random) -> Candidate:
        one, other = (_best(draw.sample(parents.trials, 2)).candidate for _ in range(2))
        child = list(one)
        if draw.random() < self.crossover:
            cut = draw.randrange(len(child) + 1)
            child[cut:] = other[cut:]
        if draw.random() < self.mutation:
            site = draw.randrange(len(child))
            child[site] = _another(child[site], space.lengths[site], draw)
        return tuple(child)


def _best(trials: History | list[Trial]) -> Trial:
    """The one of the lowest energy, the first of equal ones."""
    return min(trials, key=lambda trial: trial.energy)


def _another(place: int, length: int, draw: random.Random) -> int:
    """Any other place, each as likely; the same where there is no other."""
    return place if length == 1 else (place + 1 + draw.randrange(length - 1)) % length
