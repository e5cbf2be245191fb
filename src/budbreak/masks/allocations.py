"""How a target is divided over layers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Protocol

import torch

from budbreak.errors import InvalidValue


class Allocation(Protocol):
    """How a target is divided over layers (scope "layer"): ``(shapes, capacities, keep) -> name -> keep``."""

    def __call__(
        self, shapes: Mapping[str, torch.Size], capacities: Mapping[str, int], keep: int, /
    ) -> Mapping[str, int]:
        """Divide ``keep`` exactly; no layer gets more than its capacity."""
        ...


def proportional(shapes: Mapping[str, torch.Size], capacities: Mapping[str, int], keep: int) -> dict[str, int]:
    """The same density in every layer, exactly ``keep`` in total, no layer above its capacity.

    What a full layer cannot take is divided among the others by size; remainders go to the largest
    fractions, of equal ones to the earlier layer.

    >>> sizes = {"a": torch.Size([6]), "b": torch.Size([3])}
    >>> proportional(sizes, {"a": 6, "b": 3}, 4)
    {'a': 3, 'b': 1}
    """
    shares = dict.fromkeys(shapes, 0)
    room = {name: capacities[name] for name in shapes if capacities[name] > 0}
    left = keep
    while left > 0:
        size = sum(shapes[name].numel() for name in room)
        # exact: floats miscount beyond 2^53, and equal remainders must stay equal
        ideal = {name: Fraction(left * shapes[name].numel(), size) for name in room}
        full = [name for name in room if ideal[name] >= room[name]]
        if not full:
            for name, extra in _largest_remainders(ideal, left, room).items():
                shares[name] += extra
            break
        for name in full:
            shares[name] += room[name]
            left -= room.pop(name)
    return shares


def _largest_remainders(ideal: Mapping[str, Fraction], total: int, room: Mapping[str, int]) -> dict[str, int]:
    whole = {name: min(math.floor(share), room[name]) for name, share in ideal.items()}
    order = sorted(ideal, key=lambda name: whole[name] - ideal[name])  # stable: the earlier layer of equal ones
    missing = total - sum(whole.values())
    for name in order:
        if missing and whole[name] < room[name]:
            whole[name] += 1
            missing -= 1
    return whole


def check_shares(shares: Mapping[str, int], capacities: Mapping[str, int], keep: int) -> None:
    """Refuse what does not add up.

    Raises:
        InvalidValue: with what was to be divided, and into what it was.
    """
    fits = shares.keys() == capacities.keys() and all(0 <= shares[name] <= room for name, room in capacities.items())
    if not fits or sum(shares.values()) != keep:
        raise InvalidValue(
            f"the allocation divides {keep} into {dict(shares)}",
            f"the shares must add up to {keep} and be at most {dict(capacities)}",
            "mend the allocation",
        )
