"""What a rule is that stops trials."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from budbreak.search.trial import History, Values


@runtime_checkable
class StoppingRule(Protocol):
    """Does a trial end before its training is over? A frozen value, pure in all that it is given, as samplers are.

    One that never looks after the first epochs says so by an attribute ``earliest``, the first after which it may stop
    a trial; a recipe whose trials are over by then is refused. Without it that is the first.
    """

    def stops(self, history: History, values: Values, number: int, seed: int) -> bool:
        """Whether the trial ends here; asked after each report of its training.

        Args:
            history: the trials that are known; where several run at a time not all before this one.
            values: (epoch, accuracy) of this trial so far, one at least; the last is that of now.
            number: of this trial, from 0.
            seed: of everything random.
        """
        ...


def first_at(values: Values, epoch: int) -> float | None:
    """The first accuracy at this epoch or after it, if there is one."""
    return next((accuracy for at, accuracy in values if at >= epoch), None)
