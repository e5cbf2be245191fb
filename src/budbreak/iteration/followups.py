"""What follows the host criterion's removal within a level: AP, and the arms that make comparison fair."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

from budbreak.checks import check_fraction
from budbreak.criteria import Criterion, LeastMovedNegative
from budbreak.errors import InvalidValue


class FollowUp(Protocol):
    """A second, smaller removal in the same level; the level's total stays what the schedule says.

    One whose criterion draws random numbers has a method ``replicate(seed)``, as such a criterion has.
    """

    @property
    def q(self) -> float:
        """Its share of the weights alive before the level, in [0, 1): ``floor(q * alive)`` weights."""
        ...

    @property
    def retrains(self) -> bool:
        """Whether the weights are rewound and trained once more before it: a stage of its own."""
        ...

    @property
    def criterion(self) -> Criterion | None:
        """What it removes by; None: by the host's criterion."""
        ...


@dataclass(frozen=True)
class ActivateWhilePruning:
    """AP: after the host, remove the negative survivors that moved least, to wake neurons up.

    The host removes that much less, so that arms with and without AP keep equally many weights. Should there
    be too few negative survivors, the host takes the remainder and the record says so.

    Args:
        q: share of the weights alive before the level, in (0, 1); the paper's scripts use 0.02.
        variant: ``"lite"``: right after the host, no extra training; ``"pro"``: host, rewind, train, AP,
            rewind, train: two trainings a level. Compare pro with `SplitRemoval` and `Retrain`.

    Source: Liu et al. 2023 (AP), TMLR, arXiv 2212.06145, algorithms 1 and 2.
    """

    q: float = 0.02
    variant: Literal["lite", "pro"] = "lite"
    criterion: Criterion | None = field(default=LeastMovedNegative(), init=False)

    def __post_init__(self) -> None:
        check_fraction("q", self.q, zero=False)
        if self.variant not in ("lite", "pro"):
            near = "pro" if str(self.variant).lower() == "pro" else "lite"
            raise InvalidValue(f"variant is {self.variant!r}", "it must be 'lite' or 'pro'", f"write variant={near!r}")

    @property
    def retrains(self) -> bool:
        """True for pro."""
        return self.variant == "pro"


@dataclass(frozen=True)
class SplitRemoval:
    """The fair counterpart of AP pro: the host's own removal, split in two with a rewind and a training between.

    Args:
        q: the share that the host removes in the second half, in (0, 1): pro's q.
    """

    q: float = 0.02
    retrains: bool = field(default=True, init=False)
    criterion: Criterion | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        check_fraction("q", self.q, zero=False)


@dataclass(frozen=True)
class Retrain:
    """Rewind and train the same mask once more: the training budget of AP pro, and nothing else."""

    q: float = field(default=0.0, init=False)
    retrains: bool = field(default=True, init=False)
    criterion: Criterion | None = field(default=None, init=False)


ALL = (ActivateWhilePruning, Retrain, SplitRemoval)
