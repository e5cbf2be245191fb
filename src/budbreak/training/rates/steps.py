"""Steps: the rate drops at milestones, or again and again."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field

from budbreak.checks import check_number, shown
from budbreak.errors import InvalidValue
from budbreak.training.rates.scheduler import Foreseen
from budbreak.training.rates.warming import check_warmup, check_warmup_fits, rise, warmup_steps

_MOST_MILESTONES = 100
_LARGEST_GAMMA = 1000.0  # its 100th power is still a number


@dataclass(frozen=True)
class Steps(Foreseen):
    """Multiply the rate by gamma at each milestone, or every so many epochs, after an optional warm-up.

    factor(step) = min(1, (step + 1) / (warmup * steps_per_epoch)) * gamma^drops, with drops the number of milestones
    that the step has reached, or floor(step / (every * steps_per_epoch)).

    Args:
        milestones: epochs (fractions allowed) after which the rate drops, each rounded to the nearest step; rising,
            > 0, up to 100 of them.
        gamma: factor of each drop, in (0, 1000], not 1.
        warmup: epochs (fractions allowed) over which the rate rises linearly from 0; 0: none.
        every: epochs (fractions allowed) between two drops, rounded to the nearest step; instead of milestones.

    Raises:
        InvalidValue: for a number out of range, milestones that do not rise, and what has no effect.

    Example:
        >>> steps = Steps(milestones=(3.0,), gamma=0.5, warmup=1.0)
        >>> [steps.factor(step, steps_per_epoch=2, epochs=4) for step in range(8)]
        [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.5]
        >>> [Steps(every=1.0, gamma=0.5).factor(step, steps_per_epoch=2, epochs=3) for step in range(6)]
        [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    """

    milestones: tuple[float, ...] = field(default=(), metadata={"introduced": MISSING})
    gamma: float = 0.1
    warmup: float = 0.0
    every: float = 0.0

    def __post_init__(self) -> None:
        check_number("every", self.every, usual="20 epochs")
        _check_milestones(self.milestones, self.every)
        check_number("gamma", self.gamma, zero=False, most=_LARGEST_GAMMA, usual="0.1")
        if self.gamma == 1:
            raise InvalidValue("gamma is 1", "the rate then stays as it is", "choose another, such as 0.1")
        check_warmup(self.warmup)

    def factor(self, step: int, *, steps_per_epoch: int, epochs: int) -> float:
        """The share of the optimizer's rate after ``step`` steps, > 0 unless it is below all floats."""
        if self.every:
            last = epochs * steps_per_epoch - 1
            reached = min(step, last) // round(self.every * steps_per_epoch)
        else:
            reached = sum(step >= drop for drop in self._drops(steps_per_epoch))
        return rise(step, warmup_steps(self.warmup, steps_per_epoch)) * self.gamma**reached

    def check(self, epochs: int, steps_per_epoch: int) -> None:
        """Refuse drops outside the training or on one step, and a warm-up too long or too short."""
        check_warmup_fits(self.warmup, epochs, steps_per_epoch)
        if self.every:
            self._check_every(epochs, steps_per_epoch)
        else:
            self._check_drops(epochs, steps_per_epoch)

    def _check_every(self, epochs: int, steps_per_epoch: int) -> None:
        between, last = round(self.every * steps_per_epoch), epochs * steps_per_epoch - 1
        if not 1 <= between <= last:
            raise InvalidValue(
                f"every is {self.every:g} epochs: {between} steps of {last + 1}",
                "a drop comes after the first step and before the last",
                "shorten it, or leave the rate constant" if between > last else "lengthen it",
            )
        if self.gamma > 1 and last // between > _MOST_MILESTONES:
            raise InvalidValue(
                f"gamma is {self.gamma:g}, and there are {last // between:,} drops",
                f"a rate that grows does so at most {_MOST_MILESTONES} times",
                "lengthen every, or choose a gamma below 1",
            )

    def _check_drops(self, epochs: int, steps_per_epoch: int) -> None:
        _check_inside(self.milestones, epochs)
        total, before = epochs * steps_per_epoch, 0
        for milestone, drop in zip(self.milestones, self._drops(steps_per_epoch), strict=True):
            if not 0 < drop < total:
                raise InvalidValue(
                    f"the milestone {milestone:g} falls on step {drop} of {total}",
                    "a drop comes after the first step and before the last",
                    "move it, or take it out",
                )
            if drop == before:
                raise InvalidValue(
                    f"the milestone {milestone:g} falls on step {drop}, as the one before",
                    "each drop has a step of its own",
                    "move it, or take it out",
                )
            before = drop

    def _drops(self, steps_per_epoch: int) -> list[int]:
        return [round(milestone * steps_per_epoch) for milestone in self.milestones]


def _check_milestones(milestones: tuple[float, ...], every: float) -> None:
    if not isinstance(milestones, tuple):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidValue(f"milestones is {shown(milestones)}", "it must be a tuple", "write (10.0, 13.0)")
    if not milestones and not every:
        raise InvalidValue(
            "there are no milestones",
            "a rate in steps drops at one or more, or every so many epochs",
            "name one, or write every = 20; or leave the rate constant",
        )
    if milestones and every:
        raise InvalidValue(
            f"milestones are {list(milestones)}, and every is {every:g}",
            "a rate drops at milestones, or every so many epochs",
            "leave one of them out",
        )
    if len(milestones) > _MOST_MILESTONES:
        raise InvalidValue(
            f"milestones has {len(milestones):,} items", f"it has at most {_MOST_MILESTONES}", "give fewer"
        )
    for index, milestone in enumerate(milestones):
        check_number(f"milestones[{index}]", milestone, zero=False, usual="an epoch within the training")
    if list(milestones) != sorted(set(milestones)):
        raise InvalidValue(f"milestones are {list(milestones)}", "they rise", f"write {sorted(set(milestones))}")


def _check_inside(milestones: tuple[float, ...], epochs: int) -> None:
    if milestones[-1] >= epochs:
        raise InvalidValue(
            f"milestones are {list(milestones)}", f"they lie within the {epochs} epochs", "move them, or take some out"
        )
