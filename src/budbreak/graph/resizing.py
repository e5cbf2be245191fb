"""Which calls were given sizes that do not fit any more once a unit is gone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from budbreak.graph.channels import groups_of
from budbreak.graph.cuts import Cut
from budbreak.graph.labels import compact, moved
from budbreak.graph.node import LIKE, Kind, Node, said


class Resizing:
    """Repeats moves without a unit.

    Args:
        nodes: of the graph.
        labels: which channel each value belongs to.
        cuts: how each tensor is cut.
    """

    def __init__(self, nodes: Sequence[Node], labels: Sequence[Tensor], cuts: Sequence[Cut]) -> None:
        self.nodes, self.labels, self.cuts = nodes, labels, cuts

    def without(self, unit: int) -> tuple[str, ...]:
        """The calls, in words, that do not give what is left of their result when they are given what is left."""
        odd = (said(replace(node, call=node.within, where="") if node.within else node) for node in self._odd(unit))
        return tuple(dict.fromkeys(odd))

    def _odd(self, unit: int) -> Iterable[Node]:
        for node in self.nodes:
            sources = [source for source in node.inputs if self.cuts[source].of(unit) is not None]
            if not sources:
                continue
            if node.within:  # it compares the sizes of all that it is given
                yield node
                continue
            grouped = max(groups_of(node), node.groups) > 1 and node.where != ""
            moves = node.kind == Kind.MOVE and node.call not in LIKE
            if grouped or (moves and not self._fits(node, sources[0], unit)):
                yield node

    def _fits(self, node: Node, source: int, unit: int) -> bool:
        before, shape = self._left(source, unit)
        after, expected = self._left(node.index, unit)
        found = moved(replace(node, shape=expected), before, shape)
        return found is not None and torch.equal(found, compact(after))

    def _left(self, index: int, unit: int) -> tuple[Tensor, tuple[int, ...]]:
        """The labels, and the shape, of what is left of a tensor."""
        labels, shape = self.labels[index], list(self.nodes[index].shape)
        place = self.cuts[index].of(unit)
        if place is None:
            return labels, tuple(shape)
        dim, rest = place
        shape[dim] = len(rest)
        return labels.index_select(dim, rest) if labels.shape[dim] > 1 else labels, tuple(shape)
