"""The families of today, values of each of their classes, and classes of a user's own."""

from dataclasses import MISSING, InitVar, dataclass, field
from fractions import Fraction
from typing import Any, Literal

from hypothesis import strategies as st

from budbreak import evidence, schedules
from budbreak.recipes.families import (
    ACTIVATIONS,
    CRITERIA,
    DIAGNOSTICS,
    FOLLOW_UPS,
    GRANULARITIES,
    OPTIMIZERS,
    RATES,
    SAMPLERS,
    SCHEDULES,
)
from budbreak.values import Family
from enrolled import row_of

PROBES = Family.of("probe", evidence.ALL, needs=("start",), call=False)
OBSERVERS = Family.of("observer", evidence.OBSERVERS, needs=("watch", "result", "reset"), call=False)
FAMILIES = (
    ACTIVATIONS,
    CRITERIA,
    SCHEDULES,
    FOLLOW_UPS,
    GRANULARITIES,
    OPTIMIZERS,
    RATES,
    DIAGNOSTICS,
    SAMPLERS,
    PROBES,
    OBSERVERS,
)


def values_of(family):
    """Values of all classes of a family, some fields at their defaults."""
    every = [
        st.fixed_dictionaries({}, optional=row_of(kind).arguments).map(partial_of(kind)) for kind in classes(family)
    ]
    return st.one_of(every)


def classes(family):
    return list(family.names.values())


def partial_of(kind):
    """With what is required, where it was not drawn."""
    required = {name for name, default in row_of(kind).introduced.items() if default is MISSING}
    usual = {name: value for name, value in row_of(kind).samples[0].items() if name in required}
    return lambda arguments: kind(**{**usual, **arguments})


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
