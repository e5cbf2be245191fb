"""Weighted nuclear norms: penalties of singular values that make matrices of low rank."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from budbreak.checks import check_known, check_number
from budbreak.lowrank.penalties import penalized, shrink_all
from budbreak.masks import Mask, Prunable, conv_and_linear

_WEIGHTS = ("index", "inverse", "uniform")


@dataclass(frozen=True)
class WeightedNuclearNorm:
    """A penalty on the weighted sum of the singular values of each weight.

    strength * sum over weights, sum over i of omega[i] * s[i], with s[1] >= s[2] >= ... and omega
    - "index": i, so that small singular values cost more (the form in the code of activation-based pruning);
    - "inverse": 1 / (s[i] + epsilon), taken from the present values and held fixed (WNNM). Its gradient is that of
      sum log(s + epsilon);
    - "uniform": 1, the nuclear norm.
    The gradient is U diag(omega) V^T, 0 for singular values that are zero; see `singular_values`. Each group of a
    grouped convolution is a matrix of its own. Second derivatives are not meant to be taken.

    Args:
        strength: >= 0.
        weights: "index", "inverse" or "uniform".
        epsilon: of "inverse", > 0: below it a singular value counts as next to nothing.

    Raises:
        InvalidValue, UnknownName: for arguments outside these.

    Source: Gu et al. 2014 (WNNM), doi 10.1109/CVPR.2014.366; Ganguli & Chong 2024, doi 10.3390/a17010048 (index).
    """

    strength: float
    weights: str = "index"
    epsilon: float = 1e-3

    def __post_init__(self) -> None:
        check_number("strength", self.strength, usual="1e-4")
        check_known(f"weights is {self.weights!r}", self.weights, _WEIGHTS)
        check_number("epsilon", self.epsilon, usual="0.001", zero=False)

    def omega(self, values: Tensor) -> Tensor:
        """The weights of singular values [..., n] in falling order: the same shape, detached, never falling."""
        if self.weights == "index":
            return torch.arange(1, values.shape[-1] + 1, device=values.device, dtype=values.dtype).expand_as(values)
        fixed = values.detach()
        return 1 / (fixed + self.epsilon) if self.weights == "inverse" else torch.ones_like(fixed)

    def cost(self, values: Tensor) -> Tensor:
        """The penalty of singular values [..., n] in falling order: a scalar."""
        return self.strength * (self.omega(values) * values).sum()

    def shrink(self, values: Tensor, step: float) -> Tensor:
        """The singular values after the proximal step: max(s - step * strength * omega, 0).

        This minimizes (s - x)^2 / 2 + step * strength * sum(omega * x) over matrices, exactly: that is so where the
        weights do not fall as singular values do, as all three of ours.
        """
        return (values - step * self.strength * self.omega(values)).clamp(min=0)

    def penalty(self, model: nn.Module, *, mask: Mask | None = None, prunable: Prunable = conv_and_linear) -> Tensor:
        """The penalty of a model, to be added to its loss: a scalar.

        Args:
            model: the live model.
            mask: weights that it prunes count as zero, and have no gradient.
            prunable: which weights; leave the classifier out by ``bb.excluding("fc.*")``.

        Raises:
            NotFinite: if a weight is NaN or infinite; and see `budbreak.lowrank.ranks`.
        """
        return penalized(model, self.cost, mask, prunable)

    def apply(
        self, model: nn.Module, *, step: float, mask: Mask | None = None, prunable: Prunable = conv_and_linear
    ) -> None:
        """Shrink the singular values of every weight, in place; call it after ``optimizer.step()``.

        It sets the small ones to zero, which a gradient never does. Of a pruned model give the mask: a matrix of low
        rank has no zeros of its own accord. Where it prunes single weights, they are zeroed after the step, which is
        then no exact proximal step; whole rows and columns stay zero by themselves, up to rounding.

        Args:
            model: the live model.
            step: the learning rate, > 0.
            mask: what it prunes stays 0.
            prunable: which weights.

        Raises:
            InvalidValue: if the step is no number > 0.
            NotFinite: if a weight is NaN or infinite; nothing is changed then.
        """
        check_number("step", step, usual="the learning rate", zero=False)
        shrink_all(model, lambda values: self.shrink(values, step), mask, prunable)
