"""What every schedule of learning rates is, and the live object that carries one out."""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from torch.optim import Optimizer

from budbreak.errors import InvalidValue


class RateSchedule(Protocol):
    """A frozen value that says how the learning rate goes over a training, as shares of the optimizer's own rate.

    All steps are counted from the start of level 0, and lengths in epochs of it, fractions allowed: a level that
    starts from a rewind point goes on where level 0 was then.
    """

    def check(self, epochs: int, steps_per_epoch: int) -> None:
        """Refuse what has no effect, or makes no sense, in a training of this length.

        Args:
            epochs: of level 0, >= 1.
            steps_per_epoch: optimizer steps in each, >= 1.

        Raises:
            InvalidValue: with the step or epoch that does not fit.
        """
        ...

    def attach(self, optimizer: Optimizer, *, steps_per_epoch: int, epochs: int) -> RateScheduler:
        """The live object for ``resets`` of `iterate`; the optimizer gets the rate of its first step.

        Raises:
            InvalidValue: see `check`.
        """
        ...


class RateScheduler:
    """Sets the rate of each parameter group to its own (``initial_lr``, that of the start) times a factor.

    Give it to ``resets``, call `after_step` after each optimizer step, and `after_epoch` within the epoch's loop body
    once it is validated. The rates follow from the state alone: a state that is loaded sets them, too.

    Args:
        optimizer: whose rates are moved, in all groups alike.
        factor: steps done -> share of the rate, >= 0.

    Raises:
        InvalidValue: in each step, if a factor is no such number.
    """

    def __init__(self, optimizer: Optimizer, factor: Callable[..., float]) -> None:
        self.optimizer = optimizer
        self._factor = factor
        self.last_epoch = 0  # steps done; by torch's name, under which the watch of `iterate` looks for it
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])  # as torch's: an earlier scheduler may have moved lr
        self._rates: list[float] = [group["initial_lr"] for group in optimizer.param_groups]
        self._set_rates()

    @property
    def share(self) -> float:
        """The factor of the next step."""
        return self._factor(self.last_epoch)

    def after_step(self) -> None:
        """The optimizer has made a step: set the rate of the next one."""
        self.last_epoch += 1
        self._set_rates()

    def after_epoch(self, validation_accuracy: float | None = None, *, train_loss: float | None = None) -> None:
        """An epoch is over. Nothing follows from it, except where a schedule looks at one of its numbers.

        Args:
            validation_accuracy: in [0, 1].
            train_loss: the mean over the epoch.
        """

    def state_dict(self) -> dict[str, Any]:
        """All that changes in a training, as plain numbers."""
        return {"steps": self.last_epoch}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take it back, and set the rates that belong to it."""
        self.last_epoch = state_dict["steps"]
        self._set_rates()

    def _set_rates(self) -> None:
        share = self.share
        if not (math.isfinite(share) and share >= 0):
            rule = "a schedule gives a share of the optimizer's rate: a finite number >= 0"
            raise InvalidValue(f"the factor after {self.last_epoch} steps is {share}", rule, "mend its factor")
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * share


class Foreseen(ABC):
    """A schedule whose every rate is known before the training: only `factor` and `check` are its own."""

    @abstractmethod
    def factor(self, step: int, *, steps_per_epoch: int, epochs: int) -> float:
        """The share of the optimizer's rate at which the step after ``step`` steps is made, >= 0.

        After the last step of the training it stays as it is at the end.
        """

    @abstractmethod
    def check(self, epochs: int, steps_per_epoch: int) -> None:
        """Refuse what has no effect, or makes no sense, in a training of this length; see `RateSchedule.check`."""

    def attach(self, optimizer: Optimizer, *, steps_per_epoch: int, epochs: int) -> RateScheduler:
        """The live object; see `RateSchedule.attach`."""
        self.check(epochs, steps_per_epoch)
        return RateScheduler(optimizer, functools.partial(self.factor, steps_per_epoch=steps_per_epoch, epochs=epochs))
