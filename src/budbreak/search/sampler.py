"""What a sampler is, and what several of them share: random numbers of a trial's own, and moves."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from budbreak.activations import Activation
from budbreak.iteration import derive_seed
from budbreak.search.parameters import Candidate
from budbreak.search.space import SearchSpace
from budbreak.search.trial import History


@runtime_checkable
class Sampler(Protocol):
    """What to try next? A frozen value; never evaluates, and keeps no state: the history is its state.

    Pure in (space, history, seed, number), so that a search which was killed at any trial goes on as if it had not
    been. It draws from a generator of its own, see `generator`, and from no global one.
    """

    def propose(self, space: Any, history: History, seed: int, number: int) -> Candidate | None:
        """The candidate of the trial of this number.

        Args:
            space: in which it lies: a `SearchSpace`, or whatever `Space` the sampler takes.
            history: the trials that are known by now, by the same sampler under the same seed; of those that diverged
                the energy is infinite. Where several run at a time these are not all trials before this one, maybe
                none.
            seed: of everything random.
            number: of the trial, from 0; at least as many as are known. It tells apart trials that know the same.

        Returns:
            A candidate, which may have been tried before; None to stop.
        """
        ...


def generator(seed: int, number: int, purpose: str = "proposal") -> random.Random:
    """Random numbers for one purpose at the trial of this number, and for nothing else."""
    return random.Random(derive_seed(seed, purpose, number))


def moved(space: SearchSpace, candidate: Candidate, draw: random.Random) -> Candidate:
    """The move of SAFS: draw the activation of one site anew, then let two sites exchange theirs.

    What is drawn may be what was there, and the two sites may be the same one. Where one of the two may not have the
    activation of the other, they keep their own.
    """
    places = list(candidate)
    site = draw.randrange(len(places))
    places[site] = draw.randrange(space.lengths[site])
    one, other = draw.randrange(len(places)), draw.randrange(len(places))
    choices = list(space.values())
    first, second = choices[one][places[one]], choices[other][places[other]]
    if first in choices[other] and second in choices[one]:
        places[one], places[other] = _place(choices[one], second), _place(choices[other], first)
    return tuple(places)


def _place(choices: Sequence[Activation], activation: Activation) -> int:
    return list(choices).index(activation)
