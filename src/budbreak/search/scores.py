"""What an evaluation may give."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from budbreak.checks import as_number, shown
from budbreak.errors import InvalidValue

_RULE = "an accuracy is one number: a share in [0, 1], more is better; NaN where the training diverged"


def score_of(value: object, said: str = "evaluate returned") -> float | None:
    """The score that an evaluation gave; None for NaN and minus infinity, which are worse than any.

    Args:
        value: what it gave.
        said: how the message begins.

    Raises:
        InvalidValue: for what is no number in [0, 1].
    """
    given = value
    if isinstance(value, Tensor | np.ndarray | np.generic):
        if value.ndim > 0:  # one value in a list is a mistake more often than not
            raise InvalidValue(f"{said} {shown(value)}", _RULE, "give its mean: float(correct.mean())")
        value = value.item()
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise InvalidValue(f"{said} {shown(given)}", _RULE, _fix(value))
    if math.isnan(value) or value == -math.inf:
        return None
    if not 0 <= value <= 1:
        raise InvalidValue(f"{said} {shown(given)}", _RULE, _fix(value))
    return float(value)


def odd_words(value: float | Tensor | np.generic) -> str:
    """What a value is that is no score, though it may be given: "NaN" or "-inf"."""
    return "-inf" if float(value) == -math.inf else "NaN"


def _fix(value: object) -> str:
    number, _ = as_number(value)
    if 1 < number < 1.001:
        return "rounding? count what is right, and divide once: correct / len(labels)"
    if 1 < number <= 100:
        return f"a percentage? give it divided by 100: {number / 100:g}"
    if math.isfinite(number) and not isinstance(value, str):
        return "a loss? give 1 / (1 + loss)"
    return "give a float" if value is not None else "return the accuracy: is there a return at its end?"
