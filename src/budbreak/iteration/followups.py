"""What follows the host's removal within a level: more removals, and trainings between them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from budbreak import criteria
from budbreak.checks import check_criterion, check_fraction
from budbreak.criteria import Criterion, LeastMovedNegative, Magnitude
from budbreak.errors import InvalidValue
from budbreak.evidence import observers_of
from budbreak.values import Family

CRITERIA = Family.of(
    "criterion",
    criteria.ALL,
    needs=("needs",),
    names={"apoz": criteria.APoZ, "grasp": criteria.GraSP, "synflow": criteria.SynFlow},
    example='"magnitude"',
)
"""What a host, and a stage, removes by."""


@dataclass(frozen=True)
class Remove:
    """Remove a second, smaller share within what is left; the level's total stays what the schedule says.

    The host removes that much less. It removes single weights, globally, and ``floor(q * alive)`` of them, alive =
    before the level. Should its criterion find too few candidates (as AP may: it takes negative weights only), the host
    takes the remainder, and the record says so.

    Args:
        criterion: what it removes by; None: by the host's criterion, as the host removes.
        q: share of the weights alive before the level, in (0, 1).
    """

    criterion: Criterion | None = field(default=None, metadata={"family": lambda: CRITERIA})
    q: float = 0.02

    def __post_init__(self) -> None:
        if self.criterion is not None:
            check_criterion(self.criterion, criteria.ALL)
        check_fraction("q", self.q, zero=False)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Itself."""
        return (self,)

    def replicate(self, seed: int) -> Remove:
        """The same for another replicate: a criterion that draws, draws otherwise; see `Criterion`."""
        draws: Any = getattr(self.criterion, "replicate", None)
        return self if draws is None else replace(self, criterion=draws(seed))


@dataclass(frozen=True)
class Train:
    """Rewind, and train what is left once more: a training of its own within the level.

    The level ends with a training in any case: ``[Train()]`` trains one mask twice.
    """

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Itself."""
        return (self,)


Stage = Remove | Train


class FollowUp(Protocol):
    """What a plan lets follow the host: a stage, or a short name for several. A frozen value.

    One that draws random numbers has a method ``replicate(seed)``, as a criterion has that draws them.
    """

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The removals and trainings after the host's removal, in their order; a last training follows them."""
        ...


@dataclass(frozen=True)
class ActivateWhilePruning:
    """AP: after the host, remove the negative survivors that moved least, to wake neurons up.

    A short name for two sequences of stages:

    - lite: ``[Remove(LeastMovedNegative(), q)]``, right after the host, no extra training;
    - pro: ``[Train(), Remove(LeastMovedNegative(), q)]``: host, rewind, train, AP, rewind, train. Two trainings a
      level: compare it with ``[Train(), Remove(None, q)]``, the host's own removal in two parts, and ``[Train()]``.

    Args:
        q: share of the weights alive before the level, in (0, 1); the paper's scripts use 0.02.
        variant: ``"lite"`` or ``"pro"``.

    Source: Liu et al. 2023 (AP), TMLR, arXiv 2212.06145, algorithms 1 and 2.
    """

    q: float = 0.02
    variant: Literal["lite", "pro"] = "lite"
    criterion: Criterion = field(default=LeastMovedNegative(), init=False)

    def __post_init__(self) -> None:
        check_fraction("q", self.q, zero=False)
        if self.variant not in ("lite", "pro"):
            near = "pro" if str(self.variant).lower() == "pro" else "lite"
            raise InvalidValue(f"variant is {self.variant!r}", "it must be 'lite' or 'pro'", f"write variant={near!r}")

    @property
    def stages(self) -> tuple[Stage, ...]:
        """See above."""
        removal = Remove(self.criterion, self.q)
        return (Train(), removal) if self.variant == "pro" else (removal,)


ALL = (ActivateWhilePruning, Remove, Train)


def stages_of(follow_ups: Iterable[FollowUp]) -> tuple[Stage, ...]:
    """Short names spelt out."""
    return tuple(stage for follow_up in follow_ups for stage in follow_up.stages)


def watching(host: Criterion, follow_ups: Iterable[FollowUp]) -> tuple[Criterion, tuple[FollowUp, ...]]:
    """What of a host and what follows it has level 0 watched; magnitude stands for a host that does not."""
    watched = tuple(one for one in follow_ups if any(observers_of(c.needs) for c in criteria_of(Magnitude(), [one])))
    return (host if observers_of(host.needs) else Magnitude()), watched


def criteria_of(host: Criterion, follow_ups: Iterable[FollowUp]) -> tuple[Criterion, ...]:
    """The host, and the criteria that removals have of their own."""
    own = [stage.criterion for stage in stages_of(follow_ups) if isinstance(stage, Remove)]
    return (host, *(criterion for criterion in own if criterion is not None))
