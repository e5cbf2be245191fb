"""Refuse numbers in which something cannot be computed."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from budbreak.errors import InvalidValue


def check_real(weights: Mapping[str, Tensor], what: str) -> None:
    """Refuse complex weights.

    Raises:
        InvalidValue: with the first of them.
    """
    for name, weight in weights.items():
        if weight.is_complex():
            fix = f"leave it out: prunable=bb.excluding({name!r}); or choose another criterion"
            raise InvalidValue(f"{name!r} is {weight.dtype}", f"{what} needs real weights", fix)


def check_wide_enough(weights: Mapping[str, Tensor], what: str) -> None:
    """Refuse float16, below whose least number, 6e-8, many second derivatives lie: they would be 0, and score alike.

    Raises:
        InvalidValue: with the first of them.
    """
    for name, weight in weights.items():
        if weight.dtype == torch.float16:
            rule = f"{what} is computed in the network's own numbers, and below 6e-8 those are 0"
            raise InvalidValue(f"{name!r} is {weight.dtype}", rule, "score a copy: copy.deepcopy(model).float()")
