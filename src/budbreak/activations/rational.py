"""Rational functions that learn their coefficients: safe Pade units."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from budbreak.activations.activation import Activation
from budbreak.activations.evaluating import Scalar
from budbreak.checks import shown
from budbreak.errors import InvalidValue

_NUMERATOR = (0.0, 0.5, 0.24994455, 0.05268699, 0.00555048, 0.00024445)
_DENOMINATOR = (0.0, 0.10537399, 0.0, 0.0004889)


@dataclass(frozen=True)
class Rational(Activation):
    """P(x) / (1 + |Q(x)|), with P(x) = a0 + a1 x + a2 x^2 + ... and Q(x) = b1 x + b2 x^2 + ...

    Every coefficient is a scalar. It starts within 0.0001 of Swish on [-5, 5], by least squares, and goes on with slope
    1/2 beyond. Finite for |x| < 10^7 in float32.

    Args:
        numerator: a0, a1, ...
        denominator: b1, b2, ...: as many as P has powers, or one less.

    Source: Molina et al. 2020 (PAU), arXiv 1907.06732, whose safe form this is.
    """

    numerator: tuple[float, ...] = _NUMERATOR
    denominator: tuple[float, ...] = _DENOMINATOR
    trainable: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        for name, values in (("numerator", self.numerator), ("denominator", self.denominator)):
            if not isinstance(values, tuple) or not values:  # pyright: ignore[reportUnnecessaryIsInstance]
                fix = f"write Rational({name}=(0.0, 1.0))"
                raise InvalidValue(f"{name} is {shown(values)}", "it must be a tuple of coefficients", fix)
        super().__post_init__()

    @property
    def scalars(self) -> Mapping[str, float]:
        """See `Activation`."""
        above = {f"a{power}": value for power, value in enumerate(self.numerator)}
        return above | {f"b{power}": value for power, value in enumerate(self.denominator, start=1)}

    def fixed(self, scalars: Mapping[str, float]) -> Rational:
        """See `Activation`."""
        values = {**self.scalars, **scalars}
        above, below = (tuple(values[name] for name in values if name[0] == kind) for kind in "ab")
        return dataclasses.replace(self, numerator=above, denominator=below, trainable=False, per="site")

    def formula(self, x: Tensor, *scalars: Scalar) -> Tensor:
        """See `Activation`."""
        above, below = self._split(scalars)
        return _polynomial(above, x) / (1 + _polynomial(below, x).abs())

    def slopes(self, x: Tensor, *scalars: Scalar) -> Iterator[Tensor]:
        """See `Activation`."""
        above, below = self._split(scalars)
        q = _polynomial(below, x)
        under, sign = 1 + q.abs(), torch.sign(q)
        value = _polynomial(above, x) / under
        yield (_polynomial(_derived(above), x) - value * sign * _polynomial(_derived(below), x)) / under
        power = 1 / under
        for _ in above:
            yield power
            power = power * x
        power = -value * sign / under
        for _ in below[1:]:
            power = power * x
            yield power

    def _numbers(self) -> dict[str, float]:
        return dict(self.scalars)

    def _split(self, scalars: Sequence[Scalar]) -> tuple[Sequence[Scalar], Sequence[Scalar]]:
        count = len(self.numerator)
        return scalars[:count], (0.0, *scalars[count:])


def _polynomial(coefficients: Sequence[Scalar], x: Tensor) -> Tensor:
    """By Horner's rule, from the highest power down."""
    total = torch.zeros_like(x)
    for coefficient in reversed(coefficients):
        total = total * x + coefficient
    return total


def _derived(coefficients: Sequence[Scalar]) -> Sequence[Scalar]:
    return [power * coefficient for power, coefficient in enumerate(coefficients)][1:]
