"""What a sampler is, and what several of them share: random numbers of a trial's own, and moves."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from budbreak.activations import Activation
from budbreak.iteration import derive_seed
from budbreak.search.space import Candidate, SearchSpace
from budbreak.search.trial import History


@runtime_checkable
class Sampler(Protocol):
    """What to try next? A frozen value; never evaluates, and keeps no state: the history is its state.

    Pure in (space, history, seed), so that a search which was killed at any trial goes on as if it had not been. It
    draws from a generator of its own, see `generator`, and from no global one.
    """

    def propose(self, space: SearchSpace, history: History, seed: int) -> Candidate | None:
        """The candidate of the next trial.

        Args:
            space: in which it lies.
            history: all trials so far, by the same sampler under the same seed; of those that diverged the energy is
                infinite.
            seed: of everything random.

        Returns:
            A candidate, which may have been tried before; None to stop.
        """
        ...


def generator(seed: int, number: int, purpose: str = "proposal") -> random.Random:
    """Random numbers for one purpose at the trial of this number, and for nothing else."""
    return random.Random(derive_seed(seed, purpose, number))


def drawn(space: SearchSpace, draw: random.Random) -> Candidate:
    """Any candidate, each as likely."""
    return tuple(draw.randrange(length) for length in space.lengths)


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
