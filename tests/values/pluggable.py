"""The families of today, values of each of their classes, and classes of a user's own."""

from dataclasses import InitVar, dataclass, field
from fractions import Fraction
from typing import Any, Literal

from hypothesis import strategies as st

from budbreak import criteria, diagnostics, evidence, masks, schedules, training
from budbreak.iteration import followups
from budbreak.studies.families import (
    CRITERIA,
    DIAGNOSTICS,
    FOLLOW_UPS,
    GRANULARITIES,
    OPTIMIZERS,
    RATES,
    SCHEDULES,
)
from budbreak.values import Family

PROBES = Family.of("probe", evidence.ALL, needs=("start",), call=False)
FAMILIES = (CRITERIA, SCHEDULES, FOLLOW_UPS, GRANULARITIES, OPTIMIZERS, RATES, DIAGNOSTICS, PROBES)

SHARES = st.floats(0.001, 0.99)
BETAS = st.tuples(SHARES, SHARES)
DECAY = {"epsilon": SHARES, "weight_decay": SHARES}
ARGUMENTS = {
    criteria.Random: {"seed": st.integers(0, 2**63 - 1)},
    schedules.Cubic: {"sparsity": SHARES, "levels": st.integers(1, 10**6)},
    schedules.Geometric: {"rate": st.floats(0.001, 0.5), "levels": st.integers(1, 40)},
    schedules.OneShot: {"sparsity": SHARES},
    followups.ActivateWhilePruning: {"q": SHARES, "variant": st.sampled_from(["lite", "pro"])},
    followups.SplitRemoval: {"q": SHARES},
    masks.Unit: {"dim": st.none() | st.integers(0, 3), "outputs": st.none() | st.just(("fc.weight",))},
    training.SGD: {"learning_rate": SHARES, "momentum": SHARES, "nesterov": st.booleans(), "weight_decay": SHARES},
    training.Adam: {"learning_rate": SHARES, "betas": BETAS, **DECAY},
    training.AdamW: {"learning_rate": SHARES, "betas": BETAS, **DECAY},
    training.Constant: {"warmup": SHARES},
    training.Cosine: {"end": SHARES, "warmup": SHARES},
    training.Linear: {"end": SHARES, "warmup": SHARES},
    training.OneCycle: {"peak": SHARES, "start": SHARES, "end": SHARES},
    training.Plateau: {"patience": st.integers(0, 9), "gamma": SHARES, "threshold": SHARES, "warmup": SHARES},
    training.Steps: {"milestones": st.just((1.0, 2.5)), "gamma": SHARES, "warmup": SHARES},
    diagnostics.DeadUnits: {"threshold": st.floats(0, 10)},
    evidence.UnitCounts: {"threshold": st.floats(0, 10)},
}
"""Strategies for the arguments of each class that takes some; a new class with arguments needs a row."""


def values_of(family):
    """Values of all classes of a family, some fields at their defaults."""
    every = [
        st.fixed_dictionaries({}, optional=ARGUMENTS.get(kind, {})).map(partial_of(kind)) for kind in classes(family)
    ]
    return st.one_of(every)


def classes(family):
    return list(family.names.values())


def partial_of(kind):
    needed = {schedules.Cubic: {"sparsity": 0.5, "levels": 3}, schedules.Geometric: {"rate": 0.25, "levels": 2}}
    needed |= {schedules.OneShot: {"sparsity": 0.9}}
    needed |= {training.Plateau: {"patience": 2}, training.Steps: {"milestones": (1.0, 2.0)}}
    return lambda arguments: kind(**{**needed.get(kind, {}), **arguments})


# --- what a user might write ------------------------------------------------------------------------------


def double(x):
    return 2 * x


@dataclass(frozen=True)
class Everything:
    """One field of each annotation that a plain form can describe."""

    number: float = 1.0
    count: int = 3
    flag: bool = False
    text: str = "a"
    kind: Literal["lite", "pro"] = "lite"
    maybe: float | None = None
    either: int | str = 0
    numbers: tuple[float, ...] = ()
    pair: tuple[int, str] = (1, "x")
    anything: Any = None
    needs: tuple[str, ...] = field(default=(), init=False)

    def __call__(self):
        return 0


@dataclass(frozen=True)
class Mine:
    alpha: float = 0.3
    needs = ()

    def __call__(self, evidence):
        return evidence


@dataclass(frozen=True)
class Magnitude:
    """A user's own, of the name of ours."""

    needs = ()

    def __call__(self, evidence):
        return evidence


@dataclass(frozen=True)
class Outer:
    """Holds pluggable values itself."""

    inner: Any = field(default=None, metadata={"family": lambda: CRITERIA})
    several: tuple[Any, ...] = field(default=(), metadata={"family": lambda: CRITERIA})
    schedule: schedules.Geometric | None = field(default=None, metadata={"family": lambda: SCHEDULES})


@dataclass(frozen=True)
class Nest:
    inner: "Nest | None" = field(default=None, metadata={"family": lambda: NESTS})


@dataclass(frozen=True)
class Calls:
    function: Any = None


@dataclass(frozen=True)
class NoNeeds:
    def __call__(self, evidence):
        return evidence


@dataclass
class NotFrozen:
    needs = ()


@dataclass(frozen=True, eq=False)
class ByIdentity:
    needs = ()


@dataclass(frozen=True)
class Unhashable:
    options: Any = field(default_factory=list)
    needs = ()

    def __call__(self, evidence):
        return evidence


@dataclass(frozen=True)
class Hidden:
    alpha: InitVar[float] = 0.0
    needs = ()


@dataclass(frozen=True)
class Raises:
    alpha: float = 0.0
    needs = ()

    def __post_init__(self):
        raise KeyError("out of milk")


@dataclass(frozen=True)
class Holds:
    """Any annotation at all: for identities."""

    part: object = Fraction(1, 3)


OUTERS = Family.of("outer", [Outer], call=False)
NESTS = Family.of("nest", [Nest], call=False)
EVERYTHING = Family.of("everything", [Everything], needs=("needs",))
