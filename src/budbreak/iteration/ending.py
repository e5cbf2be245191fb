"""When a training ends before its last epoch, by a rule that remembers the epochs before: a frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

Closes = Literal["", "now", "next"]
"""Whether the iteration ends, too: not; with this level; or with the next pruning, after which nothing is trained."""


@dataclass(frozen=True)
class PastEpoch:
    """An epoch that is over.

    Args:
        level, stage: of its training.
        numbers: those that the rule reads, as they were recorded in it.
    """

    level: int
    stage: int
    numbers: Mapping[str, float]


@dataclass(frozen=True)
class SoFar:
    """What an ending rule looks at, at the end of an epoch.

    Args:
        level, stage: of the training that runs; ``last_stage``: whether the level ends with it.
        levels: prunings of the plan.
        most: epochs that `Level.epochs` was given.
        epochs: of the whole iteration, the one that is over last; those that were counted under the rule.
    """

    level: int
    stage: int
    last_stage: bool
    levels: int
    most: int
    epochs: tuple[PastEpoch, ...]

    @property
    def own(self) -> tuple[PastEpoch, ...]:
        """The epochs of the training that runs."""
        return tuple(one for one in self.epochs if (one.level, one.stage) == (self.level, self.stage))

    def numbers(self, name: str, *, own: bool) -> list[float]:
        """One number of each epoch: of the training that runs (``own``), or of all."""
        return [one.numbers[name] for one in (self.own if own else self.epochs)]


@dataclass(frozen=True)
class Ending:
    """How a training ends with the epoch that is over.

    Args:
        why: what was not reached, in words, for the record; empty where all is as it should be.
        closes: whether the iteration ends, too.
    """

    why: str = ""
    closes: Closes = ""


@runtime_checkable
class EndingRule(Protocol):
    """When does a training end? A frozen value that `Level.epochs` takes as ``until``.

    Pure: it looks at what was recorded and at nothing else, so that a resumed training ends at the same epoch.
    """

    @property
    def reads(self) -> tuple[str, ...]:
        """The names of the numbers that it looks at: each epoch records them."""
        ...

    @property
    def together(self) -> bool:
        """Whether the epochs that `Level.epochs` is given are those of all trainings together."""
        ...

    def check(self, levels: int, /) -> None:
        """Refuse a plan of so many prunings that it is not made for."""
        ...

    def ends(self, so_far: SoFar, /) -> Ending | None:
        """How the training ends with the epoch that is over; None: it goes on."""
        ...
