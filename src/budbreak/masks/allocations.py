"""How a target is divided over layers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import torch

from budbreak.errors import InvalidValue


class Allocation(Protocol):
    """How a target is divided over layers (scopes `Layer` and `Rows`): ``(shapes, capacities, keep) -> name -> keep``.

    A function will do; one of a class of its own may have ``elementwise = True``, if it is of single weights only.
    """

    def __call__(
        self, shapes: Mapping[str, torch.Size], capacities: Mapping[str, int], keep: int, /
    ) -> Mapping[str, int]:
        """Divide ``keep`` exactly; no layer gets more than its capacity.

        Args:
            shapes: of what goes as one in each layer: the weight's own for `Element`.
            capacities: how many of it are alive.
            keep: 0 to the sum of the capacities.
        """
        ...


@dataclass(frozen=True)
class Uniform:
    """The same density in every layer, as far as what is alive allows.

    What a full layer cannot take is divided among the others by size; remainders go to the largest fractions, of
    equal ones to the earlier layer.

    >>> Uniform()({"a": torch.Size([6]), "b": torch.Size([3])}, {"a": 6, "b": 3}, 4)
    {'a': 3, 'b': 1}
    """

    def __call__(self, shapes: Mapping[str, torch.Size], capacities: Mapping[str, int], keep: int, /) -> dict[str, int]:
        """See `Allocation`."""
        return _divide({name: shape.numel() for name, shape in shapes.items()}, capacities, keep)


@dataclass(frozen=True)
class ERK:
    """Erdos-Renyi-Kernel: small layers keep more than large ones.

    density of a layer = epsilon * (sum of the sizes of its dimensions) / (product of them), at most 1; with epsilon
    such that all layers together keep exactly as many as they should. For a convolution that is epsilon * (inputs +
    outputs + height + width) / (inputs * outputs * height * width), for a Linear epsilon * (inputs + outputs) /
    (inputs * outputs). So a layer keeps in proportion to the sum of its dimensions; one that would keep more than it
    has (is alive of it) keeps all, and epsilon rises for the others. Remainders go as in `Uniform`.

    Source: Evci et al. 2020 (RigL), arXiv 1911.11134, section 3; Mocanu et al. 2018 for Linear. Differs: the counts are
    exact, where the published code rounds each layer down. Inputs of a grouped convolution are those of a group.

    >>> shapes = {"a": torch.Size([8, 8]), "b": torch.Size([2, 2])}
    >>> ERK()(shapes, {"a": 64, "b": 4}, 24)  # in proportion to 16 : 4 b would keep 4.8 of 4
    {'a': 20, 'b': 4}
    """

    elementwise = True

    def __call__(self, shapes: Mapping[str, torch.Size], capacities: Mapping[str, int], keep: int, /) -> dict[str, int]:
        """See `Allocation`."""
        return _divide({name: sum(shape) for name, shape in shapes.items()}, capacities, keep)


@dataclass(frozen=True)
class InOrder:
    """All that goes goes from the first layer that is still whole; if that is not enough, from the next one.

    For `schedules.LayerByLayer`. Layers in state_dict order; from those that have lost something, nothing more goes, as
    long as others are whole.

    >>> shapes = {"a": torch.Size([4, 4]), "b": torch.Size([8]), "c": torch.Size([8])}
    >>> InOrder()(shapes, {"a": 4, "b": 8, "c": 8}, 14)
    {'a': 4, 'b': 2, 'c': 8}
    """

    elementwise = False

    def __call__(self, shapes: Mapping[str, torch.Size], capacities: Mapping[str, int], keep: int, /) -> dict[str, int]:
        """See `Allocation`."""
        shares, left = dict(capacities), sum(capacities.values()) - keep
        whole = [name for name in shapes if capacities[name] == shapes[name].numel()]
        for name in [*whole, *(name for name in shapes if name not in whole)]:
            gone = min(left, shares[name])
            shares[name] -= gone
            left -= gone
        return shares


def _divide(weights: Mapping[str, int], capacities: Mapping[str, int], keep: int) -> dict[str, int]:
    """Exactly ``keep``, in proportion to the weights, no share above its capacity."""
    shares = dict.fromkeys(weights, 0)
    room = {name: capacities[name] for name in weights if capacities[name] > 0}
    left = keep
    while left > 0:
        whole = sum(weights[name] for name in room)
        # exact: floats miscount beyond 2^53, and equal remainders must stay equal
        ideal = {name: Fraction(left * weights[name], whole) for name in room}
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


def allocate(
    allocation: Allocation,
    shapes: Mapping[str, torch.Size],
    capacities: Mapping[str, int],
    keep: int,
    floors: Mapping[str, int],
) -> dict[str, int]:
    """Name -> its share of ``keep``, at least its floor.

    A layer whose share would be below its floor has its floor, and what is left is divided anew among the others.

    Args:
        allocation: divides.
        shapes: of what goes as one.
        capacities: how many of it are alive.
        keep: at least the sum of the floors.
        floors: each at most the capacity.

    Raises:
        InvalidValue: if a user's own allocation does not add up.
    """
    fixed: dict[str, int] = {}
    while True:
        rest = {name: shape for name, shape in shapes.items() if name not in fixed}
        room, left = {name: capacities[name] for name in rest}, keep - sum(fixed.values())
        shares = allocation(rest, room, left)
        check_shares(shares, room, left)
        short = {name: floors[name] for name in rest if shares[name] < floors[name]}
        if not short:
            return {name: fixed[name] if name in fixed else shares[name] for name in shapes}
        fixed |= short


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
