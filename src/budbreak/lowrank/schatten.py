"""The Schatten-p quasi-norm: nearer to the rank than the nuclear norm."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from budbreak.checks import check_number
from budbreak.lowrank.penalties import penalized, shrink_all
from budbreak.masks import Mask, Prunable, conv_and_linear

_ROUNDS = 60
"""Of the fixed point below: a round leaves p / 2 of an error at the threshold, where it is slowest; 2^-60 is none."""


@dataclass(frozen=True)
class SchattenP:
    """A penalty on the sum of the p-th powers of the singular values of each weight.

    strength * sum over weights, sum over i of s[i]^p; p = 1 is the nuclear norm, and towards p = 0 it is the rank. What
    is differentiated is (s^2 + epsilon^2)^(p/2) - epsilon^p, which is smooth, and whose gradient U diag(p * s * (s^2 +
    epsilon^2)^(p/2 - 1)) V^T is finite everywhere, and 0 at 0; s^p itself has none there. The proximal step is that of
    s^p. Each group of a grouped convolution is a matrix of its own.

    Args:
        strength: >= 0.
        p: in (0, 1]; over 1 nothing becomes of low rank (2 is weight decay).
        epsilon: > 0: below it a singular value counts as next to nothing.

    Raises:
        InvalidValue: for arguments outside these.

    Source: Mohan & Fazel 2012 (smoothed Schatten-p); Zuo et al. 2013 (generalized soft thresholding).
    """

    strength: float
    p: float = 0.5
    epsilon: float = 1e-3

    def __post_init__(self) -> None:
        check_number("strength", self.strength, usual="1e-4")
        check_number("p", self.p, usual="0.5", zero=False, most=1)
        check_number("epsilon", self.epsilon, usual="0.001", zero=False)

    def cost(self, values: Tensor) -> Tensor:
        """The penalty of singular values [..., n]: a scalar."""
        smooth = (values**2 + self.epsilon**2) ** (self.p / 2) - self.epsilon**self.p
        return self.strength * smooth.sum()

    def shrink(self, values: Tensor, step: float) -> Tensor:
        """The singular values after the proximal step.

        x minimizes (s - x)^2 / 2 + step * strength * x^p, x >= 0: 0 up to a threshold, and beyond it the larger root of
        x = s - step * strength * p * x^(p - 1), by iteration. Exact over matrices, since larger s give larger x.
        """
        amount = step * self.strength
        if not amount:
            return values
        found = values.double()
        over = found > self._threshold(amount)
        root = torch.where(over, found, 1)
        for _ in range(_ROUNDS):
            root = torch.where(over, found - amount * self.p * root ** (self.p - 1), 1)
        return torch.where(over, root, 0).to(values)

    def _threshold(self, amount: float) -> float:
        """Up to which a singular value goes to 0."""
        if self.p == 1:
            return amount
        kept = (2 * amount * (1 - self.p)) ** (1 / (2 - self.p))
        return kept + amount * self.p * kept ** (self.p - 1)

    def penalty(self, model: nn.Module, *, mask: Mask | None = None, prunable: Prunable = conv_and_linear) -> Tensor:
        """The penalty of a model, to be added to its loss; see `WeightedNuclearNorm.penalty`."""
        return penalized(model, self.cost, mask, prunable)

    def apply(
        self, model: nn.Module, *, step: float, mask: Mask | None = None, prunable: Prunable = conv_and_linear
    ) -> None:
        """Shrink the singular values of every weight, in place; see `WeightedNuclearNorm.apply`."""
        check_number("step", step, usual="the learning rate", zero=False)
        shrink_all(model, lambda values: self.shrink(values, step), mask, prunable)
