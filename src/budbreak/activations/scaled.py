"""Operators of the form alpha * g(beta * x): all that differs is g, its slope, and what is known of it."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from budbreak.activations.activation import Activation
from budbreak.activations.evaluating import Scalar


@dataclass(frozen=True)
class Scaled(Activation):
    """alpha * g(beta * x).

    Args:
        alpha: the scale of what it gives.
        beta: the scale of what comes in.
    """

    alpha: float = 1.0
    beta: float = 1.0
    widened: ClassVar[bool] = False

    @abc.abstractmethod
    def g(self, z: Tensor) -> Tensor:
        """The operator itself."""

    def formula(self, x: Tensor, *scalars: Scalar) -> Tensor:
        """See `Activation`."""
        alpha, beta = scalars
        return alpha * self.g(beta * x)

    def shortcut(self, x: Tensor) -> Tensor | None:
        """See `Activation`."""
        return None if self.is_closed or not self.alpha == self.beta == 1 else self.g(x)


@dataclass(frozen=True)
class Sloped(Scaled):
    """One whose slope is faster in closed form than autograd's."""

    widened: ClassVar[bool] = True

    @abc.abstractmethod
    def slope(self, z: Tensor) -> Tensor:
        """The derivative of g."""

    def slopes(self, x: Tensor, *scalars: Scalar) -> Iterator[Tensor]:
        """See `Activation`."""
        alpha, beta = scalars
        z = beta * x
        slope = alpha * self.slope(z)
        yield beta * slope
        yield self.g(z)
        yield x * slope
