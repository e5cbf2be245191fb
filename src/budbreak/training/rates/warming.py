"""The warm-up that a schedule begins with: the rate rises linearly from 0."""

from __future__ import annotations

from budbreak.checks import check_number
from budbreak.errors import InvalidValue


def warmup_steps(warmup: float, steps_per_epoch: int) -> int:
    """How many steps a warm-up lasts, to the nearest."""
    return round(warmup * steps_per_epoch)


def rise(step: int, steps: int) -> float:
    """The factor after ``step`` steps of a warm-up of ``steps``, in (0, 1]; its last step is made at the full rate.

    Source: Goyal et al. 2017, arXiv 1706.02677.

    >>> [rise(step, 4) for step in range(6)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    """
    return min(1.0, (step + 1) / steps) if steps else 1.0


def fallen(step: int, *, warmup: int, total: int) -> float:
    """How much of the way from the end of the warm-up to that of the training is gone, in [0, 1].

    >>> [fallen(step, warmup=2, total=6) for step in range(8)]
    [0.0, 0.0, 0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    """
    return 1.0 if step >= total else max(0, step - warmup) / (total - warmup)


def check_warmup(warmup: float) -> None:
    """Refuse what is no number of epochs.

    Raises:
        InvalidValue: with the value.
    """
    check_number("warmup", warmup, usual="0, or 1 to 5 epochs")


def check_warmup_fits(warmup: float, epochs: int, steps_per_epoch: int) -> None:
    """Refuse a warm-up that is longer than the training, or too short to change anything.

    Raises:
        InvalidValue: with its length.
    """
    if warmup > epochs:
        raise InvalidValue(f"warmup is {warmup:g} epochs", f"the training has {epochs}", "shorten it")
    if warmup and warmup_steps(warmup, steps_per_epoch) < 2:
        raise InvalidValue(
            f"warmup is {warmup:g} epochs, of {steps_per_epoch} steps each", "it lasts two steps or more", "take it out"
        )


def check_room_to_fall(warmup: float, epochs: int, steps_per_epoch: int) -> None:
    """Refuse a warm-up after which no two steps are left, over which a rate could fall.

    Raises:
        InvalidValue: with the number of steps.
    """
    check_warmup_fits(warmup, epochs, steps_per_epoch)
    left = epochs * steps_per_epoch - warmup_steps(warmup, steps_per_epoch)
    if left < 2:
        raise InvalidValue(
            f"after the warm-up of {warmup:g} epochs the training of {epochs} has {left} steps left",
            "the rate falls over two steps or more",
            "shorten warmup, or train for longer",
        )
