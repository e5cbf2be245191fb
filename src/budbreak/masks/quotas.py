"""How many weights of which arena a selection has kept, so that others can take their places there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from budbreak.checks import shown
from budbreak.errors import InvalidValue
from budbreak.masks.contest import Scope
from budbreak.masks.floors import floors_of
from budbreak.masks.granularity import Element
from budbreak.masks.mask import Mask
from budbreak.masks.scopes import FittedRows, Global, Layer, Rows


@dataclass(frozen=True, eq=False)
class Quotas:
    """So many weights stay in each arena: where others come in, as many go.

    Args:
        arenas: name -> int64, the number of the arena of each of its weights, to be broadcast.
        counts: int64 [arenas]: how many stay in each.
        floors: name -> how many stay there at least, where arenas span layers.
    """

    arenas: Mapping[str, Tensor]
    counts: Tensor
    floors: Mapping[str, int]

    @classmethod
    def of(cls, mask: Mask, scope: Scope, floor: int | float = 0) -> Quotas:
        """Those of what a selection in a scope has kept.

        Raises:
            InvalidValue: see `check_exchangeable`.
        """
        check_exchangeable(scope, Element())
        arenas, first = dict[str, Tensor](), 0
        for name, entry in mask.items():
            arenas[name] = _numbers(scope, name, entry.shape) + first
            first += 0 if isinstance(scope, Global) else int(arenas[name].max()) + 1 - first
        sizes = {name: entry.numel() for name, entry in mask.items()}
        floors = floors_of(floor, sizes, {name: mask.kept_in(name) for name in mask}) if first == 0 else {}
        counts = torch.zeros(max(1, first), dtype=torch.int64)
        return cls(arenas, _counted(arenas, mask, counts), floors)

    @property
    def is_one(self) -> bool:
        """Whether there is a single arena."""
        return len(self.counts) == 1

    def room(self, taken: Mask) -> Room:
        """What room is left beside weights that stay in any case."""
        counts = {name: taken.kept_in(name) for name in taken}
        reserved = sum(max(0, floor - counts[name]) for name, floor in self.floors.items())
        return Room(self, counts, self.counts - reserved - _counted(self.arenas, taken, torch.zeros_like(self.counts)))


@dataclass(frozen=True, eq=False)
class Room:
    """What room is left in arenas, beside weights that are taken already.

    Args:
        quotas: what they keep in all.
        counts: name -> how many are taken there.
        left: int64 [arenas]: how many more fit in, beside what is reserved for floors; negative where too many are.
    """

    quotas: Quotas
    counts: Mapping[str, int]
    left: Tensor

    def after(self, taken: Iterable[tuple[str, int]]) -> Room | None:
        """What is left once these are taken as well: (name, flat index) of new ones; None if they do not fit in."""
        counts, left = dict(self.counts), self.left.clone()
        for name, index in taken:
            arenas = self.quotas.arenas[name].view(-1)
            if counts[name] >= self.quotas.floors.get(name, 0):
                left[arenas[index if len(arenas) > 1 else 0]] -= 1
            counts[name] += 1
        return Room(self.quotas, counts, left) if bool((left >= 0).all()) else None

    def open(self) -> dict[str, Tensor]:
        """Name -> bool, to be broadcast: where any more fit in."""
        floors = self.quotas.floors
        short = {name: self.counts[name] < floors.get(name, 0) for name in self.counts}
        return {name: (self.left > 0)[arena] | short[name] for name, arena in self.quotas.arenas.items()}


def check_exchangeable(scope: object, granularity: object) -> None:
    """Refuse what leaves no single weights to exchange within arenas.

    Raises:
        InvalidValue: with what to write.
    """
    if not isinstance(granularity, Element):
        raise InvalidValue(
            f"weights are to be exchanged, with granularity {granularity}",
            "what connects a class is single weights, and here they go together",
            "use granularity=bb.Element(), or leave connect out",
        )
    if not isinstance(scope, Global | Layer | Rows | FittedRows):
        raise InvalidValue(
            f"weights are to be exchanged, in scope {shown(scope)}",
            "that is known to keep the numbers of the scopes Global, Layer and Rows",
            "use scope=bb.masks.Layer(), or leave connect out",
        )


def _numbers(scope: Scope, name: str, shape: torch.Size) -> Tensor:
    """The arenas of one weight, counted from 0: int64, to be broadcast."""
    if isinstance(scope, Rows | FittedRows):
        layout = scope.layout(name)
        rows = layout.rows(torch.zeros(shape, dtype=torch.int64))
        return layout.restore(rows + torch.arange(len(rows))[:, None], shape)
    return torch.zeros((1,) * len(shape), dtype=torch.int64)


def _counted(arenas: Mapping[str, Tensor], kept: Mapping[str, Tensor], counts: Tensor) -> Tensor:
    for name, entry in kept.items():
        numbers = arenas[name].expand(entry.shape)[entry] if arenas[name].numel() > 1 else None
        if numbers is None:
            counts[arenas[name].flatten()] += entry.count_nonzero()
        else:
            counts += torch.bincount(numbers, minlength=len(counts))
    return counts
