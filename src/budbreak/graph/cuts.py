"""Along which dimension, and where, a tensor is cut if one of its units goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from budbreak.graph.labels import compact, telling_dim

_FAR = 2**62
_NONE = torch.zeros(0, dtype=torch.int64)
_NO_PAIRS = torch.zeros(2, 0, dtype=torch.int64)


@dataclass(frozen=True, eq=False)
class Cut:
    """How a tensor is cut.

    Args:
        at: dimension, from the end -> int64 [length]: which unit takes this index with it; 0 for none.
        ragged: the units that would leave no tensor: they are no whole rows, along whichever dimension.
        met: int64 [2, pairs]: units in whose rows something lies that is no unit, and its channel.
        everything: the unit that is all there is; 0 for none.
    """

    at: Mapping[int, Tensor] = field(default_factory=dict[int, Tensor])
    ragged: Tensor = _NONE
    met: Tensor = _NO_PAIRS
    everything: int = 0

    def of(self, unit: int) -> tuple[int, Tensor] | None:
        """The dimension along which a unit is cut, and the indices that stay; None where it is not there."""
        for dim, units in self.at.items():
            if bool((units == unit).any()):
                return dim, (units != unit).nonzero().flatten()
        return None


def cut_of(labels: Tensor, units: Tensor, dim: int | None = None) -> Cut:
    """How a tensor is cut.

    Args:
        labels: of the tensor, see `budbreak.graph.labels`.
        units: for each channel its unit, > 0; 0 for padding; < 0 for what is no unit.
        dim: along which its units lie, if that is known: a single one does not tell.
    """
    found = compact(units[labels])
    if found.numel() == 1:
        return _single(labels, int(found), dim)
    rows = {dim: _by_row(found, dim) for dim in range(-found.dim(), 0) if found.shape[dim] > 1}
    every, wanted = _counts(found)
    left = torch.ones_like(every, dtype=torch.bool)
    at: dict[int, Tensor] = {}
    met: list[Tensor] = []
    for dim in reversed(rows):
        pure = _pure(rows[dim])
        inside, held = _counts(rows[dim][pure > 0])
        have = torch.zeros_like(wanted).index_put((torch.searchsorted(every, inside),), held)
        fits = left & (have == wanted)
        left &= ~fits
        pure = pure.where(torch.isin(pure, every[fits]), 0)
        lowest = rows[dim].amin(1)
        beside = (pure > 0) & (lowest < 0)
        met.append(torch.stack([pure[beside], -lowest[beside]]))
        if bool(pure.any()):
            at[dim] = pure
    return Cut(at, every[left], torch.cat(met, 1))


def _single(labels: Tensor, unit: int, dim: int | None) -> Cut:
    """Of a tensor that is of one unit, or of none."""
    dim = dim or telling_dim(labels)
    if unit <= 0 or dim is None:
        return Cut(everything=max(unit, 0))
    return Cut({dim: torch.full((labels.shape[dim],), unit)}, everything=unit)


def _by_row(values: Tensor, dim: int) -> Tensor:
    return values.movedim(dim, 0).reshape(values.shape[dim], -1)


def _pure(rows: Tensor) -> Tensor:
    """The only unit in each row; 0 where there are several, or none."""
    low, high = rows.where(rows > 0, _FAR).amin(1), rows.amax(1)
    return low.where(low == high, 0)


def _counts(units: Tensor) -> tuple[Tensor, Tensor]:
    """(each unit, how often it is there)."""
    return torch.unique(units[units > 0], return_counts=True)
