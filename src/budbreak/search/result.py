"""What a search found."""

from __future__ import annotations

from dataclasses import dataclass

from budbreak.activations import ActivationPlan
from budbreak.search.space import SearchSpace
from budbreak.search.trial import History, Trial


class Found:
    """What results of searches have in common: the best of their trials."""

    history: History

    @property
    def best(self) -> Trial:
        """The trial with the highest score, of those that were not stopped; the earliest of equal ones.

        Raises:
            NotFinite: if all of them diverged.
        """
        return self.history.best_trial()

    @property
    def score(self) -> float:
        """That of the best trial, in [0, 1].

        Raises:
            NotFinite: if all of them diverged.
        """
        score = self.best.score
        assert score is not None
        return score


@dataclass(frozen=True)
class SearchResult(Found):
    """All trials of a search, and the best of them.

    The score of the best of many is a little too high, as it was chosen for it: measure the network that you train in
    the end on data that neither ``train`` nor ``evaluate`` has seen.
    """

    space: SearchSpace
    history: History

    @property
    def plan(self) -> ActivationPlan:
        """The activations of the best trial, for `replace_activations`.

        Raises:
            NotFinite: if all trials diverged.
        """
        return self.space.plan(self.best.candidate)

    def top(self, count: int) -> tuple[ActivationPlan, ...]:
        """The plans of the highest scores, the best one first, each once: to train again for longer.

        A short training favours activations that start fast; those of the best few may come out in another order.
        """
        return tuple(self.space.plan(candidate) for candidate in self.history.ranked[:count])
