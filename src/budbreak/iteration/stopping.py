"""When a training ends before its last epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from budbreak.checks import shown
from budbreak.errors import InvalidValue
from budbreak.iteration.ending import EndingRule

Until = Callable[[Mapping[str, float]], bool] | EndingRule
"""(the numbers recorded in an epoch) -> whether the training ends with it; or a rule that remembers those before."""


def read_by(rule: EndingRule, numbers: Mapping[str, float], epoch: int) -> dict[str, float]:
    """The numbers that a rule reads of an epoch, counted from 0.

    Raises:
        InvalidValue: if one was not recorded.
    """
    for name in rule.reads:
        if name not in numbers:
            raise _unrecorded(name, numbers, epoch)
    return {name: numbers[name] for name in rule.reads}


def _unrecorded(name: object, numbers: Mapping[str, float], epoch: int) -> InvalidValue:
    return InvalidValue(
        f"until looks at {name!r}, and epoch {epoch} has recorded {', '.join(numbers) or 'nothing'}",
        "it is called with the numbers that were recorded within the epoch",
        f"write level.record({name}=...) in the loop over level.epochs(...)",
    )


def is_open(until: Callable[[Mapping[str, float]], bool], numbers: Mapping[str, float], epoch: int) -> bool:
    """Whether the training ends with this epoch.

    Args:
        until: what the user asks of each epoch.
        numbers: recorded in this one.
        epoch: from 0.

    Raises:
        InvalidValue: if it looks at a number that is not there, or says neither yes nor no.
    """
    try:
        answer = until(dict(numbers))
    except KeyError as error:
        (name,) = error.args or ("",)
        if name in numbers:
            raise
        raise _unrecorded(name, numbers, epoch) from None
    if not isinstance(answer, bool | np.bool_):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidValue(
            f"until gave {shown(answer)} for epoch {epoch}",
            "it says whether the training ends: True or False",
            'write until=lambda numbers: numbers["accuracy"] > 0.9',
        )
    return bool(answer)
