"""What a search chooses: parameters, each with what it may be and when it is there at all."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from budbreak.checks import shown
from budbreak.errors import InvalidValue

Candidate = tuple[Any, ...]
"""A value for each parameter of a space, in its order; None where the parameter is not active. Of a space of
activations: for each site, the place of one among those that it may have."""

_RULE = "a range has two finite numbers, low < high, and above 0 where it is logarithmic"


@dataclass(frozen=True)
class Range:
    """Numbers from low to high, both among them; whole ones if both are whole.

    Args:
        low: the lowest.
        high: the highest.
        log: as many below any number of it as its logarithm says: 1e-4 to 1e-3 counts as much as 1e-2 to 1e-1.

    Raises:
        InvalidValue: if there is no more than one number between, or none.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        given = f"low is {shown(self.low)}, high {shown(self.high)}"
        if not _is_finite(self.low) or not _is_finite(self.high):
            raise InvalidValue(given, _RULE, "write {low = 1e-4, high = 0.1, log = true}")
        if not isinstance(self.log, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidValue(f"log is {shown(self.log)}", "it is true or false", "write log = true")
        if self.low >= self.high:
            fix = "exchange the two" if self.low > self.high else f"write {self.low!r} alone, as a constant"
            raise InvalidValue(given, _RULE, fix)
        if self.log and self.low <= 0:
            raise InvalidValue(f"{given}, log is true", _RULE, "begin above 0, with 1e-6, or leave log out")

    @property
    def whole(self) -> bool:
        """Whether its numbers are whole."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def size(self) -> float:
        """How many values there are; infinite where they are not whole."""
        return self.high - self.low + 1 if self.whole else math.inf

    def holds(self, value: object) -> bool:
        """Whether it is one of the values, and of their type."""
        return type(value) is (int if self.whole else float) and self.low <= cast("float", value) <= self.high

    def draw(self, draw: random.Random) -> float:
        """Any value, as likely as any other; of a logarithmic range, any order of magnitude."""
        if not self.log:
            return draw.randint(int(self.low), int(self.high)) if self.whole else draw.uniform(self.low, self.high)
        half = 0.5 if self.whole else 0.0  # so that the two at the ends are as likely as they should be
        return self.nearest(math.exp(draw.uniform(math.log(self.low - half), math.log(self.high + half))))

    def nearest(self, number: float) -> float:
        """The value next to a number, of the type of all values."""
        inside = min(max(number, self.low), self.high)
        return round(inside) if self.whole else float(inside)


@dataclass(frozen=True)
class Options:
    """Some values, in no order: texts, numbers, true and false."""

    values: tuple[Any, ...]

    @property
    def size(self) -> float:
        """How many there are."""
        return len(self.values)

    def holds(self, value: object) -> bool:
        """Whether it is one of the values, and of its type: True is not 1."""
        return any(same(one, value) for one in self.values)

    def place(self, value: object) -> int:
        """Where it stands among them."""
        return next(place for place, one in enumerate(self.values) if same(one, value))

    def draw(self, draw: random.Random) -> Any:
        """Any value, each as likely."""
        return self.values[draw.randrange(len(self.values))]


@dataclass(frozen=True)
class Parameter:
    """One thing that is chosen.

    Args:
        name: unlike those of the others in its space.
        domain: what it may be.
        when: (name, values) of parameters before it: it is active where each of them has one of its values. Where it
            is not, it has no value: None.
    """

    name: str
    domain: Range | Options
    when: tuple[tuple[str, tuple[Any, ...]], ...] = ()

    def active(self, chosen: Mapping[str, Any]) -> bool:
        """Whether it has a value beside these of the parameters before it."""
        return all(any(same(chosen[name], value) for value in values) for name, values in self.when)


class Space(Protocol):
    """What samplers that know nothing of activations look at."""

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """What is chosen, each after those that it depends on."""
        ...


class Candidates:
    """All candidates of some parameters, to ask whether one is among them."""

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self._parameters = tuple(parameters)

    def __contains__(self, candidate: object) -> bool:
        if not isinstance(candidate, tuple) or len(cast("Candidate", candidate)) != len(self._parameters):
            return False
        chosen = named(self._parameters, cast("Candidate", candidate))
        return all(
            parameter.domain.holds(chosen[parameter.name])
            if parameter.active(chosen)
            else chosen[parameter.name] is None
            for parameter in self._parameters
        )


def named(parameters: Sequence[Parameter], candidate: Candidate) -> dict[str, Any]:
    """The values of a candidate by the names of their parameters."""
    return {parameter.name: value for parameter, value in zip(parameters, candidate, strict=True)}


def drawn(space: Space, draw: random.Random) -> Candidate:
    """Any candidate: each parameter after another, each of its values as likely."""
    chosen = dict[str, Any]()
    for parameter in space.parameters:
        chosen[parameter.name] = parameter.domain.draw(draw) if parameter.active(chosen) else None
    return tuple(chosen.values())


def same(one: object, other: object) -> bool:
    """Whether two plain values are one: True is not 1, and 1 is not 1.0."""
    return type(one) is type(other) and one == other


def _is_finite(value: object) -> bool:
    return type(value) is int or (type(value) is float and math.isfinite(value))
