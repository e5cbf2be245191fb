"""What was tried: a candidate, its score and what it cost; and all trials of a search, in order."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from budbreak.errors import NotFinite
from budbreak.search.parameters import Candidate

Values = tuple[tuple[int, float], ...]
"""(epoch, accuracy after it), in order."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One candidate, and what came of it; all of it as JSON holds it.

    Args:
        candidate: the place of the activation that each site had, or the values of settings: see `Candidate`.
        score: a share in [0, 1], higher is better; None where the training diverged, which is worse than any score.
            Where it was stopped, the last accuracy that it reported.
        seconds: that training and scoring took; 0 where another trial's score is taken over.
        epochs: of the training, if it was said; 0 where another trial's score is taken over.
        values: what its training reported, if it reports; none where another trial's score is taken over.
        stopped: whether it ended before its training was over, as it was not worth going on.
        same_as: the number of the earlier trial of the same candidate, whose score this is; None for one that was
            trained.
        note: why it diverged; else "".
    """

    candidate: Candidate
    score: float | None
    seconds: float
    epochs: float | None = None
    values: Values = ()
    stopped: bool = False
    same_as: int | None = None
    note: str = ""

    @property
    def diverged(self) -> bool:
        """Whether there is no score."""
        return self.score is None

    @property
    def energy(self) -> float:
        """What samplers lower: 1 / score, in [1, inf]; inf for a score of 0 or none."""
        return 1 / self.score if self.score else math.inf


@dataclass(frozen=True)
class History(Sequence[Trial]):
    """All trials of a search, in the order in which they were proposed."""

    trials: tuple[Trial, ...] = ()

    @property
    def best(self) -> int | None:
        """The number of the trial with the highest score, the earliest of equal ones; None while there is no score.

        One that was stopped is the best only where no other has a score.
        """
        scored = [
            (not trial.stopped, trial.score, -number) for number, trial in enumerate(self) if trial.score is not None
        ]
        return -max(scored)[2] if scored else None

    @property
    def best_so_far(self) -> tuple[float | None, ...]:
        """The highest score up to each trial, without those that were stopped; None before the first."""
        reached, best = list[float | None](), None
        for trial in self:
            if trial.score is not None and not trial.stopped and (best is None or trial.score > best):
                best = trial.score
            reached.append(best)
        return tuple(reached)

    @property
    def ranked(self) -> tuple[Candidate, ...]:
        """All candidates that have a score, each once: the best one first, of equal scores the earlier one.

        Those that were stopped come after all others.
        """
        scored = [trial for trial in self if trial.score is not None]
        best_first = sorted(scored, key=lambda trial: (trial.stopped, -(trial.score or 0)))
        return tuple(dict.fromkeys(trial.candidate for trial in best_first))

    @property
    def seconds(self) -> float:
        """What all trials took."""
        return sum(trial.seconds for trial in self)

    @property
    def epochs(self) -> float | None:
        """Of all trials; None where it was not said of one."""
        every = [trial.epochs for trial in self]
        return None if None in every else sum(epochs for epochs in every if epochs is not None)

    def best_trial(self) -> Trial:
        """The trial that `best` numbers.

        Raises:
            NotFinite: if all of them diverged.
        """
        if self.best is None:
            notes = sorted({trial.note for trial in self})
            raise NotFinite(
                f"all {len(self)} trials diverged: {'; '.join(notes[:3])}",
                "the best of them is the one with the highest score",
                "train at a lower learning rate, or clip gradients",
            )
        return self[self.best]

    def first_of(self, candidate: Candidate) -> int | None:
        """The number of the first trial of a candidate, if there is one."""
        return next((number for number, trial in enumerate(self) if trial.candidate == candidate), None)

    def then(self, trial: Trial) -> History:
        """The history with one trial more."""
        return History((*self.trials, trial))

    def __len__(self) -> int:
        return len(self.trials)

    def __iter__(self) -> Iterator[Trial]:
        return iter(self.trials)

    @overload
    def __getitem__(self, index: int) -> Trial: ...
    @overload
    def __getitem__(self, index: slice) -> History: ...
    def __getitem__(self, index: int | slice) -> Trial | History:
        return History(self.trials[index]) if isinstance(index, slice) else self.trials[index]
