"""Forms that round on purpose: to what, and how far their outputs may then be from the network's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from budbreak.checks import check_number
from budbreak.errors import InvalidValue, InvariantBroken, one_of
from budbreak.exporting.artifact import Agreement

HALVES: Mapping[str, torch.dtype] = {"float16": torch.float16, "bfloat16": torch.bfloat16}
"""What values can be stored as."""

TOLERANCES: Mapping[str, float] = {"float16": 0.01, "bfloat16": 0.05, "int8": 0.1}
"""The largest mean difference of outputs, as a share of their mean magnitude, unless a form is told another one."""


@dataclass(frozen=True)
class Rounding:
    """What a form rounds to, and may change by it.

    Args:
        to: "float16", "bfloat16" or "int8".
        tolerance: the largest mean difference of outputs that is accepted, as a share of their mean magnitude; one of
            `TOLERANCES` unless given. ``math.inf`` where something else decides, such as an accuracy.
    """

    to: str
    tolerance: float | None = None

    @property
    def limit(self) -> float:
        """The tolerance that holds."""
        return TOLERANCES[self.to] if self.tolerance is None else self.tolerance

    def note(self, name: str, expected: Sequence[Tensor], agreement: Agreement) -> str:
        """What it changed, in words.

        Args:
            name: of the form.
            expected: the model's outputs.
            agreement: with them.

        Raises:
            InvariantBroken: if that is more than is accepted; says what would accept it.
        """
        share = _share(expected, agreement)
        said = f"outputs differ by {100 * share:.3g} % of their mean magnitude on average"
        if share <= self.limit:
            allowed = "" if math.isinf(self.limit) else f", of {100 * self.limit:g} % that are accepted"
            return f"rounded to {self.to}: {said}{allowed}"
        same = (
            "" if agreement.predictions is None else f", {100 * agreement.predictions:.4g} % of the predictions agree"
        )
        wanted = f"tolerance={math.ceil(100 * share) / 100:g}" if math.isfinite(share) else "another form"
        raise InvariantBroken(
            f"the {name} file: {said}{same}",
            f"rounded to {self.to}, {100 * self.limit:g} % are accepted unless you say more; nothing was left on disk",
            f"accept it by {wanted}, round to more bits, or calibrate on more samples",
        )


def check_tolerance(tolerance: float | None) -> None:
    """Refuse what is no share.

    Raises:
        InvalidValue: if it is 0, negative, or no number.
    """
    if tolerance is not None and tolerance != math.inf:
        check_number("tolerance", tolerance, usual="0.1", zero=False)


def check_values(values: str | None, known: Sequence[str], form: str) -> None:
    """Refuse a dtype that a form does not store.

    Raises:
        InvalidValue: with those that it does.
    """
    if values is not None and values not in known:
        rule = f"{form} holds values as they are, or rounded: {one_of(known)}"
        raise InvalidValue(f"values is {values!r}", rule, "leave it out, or write one of these")


@torch.no_grad()
def round_values(state: Mapping[str, Tensor], values: str) -> None:
    """Round wider floating tensors to what a half precision holds, in place: to the nearest, of two to the even one.

    Raises:
        InvalidValue: if a number is too large for it.
    """
    for name, tensor in state.items():
        if is_wide(tensor):
            half = tensor.to(HALVES[values])
            if bool((half.isinf() & ~tensor.isinf()).any()):
                raise InvalidValue(
                    f"{name!r} holds {float(tensor.abs().max()):.4g}",
                    f"{values} ends at {torch.finfo(half.dtype).max:.5g}",
                    "write values='bfloat16', or leave values out",
                )
            tensor.copy_(half)


def is_wide(tensor: Tensor) -> bool:
    """Whether it is rounded: of floating numbers that have more than 16 bits."""
    return tensor.is_floating_point() and tensor.element_size() > 2


def stored_as(tensor: Tensor, values: str | None) -> Tensor:
    """A tensor in the dtype in which it is stored."""
    return tensor.to(HALVES[values]) if values is not None and is_wide(tensor) else tensor


def rounded_note(values: str | None) -> dict[str, str]:
    """What a file notes of it: nothing if its values are as they were."""
    return {} if values is None else {"rounded": values}


def fits_rounded(stored: torch.dtype, own: torch.dtype, notes: Mapping[str, Any]) -> bool:
    """Whether a tensor of a file with these notes is what a wider one of the model was rounded to."""
    return stored == HALVES.get(str(notes.get("rounded"))) and own.is_floating_point and own.itemsize > 2


def _share(expected: Sequence[Tensor], agreement: Agreement) -> float:
    count = sum(one.numel() for one in expected)
    wide = [one if one.is_complex() else one.double() for one in expected]
    magnitude = sum(float(one.abs().sum()) for one in wide) / count if count else 0.0
    if not math.isfinite(agreement.mean):
        return math.inf
    return agreement.mean / magnitude if magnitude else (math.inf if agreement.mean else 0.0)
