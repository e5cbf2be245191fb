"""Random search: the control that every sampler must beat."""

from __future__ import annotations

from dataclasses import dataclass

from budbreak.checks import check_count
from budbreak.search.sampler import drawn, generator
from budbreak.search.space import Candidate, SearchSpace
from budbreak.search.trial import History


@dataclass(frozen=True)
class Random:
    """Draw each candidate anew, every one as likely, whatever was found.

    Differs from SAFS's code, which walks from each candidate to the next.

    Args:
        trials: after which it stops; 20 is the number of SAFS's code.
    """

    trials: int = 20

    def __post_init__(self) -> None:
        check_count("trials", self.trials)

    def propose(self, space: SearchSpace, history: History, seed: int) -> Candidate | None:
        """See `Sampler.propose`."""
        return drawn(space, generator(seed, len(history))) if len(history) < self.trials else None
