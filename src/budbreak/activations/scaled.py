"""Operators of the form alpha * g(beta * x): all that differs is g, its slope, and what is known of it."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from dataclasses import dataclass

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

    @abc.abstractmethod
    def g(self, z: Tensor) -> Tensor:
        """The operator itself."""

    @abc.abstractmethod
    def slope(self, z: Tensor) -> Tensor:
        """Its derivative."""

    builtin = True
    """Whether torch has g as one function that is fast forward and backward."""

    def formula(self, x: Tensor, *scalars: Scalar) -> Tensor:
        """See `Activation`."""
        alpha, beta = scalars
        return alpha * self.g(beta * x)

    def slopes(self, x: Tensor, *scalars: Scalar) -> Iterator[Tensor]:
        """See `Activation`."""
        alpha, beta = scalars
        z = beta * x
        slope = alpha * self.slope(z)
        yield beta * slope
        yield self.g(z)
        yield x * slope

    def shortcut(self, x: Tensor) -> Tensor | None:
        """See `Activation`."""
        return self.g(x) if self.builtin and self.alpha == self.beta == 1 else None
