"""What is removed as one: single weights, or whole units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from budbreak.errors import InvalidValue
from budbreak.scores import Score


class Granularity(Protocol):
    """What is removed as one."""

    def merge(self, score: Score) -> Score:
        """The scores of the things that are removed as one, for one weight."""
        ...

    def shrink(self, entry: Tensor) -> Tensor:
        """Bool [of the merged shape]: the things of which anything is kept."""
        ...

    def spread(self, entry: Tensor, shape: torch.Size) -> Tensor:
        """Bool [shape] from bool [of the merged shape]."""
        ...


@dataclass(frozen=True)
class Element:
    """Single weights."""

    def merge(self, score: Score) -> Score:
        """See `Granularity`."""
        return score

    def shrink(self, entry: Tensor) -> Tensor:
        """See `Granularity`."""
        return entry

    def spread(self, entry: Tensor, shape: torch.Size) -> Tensor:
        """See `Granularity`."""
        return entry


@dataclass(frozen=True)
class Unit:
    """Whole units: all weights with the same index along ``dim``, scored by the mean of their scores.

    Args:
        dim: 0 for output units of Linear and Conv, 1 for their input units.
    """

    dim: int = 0

    def merge(self, score: Score) -> Score:
        """See `Granularity`."""
        units = score.shape[self._dim(score.shape)]
        return Score(torch.Size([units]), lambda: self._slices(score))

    def shrink(self, entry: Tensor) -> Tensor:
        """See `Granularity`."""
        return entry.movedim(self._dim(entry.shape), 0).flatten(1).any(1)

    def spread(self, entry: Tensor, shape: torch.Size) -> Tensor:
        """See `Granularity`."""
        dim = self._dim(shape)
        view = entry.reshape([-1 if i == dim else 1 for i in range(len(shape))])
        return view.expand(shape).contiguous()

    def _slices(self, score: Score) -> Callable[[int, int], Tensor]:
        whole = score.tensor()
        means = whole.movedim(self._dim(score.shape), 0).flatten(1).mean(1)
        return lambda lo, hi: means[lo:hi]

    def _dim(self, shape: torch.Size) -> int:
        if not 0 <= self.dim < len(shape) or len(shape) < 2:
            raise InvalidValue(
                f"Unit(dim={self.dim}) on a weight of shape {tuple(shape)}",
                "dim must be one of its dimensions",
            )
        return self.dim


ALL = (Element, Unit)
