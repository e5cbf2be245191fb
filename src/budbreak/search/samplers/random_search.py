"""Random search: the control that every sampler must beat."""

from __future__ import annotations

from dataclasses import dataclass

from budbreak.checks import check_count
from budbreak.search.parameters import Candidate, Space, drawn
from budbreak.search.sampler import generator
from budbreak.search.trial import History


@dataclass(frozen=True)
class RandomSearch:
    """Draw each candidate anew, every value of a parameter as likely, whatever was found.

    Differs from SAFS's code, which walks from each candidate to the next.

    Args:
        trials: after which it stops; 20 is the number of SAFS's code.
    """

    trials: int = 20

    def __post_init__(self) -> None:
        check_count("trials", self.trials)

    def propose(self, space: Space, history: History, seed: int, number: int) -> Candidate | None:
        """See `Sampler.propose`."""
        return drawn(space, generator(seed, number)) if number < self.trials else None
