"""Plateau: the rate drops when the network no longer gets better."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from torch.optim import Optimizer

from budbreak.checks import check_count, check_fraction, check_known
from budbreak.errors import InvalidValue, NotFinite
from budbreak.training.rates.scheduler import RateScheduler
from budbreak.training.rates.warming import check_warmup, check_warmup_fits, rise, warmup_steps

_WATCHED = ("validation_accuracy", "train_loss")


@dataclass(frozen=True)
class Standing:
    """What a plateau remembers of the epochs so far.

    Args:
        best: the highest accuracy or the lowest loss; None before the first epoch.
        waited: epochs without a gain since the best one, or since the last drop.
        drops: how often the rate has dropped.
    """

    best: float | None = None
    waited: int = 0
    drops: int = 0


@dataclass(frozen=True)
class Plateau:
    """Multiply the rate by gamma each time that more than some epochs have brought no gain.

    factor = min(1, (step + 1) / (warmup * steps_per_epoch)) * gamma^drops. After each epoch its number is compared
    with the best so far, of the warm-up too. A gain is an accuracy above best + threshold, or a loss below
    best - threshold * |best|. After ``patience`` + 1 epochs in a row without one, the rate drops and the count begins
    anew; the best stays.

    It never looks at the test images. Each level that rewinds starts from what was known at the rewind point.

    Args:
        patience: epochs without a gain that are borne, >= 0.
        gamma: factor of each drop, in (0, 1).
        threshold: how much better counts as a gain, in [0, 1): of an accuracy in shares, of a loss as a share of it.
        warmup: epochs (fractions allowed) over which the rate rises linearly from 0; 0: none.
        watches: "validation_accuracy", or "train_loss": the mean over the epoch.

    Raises:
        InvalidValue: for a number out of range.

    Source: torch's ReduceLROnPlateau, with mode="max" and threshold_mode="abs" of an accuracy, mode="min" and
    threshold_mode="rel" of a loss.

    Example:
        >>> plateau, standing = Plateau(patience=1, gamma=0.5), Standing()
        >>> for accuracy in (0.5, 0.6, 0.6, 0.6):
        ...     standing = plateau.look(standing, accuracy)
        >>> standing
        Standing(best=0.6, waited=0, drops=1)
        >>> plateau.factor(8, steps_per_epoch=2, epochs=6, drops=standing.drops)
        0.5
    """

    patience: int
    gamma: float = 0.1
    threshold: float = 0.0
    warmup: float = 0.0
    watches: Literal["validation_accuracy", "train_loss"] = "validation_accuracy"

    def __post_init__(self) -> None:
        check_count("patience", self.patience, least=0)
        check_fraction("gamma", self.gamma, zero=False)
        check_fraction("threshold", self.threshold)
        check_warmup(self.warmup)
        check_known(f"watches is {self.watches!r}", self.watches, _WATCHED)

    def factor(self, step: int, *, steps_per_epoch: int, epochs: int, drops: int) -> float:
        """The share of the optimizer's rate after ``step`` steps and so many drops, in (0, 1]."""
        return rise(step, warmup_steps(self.warmup, steps_per_epoch)) * self.gamma**drops

    def look(self, standing: Standing, number: float) -> Standing:
        """What is known after one epoch more, that ended with this accuracy, in [0, 1], or this loss."""
        if standing.best is None or self._gains(standing.best, number):
            return Standing(number, 0, standing.drops)
        if standing.waited >= self.patience:
            return Standing(standing.best, 0, standing.drops + 1)
        return Standing(standing.best, standing.waited + 1, standing.drops)

    def _gains(self, best: float, number: float) -> bool:
        if self.watches == "train_loss":
            return number < best - self.threshold * abs(best)
        return number > best + self.threshold

    def check(self, epochs: int, steps_per_epoch: int) -> None:
        """Refuse a patience that outlasts the training, and a warm-up too long or too short."""
        check_warmup_fits(self.warmup, epochs, steps_per_epoch)
        earliest = self.patience + 2  # the first epoch sets what the others are compared with
        if earliest >= epochs:
            raise InvalidValue(
                f"patience is {self.patience}: the first drop comes after epoch {earliest} at the earliest",
                f"it comes before the last of the {epochs} epochs",
                f"write {epochs - 3} or less" if epochs >= 3 else "train for longer, or leave the rate constant",
            )

    def attach(self, optimizer: Optimizer, *, steps_per_epoch: int, epochs: int) -> PlateauScheduler:
        """The live object; see `RateSchedule.attach`."""
        self.check(epochs, steps_per_epoch)
        return PlateauScheduler(optimizer, self, steps_per_epoch=steps_per_epoch, epochs=epochs)


class PlateauScheduler(RateScheduler):
    """A `RateScheduler` that looks at the validation accuracy, or the training loss, after each epoch.

    Args:
        optimizer: whose rates are moved, in all groups alike.
        plateau: the rule.
        steps_per_epoch, epochs: of level 0.
    """

    def __init__(self, optimizer: Optimizer, plateau: Plateau, *, steps_per_epoch: int, epochs: int) -> None:
        self.standing = Standing()
        self._look, self._watches = plateau.look, plateau.watches
        factor = functools.partial(plateau.factor, steps_per_epoch=steps_per_epoch, epochs=epochs)
        super().__init__(optimizer, factor)

    @property
    def share(self) -> float:
        """The factor of the next step."""
        return self._factor(self.last_epoch, drops=self.standing.drops)

    def after_epoch(self, validation_accuracy: float | None = None, *, train_loss: float | None = None) -> None:
        """Drop the rate if what is watched has not got better for long enough.

        Raises:
            NotFinite: if it is NaN or infinite.
            InvalidValue: if it is not given; if an accuracy is no share in [0, 1].
        """
        is_loss = self._watches == "train_loss"
        number = train_loss if is_loss else validation_accuracy
        if number is None:
            fix = f"write after_epoch({self._watches}=...)"
            raise InvalidValue(f"{self._watches} is None", "this plateau watches it", fix)
        _check_watched(self._watches.replace("_", " "), number, share=not is_loss)
        self.standing = self._look(self.standing, float(number))
        self._set_rates()

    def state_dict(self) -> dict[str, Any]:
        """All that changes in a training, as plain numbers."""
        return {**super().state_dict(), "standing": asdict(self.standing)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take it back, and set the rates that belong to it."""
        self.standing = Standing(**state_dict["standing"])
        super().load_state_dict(state_dict)


def _check_watched(name: str, number: float, *, share: bool) -> None:
    value = f"the {name} is {number}"
    if not math.isfinite(number):
        fix = "count outputs that are NaN as wrong" if share else "lower the learning rate"
        raise NotFinite(value, "a plateau compares it with the best so far", fix)
    if share and not 0 <= number <= 1:
        raise InvalidValue(value, "it is a share in [0, 1]", f"a percentage? give {number / 100:g}")
