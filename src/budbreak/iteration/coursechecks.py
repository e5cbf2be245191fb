"""What is said of the course of an iteration, and what is refused in it: trainings that cannot be seen."""

from __future__ import annotations

from collections.abc import Sequence

from torch.optim import Optimizer

from budbreak.errors import InvalidValue
from budbreak.iteration.plan import Plan
from budbreak.iteration.state import Position, State, upcoming


def check_attached(epochs: int, here: Position, optimizers: Sequence[Optimizer]) -> None:
    """Refuse to count the epochs of a training that has no optimizer.

    Raises:
        InvalidValue: with what to write.
    """
    if not optimizers:
        raise InvalidValue(
            f"epochs({epochs}) in level {here.level}, to which no optimizer is attached",
            "where iterate was given none, each training has its own, so that its epochs can be stored",
            "write level.attach(optimizer) before, or give the optimizer to iterate",
        )


def check_trained(here: Position, optimizers: Sequence[Optimizer]) -> None:
    """Refuse a training, when its last epoch is over, in which an optimizer made no step.

    Raises:
        InvalidValue: with its class.
    """
    if here.epochs == here.last_epoch and here.steps == here.first_step:
        rested = [one for place, one in enumerate(optimizers) if not here.ahead or not here.ahead[place]]
        raise InvalidValue(
            f"level {here.level}: {here.epochs} epochs without a step of the {type(rested[0]).__name__}",
            "the optimizers that were given to iterate, or attached, train the weights; what others do is not seen",
            "call its step(), and make neither model nor optimizer anew in the loop",
        )


def check_recorded(plan: Plan, here: Position) -> None:
    """Refuse to end a level without a metric by which the schedule decides the next one.

    Raises:
        InvalidValue: with its name.
    """
    lacking = plan.lacking(here.metrics or {})
    if lacking and here.level < plan.levels and here.stage + 1 == plan.trainings_of(here.level):
        raise InvalidValue(
            f"level {here.level} has recorded {', '.join(here.metrics or {}) or 'nothing'}, not {lacking[0]!r}",
            f"{plan.schedule} looks at it to decide the next level",
            f"write level.record({lacking[0]}=...) in the body of the loop",
        )


def unseen(here: Position, optimizers: Sequence[Optimizer]) -> InvalidValue:
    """The error for weights that have moved without a step of what is attached, or with nothing attached."""
    attached = " and ".join(type(optimizer).__name__ for optimizer in optimizers)
    how = f"without a step of the {attached} that was attached" if attached else "with no optimizer attached"
    return InvalidValue(
        f"level {here.level} has moved the weights {how}",
        "pruned weights are held at zero after the steps of the optimizers that are attached to each training",
        "write level.attach(optimizer) in the body of the loop, before its first step",
    )


def in_words(state: State, plan: Plan) -> str:
    """Where an earlier session had come to, and what is left."""
    here = state.here
    of = f"level {here.level} of {plan.levels}"
    if upcoming(state, plan) is None:
        epochs = sorted({record.epochs for record in state.records} - {0})
        had = f" (trainings of {' and '.join(map(str, epochs))} epochs)" if epochs else ""
        return f"going on from {of}: nothing left to train{had}"
    done = "done" if here.ended else f"{here.epochs} of its epochs are done"
    return f"going on from {of}, stage {here.stage}: {done}"
