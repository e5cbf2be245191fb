"""Late acceptance hill climbing: the sampler of SAFS."""

from __future__ import annotations

from dataclasses import dataclass

from budbreak.checks import check_count, check_fraction
from budbreak.search.parameters import Candidate, drawn
from budbreak.search.sampler import generator, moved
from budbreak.search.space import SearchSpace
from budbreak.search.trial import History


@dataclass(frozen=True)
class LateAcceptance:
    """Climb, and compare with what was current some steps ago, so that a step down is taken now and then.

    The first candidate is drawn; each other one is the current one moved: one site drawn anew, two exchanged. With
    E = 1 / score, step k (from 0) accepts a candidate if E < h[k mod H] or E <= E of the current one; then h[k mod H]
    falls to the E of the current one, if that is lower. All H entries begin with the first E. It stops once more than
    ``steps`` steps are over, the last of them, more than ``idle`` of all, without improving on the current one. So
    there are at least ``steps + 2`` trials: with the defaults 22, and seldom over 25.

    Where it stands is computed from the history. Evaluated in parallel it is another, asynchronous chain: a candidate
    is a move of what is current among the trials that are known, and is compared in the order of these.

    Args:
        history: H, the number of energies that are remembered; 1 is plain hill climbing.
        steps: that are taken at least.
        idle: the share of all steps, in [0, 1).

    Source: Burke and Bykov 2017, doi 10.1016/j.ejor.2016.07.012; the numbers are those of SAFS, arXiv 2305.10964.
    """

    history: int = 3
    steps: int = 20
    idle: float = 0.02

    def __post_init__(self) -> None:
        check_count("history", self.history)
        check_count("steps", self.steps, least=0)
        check_fraction("idle", self.idle)

    def propose(self, space: SearchSpace, history: History, seed: int, number: int) -> Candidate | None:
        """See `Sampler.propose`."""
        draw = generator(seed, number)
        if not history:
            return drawn(space, draw)
        current, idle = self._replay(history)
        steps = len(history) - 1
        if steps > self.steps and idle > steps * self.idle:
            return None
        return moved(space, current, draw)

    def _replay(self, history: History) -> tuple[Candidate, int]:
        """The current candidate, and for how many steps none has improved on the current one of its time."""
        current, energy, idle = history[0].candidate, history[0].energy, 0
        late = [energy] * self.history
        for step, trial in enumerate(history[1:]):
            idle = 0 if trial.energy < energy else idle + 1
            then = step % self.history
            if trial.energy < late[then] or trial.energy <= energy:
                current, energy = trial.candidate, trial.energy
            late[then] = min(late[then], energy)
        return current, idle
