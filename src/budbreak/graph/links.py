"""Which units of which weight feed which columns of which other weight, and what lies between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from budbreak.graph.channels import Bundle, Channels, is_table, unit_columns, unit_rows, units_dim
from budbreak.graph.labels import at_places, telling_dim
from budbreak.graph.node import Kind, Node
from budbreak.graph.parts import Axis
from budbreak.graph.skips import find_skips


@dataclass(frozen=True)
class NormPassed:
    """A norm between two layers.

    Args:
        owner: the path of its module, or of the module that calls it.
        weight: the name of its gain; None if it has none.
        channels: for each connection of the link the index of its gain; -1 where that is unknown.
    """

    owner: str
    weight: str | None
    channels: tuple[int, ...] = field(repr=False)


@dataclass(frozen=True)
class Link:
    """The connections between two layers: pairs (unit of the first, column of the second).

    Nonlinearities, dropout, pools, moves, sums and products lie between or do not; norms are named. A unit that
    is flattened with its positions feeds as many columns. One end may be what is no layer of one weight: an input or
    output of the model, or what nobody can look into (attention, a GRU, a sum over units): its ``kind`` says what.

    Args:
        source: the weight that feeds; None where that is not one weight.
        target: the weight that is fed; None where that is not one weight.
        start: the node that feeds: a call of a layer with that weight.
        end: the node that is fed.
        units: the unit of the source of each connection; -1 where there is none.
        columns: the column of the target of each connection: its place along the dimension over which the layer sums
            (of a grouped convolution: among all its input channels); of an output: along its last dimension that
            tells channels apart; -1 otherwise. Connections are ordered by column, then unit.
        norms: what is passed on the way, first to last; where the way is a skip: before it begins.
        skip: whether the way is an identity path around other layers (a residual connection).
    """

    source: str | None
    target: str | None
    start: Node = field(repr=False)
    end: Node = field(repr=False)
    units: tuple[int, ...] = field(repr=False)
    columns: tuple[int, ...] = field(repr=False)
    norms: tuple[NormPassed, ...] = ()
    skip: bool = False


def find_links(nodes: Sequence[Node], channels: Channels) -> tuple[Link, ...]:
    """All links with a layer at one end at least, in the order of the ends, then of the starts."""
    finder = _Finder(nodes, channels)
    ends = _ends(channels)
    outputs = [(node, _classes(channels.labels[node.index])) for node in nodes if node.kind == Kind.OUTPUT]
    found = [finder.to(node, entering) for node, entering in ends + outputs]
    return tuple(link for links in found for link in links if link.source is not None or link.target is not None)


def _ends(channels: Channels) -> list[tuple[Node, Tensor]]:
    """(node, (place, channel) of all that enters), of layers and of what no way leads through; -1 is no place."""
    found: dict[int, tuple[Node, list[Tensor]]] = {}
    for bundle in channels.bundles:
        entering = bundle.entering
        if bundle.is_closed:
            outer = [parents for operand, parents in zip(bundle.operands, bundle.parents, strict=False) if operand >= 0]
            entered = torch.cat([entering[1], *outer])
            entered = entered[entered != 0]
            entering = torch.stack([torch.full_like(entered, -1), entered])
        if entering.shape[1]:
            found.setdefault(bundle.node.index, (bundle.node, []))[1].append(entering)
    return [(node, torch.unique(torch.cat(tables, 1), dim=1)) for node, tables in found.values()]


def _classes(labels: Tensor) -> Tensor:
    """(place, channel) of an output, along the last dimension in which channels change."""
    dim = telling_dim(labels)
    return at_places(labels.reshape(1), 0, 1) if dim is None else at_places(labels, dim, labels.shape[dim])


_Route = tuple[tuple[tuple[str, str | None], ...], bool]
"""(norms passed, the nearest to the end first; whether it is a skip)."""


class _Finder:
    """Walks from an end back to what feeds it.

    On the way are connections as a table int64 [2 + norms, connections]: column, channel, and the place in each norm.
    """

    def __init__(self, nodes: Sequence[Node], channels: Channels) -> None:
        self.channels, self.skips = channels, find_skips(nodes)

    def to(self, end: Node, entering: Tensor) -> list[Link]:
        """All links to one end."""
        waiting: dict[int, dict[_Route, list[Tensor]]] = {}
        links: list[Link] = []
        self._spread(waiting, ((), False), entering)
        while waiting:
            number = max(waiting)  # what feeds a bundle was made before it, so no route comes here again
            bundle = self.channels.bundles[number]
            for route, tables in waiting.pop(number).items():
                table = torch.unique(torch.cat(tables, 1), dim=1)
                if bundle.operands and not bundle.is_closed:
                    self._pass(waiting, bundle, route, table)
                else:
                    links.append(_link(bundle, end, route, table))
        return links[::-1]

    def _pass(
        self, waiting: dict[int, dict[_Route, list[Tensor]]], bundle: Bundle, route: _Route, table: Tensor
    ) -> None:
        """Go on behind a norm, or behind each operand of a sum or product."""
        norms, skip = route
        made = table[1] - bundle.first
        if bundle.node.kind == Kind.NORM:
            norms = (*norms, (bundle.node.owner, bundle.node.weight))
            table = torch.cat([table, bundle.places[made][None]])
        for operand, parents in zip(bundle.operands, bundle.parents, strict=True):
            behind = table.clone()
            behind[1] = parents[made]
            behind = behind[:, behind[1] != 0]
            if (bundle.node.index, operand) in self.skips:
                self._spread(waiting, ((), True), behind[:2])
            else:
                self._spread(waiting, (norms, skip), behind)

    def _spread(self, waiting: dict[int, dict[_Route, list[Tensor]]], route: _Route, table: Tensor) -> None:
        """Sort connections by the bundles that their channels belong to."""
        numbers = self.channels.bundle_of(table[1])
        for number in numbers.unique().tolist():
            waiting.setdefault(number, {}).setdefault(route, []).append(table[:, numbers == number])


def _link(bundle: Bundle, end: Node, route: _Route, table: Tensor) -> Link:
    norms, skip = route
    unknown = (-1,) * table.shape[1]
    units = _indices(table[1] - bundle.first, unit_rows(bundle.node)) if bundle.is_layer else unknown
    source = bundle.node.weight if bundle.is_layer else None
    target = end.weight if end.kind == Kind.LAYER and units_dim(end) is not None else None
    columns = _indices(table[0], unit_columns(end) if target is not None and not is_table(end) else None)
    passed = [
        NormPassed(owner, weight, tuple(places.tolist()))
        for (owner, weight), places in zip(norms, table[2:], strict=True)
    ]
    return Link(source, target, bundle.node, end, units, columns, tuple(passed[::-1]), skip)


def _indices(places: Tensor, axis: Axis | None) -> tuple[int, ...]:
    """Which slices of a weight lie at these places; see `Axis`."""
    found = places.tolist()
    if axis is None:
        return tuple(found)
    known = dict(zip(axis.places, axis.indices, strict=True))
    return tuple(known[place] for place in found)
