"""A penalty in a training: its proximal steps between those of the optimizer."""

from __future__ import annotations

from typing import Protocol

from torch import nn
from torch.optim import Optimizer

from budbreak.checks import check_count
from budbreak.lowrank.nuclear_norm import WeightedNuclearNorm
from budbreak.lowrank.schatten import SchattenP
from budbreak.masks import Mask, Prunable, conv_and_linear

PENALTIES: tuple[type[Penalty], ...] = (WeightedNuclearNorm, SchattenP)


class Penalty(Protocol):
    """What shrinks singular values: a frozen value."""

    def apply(
        self, model: nn.Module, *, step: float, mask: Mask | None = None, prunable: Prunable = conv_and_linear
    ) -> None:
        """Take one proximal step, in place; see `WeightedNuclearNorm.apply`."""
        ...


class Shrinking:
    """Takes a proximal step once in some steps of an optimizer, as large as the learning rates of all of them.

    Each decomposes every weight, which takes as long as many steps of the optimizer. With another optimizer than SGD
    the step that minimizes would be scaled as its own are: this one is not.

    Args:
        penalty: which.
        model: the live model.
        optimizer: of which the learning rate of the first group counts.
        every: how many of its steps, >= 1.
        mask: what it prunes stays 0.
        prunable: which weights.

    Raises:
        InvalidValue: if ``every`` is no such number.
    """

    def __init__(
        self,
        penalty: Penalty,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        every: int = 1,
        mask: Mask | None = None,
        prunable: Prunable = conv_and_linear,
    ) -> None:
        check_count("every", every)
        self._penalty, self._model, self._optimizer = penalty, model, optimizer
        self._every, self._mask, self._prunable = every, mask, prunable
        self._steps, self._due = 0, 0.0

    def after_step(self) -> None:
        """Call it after each step of the optimizer, before its rate is moved."""
        self._steps += 1
        self._due += float(self._optimizer.param_groups[0]["lr"])
        if self._steps == self._every:
            self.finish()

    def finish(self) -> None:
        """Take the step for what is left: before the weights are looked at, or stored.

        Raises:
            NotFinite: if a weight is NaN or infinite.
        """
        if self._due > 0:
            self._penalty.apply(self._model, step=self._due, mask=self._mask, prunable=self._prunable)
        self._steps, self._due = 0, 0.0
