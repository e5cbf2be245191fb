"""Two networks that must give the same."""

from __future__ import annotations

from typing import Any

from torch import nn

from budbreak.errors import BudbreakError, InvalidValue, InvariantBroken
from budbreak.graph import check_finite_outputs, example_outputs, too_far


def check_same(reference: nn.Module, other: nn.Module, example: Any) -> None:
    """Refuse a network whose outputs on an example are not those of the reference, both in eval mode.

    The difference of an output may be sqrt(epsilon of the dtype) times its largest value.

    Raises:
        InvalidValue: if one of them does not take the example.
        InvariantBroken: if they differ by more.
        NotFinite: if outputs of the reference are NaN or infinite.
    """
    wanted = check_finite_outputs(example_outputs(reference, example))
    try:
        found = example_outputs(other, example)
    except BudbreakError as error:
        rule = "a layer that is replaced must be called, and nothing of it be read"
        raise InvalidValue(f"with layers replaced, {error.value}", rule, "leave that layer out") from error
    if trouble := too_far(wanted, found, None):
        raise InvariantBroken(
            f"with layers replaced, {trouble}",
            "the difference is more than rounding",
            "leave out the layer that is used in another way than by calling it",
        )
