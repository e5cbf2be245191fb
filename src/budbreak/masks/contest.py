"""Who competes with whom: the protocol of scopes, and what they are given."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from budbreak.masks.allocations import Allocation, Uniform, allocate
from budbreak.masks.prunable import Prunable, conv_and_linear
from budbreak.masks.scores import Score
from budbreak.masks.threshold import capacity, count_below


@dataclass(frozen=True)
class Contest:
    """What competes in one selection.

    Args:
        scores: name of a weight -> the scores of what goes as one in it: of its weights, for `Element`.
        keep: how many are kept, 0 to as many as compete.
        limits: name -> bool: what competes; None: all.
        floors: name -> how many are kept there at least; all together at most ``keep``.
        allocation: how ``keep`` is divided over layers, where a scope does; None: `Uniform`.
        spared: names of weights that keep all, as far as ``keep`` allows.
    """

    scores: Mapping[str, Score]
    keep: int
    limits: Mapping[str, Tensor] | None
    floors: Mapping[str, int]
    allocation: Allocation | None = None
    spared: frozenset[str] = frozenset()

    @functools.cached_property
    def capacities(self) -> Mapping[str, int]:
        """Name -> how many compete."""
        return {name: capacity(score, self.limits, name) for name, score in self.scores.items()}

    def fewest(self) -> int:
        """How many stay in any case: in each layer its floor, or what has a score of +inf if that is more."""
        below = {name: count_below({name: score}, self.limits, math.inf) for name, score in self.scores.items()}
        return sum(max(floor, self.capacities[name] - below[name]) for name, floor in self.floors.items())

    def shares(self) -> Mapping[str, int]:
        """Name -> how many are kept there, by the allocation, the floors and what is spared.

        Raises:
            InvalidValue: if a user's own allocation does not add up.
        """
        shapes = {name: score.shape for name, score in self.scores.items()}
        allocation = Uniform() if self.allocation is None else self.allocation
        whole = {name: self.capacities[name] if name in self.spared else floor for name, floor in self.floors.items()}
        floors = whole if sum(whole.values()) <= self.keep else self.floors
        return allocate(allocation, shapes, self.capacities, self.keep, floors)


class Scope(Protocol):
    """Where scores compete: a scope divides what there is into arenas, and keeps the highest scores of each."""

    @property
    def divides(self) -> bool:
        """Whether a target is divided over layers first: then it can be given an `Allocation`."""
        ...

    @property
    def elementwise(self) -> bool:
        """Whether it is of single weights only."""
        ...

    def fit(self, model: nn.Module, prunable: Prunable = conv_and_linear) -> Scope:
        """The same for this model's kinds of layers; `prune`, `Plan.preview` and `iterate` call it.

        Raises:
            InvalidValue: if it cannot be used on one of the weights.
        """
        ...

    def reach(self, alive: Mapping[str, Tensor]) -> Mapping[str, int] | None:
        """Name -> how many stay there, of what is alive, where nothing else is possible; None: any number."""
        ...

    def choose(self, contest: Contest) -> dict[str, Tensor]:
        """Name -> bool, of the shapes of the scores: exactly ``contest.keep`` of them are True.

        In each layer at least as many as its floor; only what competes; of equal scores the lower flat index.
        """
        ...
