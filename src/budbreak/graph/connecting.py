"""One path to each class, within what each arena can keep."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from budbreak.errors import InvalidValue, NotFinite, Unreached
from budbreak.graph.channels import Channels
from budbreak.graph.node import Kind, Node
from budbreak.graph.reachability import class_channels
from budbreak.graph.strongest import Element, Strongest, find_strongest
from budbreak.masks import Mask, Quotas, Room

_SMALLEST = 1e-30  # a weight of 0 is the weakest there is, and still one
_ATTEMPTS = 6  # to connect a class first that found no path: with more, hardly any other finds one
_NEW = 1e4  # more than the logarithms of a path add up to


@dataclass(frozen=True)
class Wanted:
    """What paths are asked for.

    Args:
        mask: what was kept: classes that it reaches keep a path of it.
        within: what is alive: the others get one of that.
        sure: what stays in any case, on a path or not.
        quotas: how many weights can stay where.
        weights: name -> the weight.
        names: name -> what it is called in messages.
    """

    mask: Mask
    within: Mask
    sure: Mask
    quotas: Quotas
    weights: Mapping[str, Tensor]
    names: Mapping[str, str]


def find_paths(nodes: Sequence[Node], channels: Channels, wanted: Wanted) -> Mask:
    """See `ModelGraph.paths`."""
    outputs = [class_channels(node, channels) for node in nodes if node.kind == Kind.OUTPUT]
    classes = [(place, ends) for output in outputs for place, ends in enumerate(output)]
    ends, first = [end for _, end in classes], list[int]()
    search = _Search(nodes, channels, wanted, frugal=False)
    missed = search.connect_all(ends, first)
    left = _ATTEMPTS
    while missed is not None and left:
        left, first = left - 1, [missed, *(place for place in first if place != missed)]
        search = _Search(nodes, channels, wanted, frugal=True)
        missed = search.connect_all(ends, first)
    if missed is None:
        return Mask.owning(search.taken)
    raise _refusal(classes[missed], search, len(classes))


class _Search:
    """Paths that are found one after the other.

    Args:
        nodes, channels: of the graph.
        wanted: what is asked for.
        frugal: whether a path has as few new weights as can be, and only of such it is the strongest.

    Attributes:
        taken: name -> bool: the elements of all paths so far, and what stays in any case.
        room: what is left beside them.
    """

    def __init__(self, nodes: Sequence[Node], channels: Channels, wanted: Wanted, *, frugal: bool) -> None:
        self.nodes, self.channels, self.wanted, self.frugal = nodes, channels, wanted, frugal
        self.taken = {name: entry.clone() for name, entry in wanted.sure.items()}
        self.room = wanted.quotas.room(wanted.sure)
        self._found: dict[bool, Strongest] = {}

    def connect_all(self, classes: Sequence[Tensor], first: Sequence[int]) -> int | None:
        """Take a path to each: to the ``first``, to those that what is kept reaches, to the others.

        Returns:
            The place of a class to which none fits in; None if there is none.
        """
        kept = self._strongest(kept=True).strengths
        missing = [not bool((kept[ends] > -math.inf).any()) for ends in classes]
        order = dict.fromkeys([*first, *sorted(range(len(classes)), key=missing.__getitem__)])
        return next((place for place in order if not self._connect(classes[place])), None)

    def _connect(self, ends: Tensor) -> bool:
        """Take the path to one of these channels, of what is kept or else alive; False if none fits in."""
        for kept in (False,) if self.frugal else (True, False):
            path = self._path(ends, kept=kept)
            if path is not None and self._take(path):
                return True
        return False

    def _take(self, path: Sequence[Element]) -> bool:
        """Take a path if it fits in."""
        room = self._room_after(path)
        if room is None:
            return False
        self.room = room
        for name, index in path:
            self.taken[name].view(-1)[index] = True
        return True

    def _room_after(self, path: Sequence[Element]) -> Room | None:
        return self.room.after({(name, index): 0 for name, index in path if not self.taken[name].view(-1)[index]})

    def _path(self, ends: Tensor, *, kept: bool) -> Sequence[Element] | None:
        """The strongest path that leads where there is room; None if there is none."""
        if kept in self._found and not self.frugal:
            path = self._found[kept].path_to(ends)
            if path is None or self._room_after(path) is not None:  # less is open now: it is still the strongest
                return path
        return self._strongest(kept=kept).path_to(ends)

    def _strongest(self, *, kept: bool) -> Strongest:
        """The strongest paths that lead through what is taken, and else where there is room only."""
        room, alive = self.room.open(), self.wanted.mask if kept else self.wanted.within
        logs = _logs(self.wanted.weights, {name: alive[name] & (one | room[name]) for name, one in self.taken.items()})
        if self.frugal:
            logs = {name: entry - _NEW * (~self.taken[name]) for name, entry in logs.items()}
        self._found[kept] = find_strongest(self.nodes, self.channels, logs)
        return self._found[kept]


def _logs(weights: Mapping[str, Tensor], alive: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Of the magnitudes, -inf where nothing is alive.

    Raises:
        NotFinite: with the weight.
    """
    magnitudes = {name: weights[name].detach().cpu().float().abs().clamp(min=_SMALLEST) for name in alive}
    for name in (name for name, values in magnitudes.items() if values.numel() and not math.isfinite(values.max())):
        raise NotFinite(
            f"{name!r} holds NaN or infinite numbers", "the strongest of paths have a product", "mend the weights"
        )
    return {name: torch.where(entry, magnitudes[name].log(), -math.inf) for name, entry in alive.items()}


def _refusal(missed: tuple[int, Tensor], search: _Search, classes: int) -> InvalidValue:
    """Why a class has no path: none of what is alive leads there, or no room is left for it in the arenas."""
    place, wanted = missed[0], search.wanted
    alive = find_strongest(search.nodes, search.channels, _logs(wanted.weights, wanted.within))
    path = alive.path_to(missed[1])
    if path is None:
        return Unreached(
            f"no path leads to class {place}, through whatever is alive",
            "each class is to keep a path from the input",
            "prune less before; connect before what is pruned is set to zero; or leave connect out",
        )
    room, names = search.room.open(), list(dict.fromkeys(name for name, _ in reversed(path)))
    full = [name for name in names if not bool(room[name].all())] or names
    kept = ", ".join(f"{wanted.mask.kept_in(name)} of {wanted.names[name]!r}" for name in full)
    more = f"; or let each layer keep more: floor={classes}, an allocation, or scope=bb.masks.Global()"
    return InvalidValue(
        f"no path to class {place} fits in beside those to others: {kept} stay",
        "each class is to keep a path from the input, and no more weights stay than were selected",
        "prune less" + ("" if search.room.quotas.is_one else more),
    )
