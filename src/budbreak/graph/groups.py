"""Units of several layers that can only be pruned together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from budbreak.graph.channels import Bundle, Channels, groups_of, is_table, units_dim
from budbreak.graph.labels import crossing
from budbreak.graph.node import Kind, Node


@dataclass(frozen=True)
class Member:
    """What the units of a group are in one weight.

    Args:
        weight: its name.
        dim: the dimension of the weight that is cut; of gains of norms over units, -1.
        indices: for each unit of the group the indices along that dimension.
        makes: whether these slices compute the units; else they read or scale them.
    """

    weight: str
    dim: int
    indices: tuple[tuple[int, ...], ...] = field(repr=False)
    makes: bool = False


@dataclass(frozen=True)
class Group:
    """Units that are pruned one by one, but each in all members at once.

    Args:
        size: how many units it has.
        members: where they lie, in the order of the forward pass. Biases go with the rows of their layer, or the gains
            of their norm.
        fixed: why none can be pruned; "" if they can.
    """

    size: int
    members: tuple[Member, ...]
    fixed: str = ""


def find_groups(nodes: Sequence[Node], channels: Channels) -> tuple[Group, ...]:
    """See `ModelGraph.groups`."""
    ties = _Ties(nodes, channels)
    for bundle in channels.bundles:
        ties.tie(bundle)
    for node in nodes:
        ties.fix_at(node)
    return _in_groups(ties)


_Slot = tuple[str, int]
"""A weight, and a dimension of it."""


class _Ties:
    """What belongs together: channels, and slices of weights, which are numbered behind them.

    Attributes:
        pairs: numbers that belong together, int64 [2, ...] each.
        reasons: channels that cannot be pruned, and why.
        slices: slot -> index -> number; ``made``: the slots whose slices compute units.
    """

    def __init__(self, nodes: Sequence[Node], channels: Channels) -> None:
        self.nodes, self.channels = nodes, channels
        self.pairs: list[Tensor] = []
        self.reasons: list[tuple[Tensor, str]] = []
        self.slices: dict[_Slot, dict[int, int]] = {}
        self.made: set[_Slot] = set()
        self.count = channels.count
        self.whole = torch.zeros(channels.count, dtype=torch.bool)
        for bundle in channels.bundles:
            self.whole[bundle.first : bundle.first + bundle.count] = bundle.is_whole

    def tie(self, bundle: Bundle) -> None:
        """What one node ties."""
        if bundle.is_layer:
            self._layer(bundle)
        elif bundle.node.kind == Kind.NORM:
            self._norm(bundle)
        elif bundle.operands:
            for operand, parents in zip(bundle.operands, bundle.parents, strict=True):
                self._operand(bundle, operand, parents)
        else:
            self.reasons.append((bundle.entering[1], f"enters {_said(bundle.node)}"))

    def _slice(self, slot: _Slot, indices: Tensor, channels: Tensor) -> None:
        """Slices of a weight belong to these channels, one by one."""
        known = self.slices.setdefault(slot, {})
        for index in indices.tolist():
            if index not in known:
                known[index] = self.count
                self.count += 1
        numbers = torch.tensor([known[index] for index in indices.tolist()], dtype=torch.int64)
        self.pairs.append(torch.stack([numbers, channels]))

    def _layer(self, bundle: Bundle) -> None:
        node, made = bundle.node, torch.arange(bundle.first, bundle.first + bundle.count)
        weight, dim, groups = node.weights[0], node.units.dim if node.units else 0, groups_of(node)
        if groups > 1:
            self._convolution(bundle, made, groups)
            return
        self.made.add((weight, dim))
        self._slice((weight, dim), torch.arange(bundle.count), made)
        if not is_table(node):
            places, entering = self._followed(*bundle.entering)
            self._slice((weight, 1 - dim), places, entering)
            unclear = crossing(torch.stack([places, entering]))
            if bool(unclear.any()):
                self.reasons.append((entering[unclear], f"enters {node.weight} along another dimension"))

    def _convolution(self, bundle: Bundle, made: Tensor, groups: int) -> None:
        """Of a group of a convolution all channels are pruned or none."""
        node, (places, entering) = bundle.node, bundle.entering
        columns = self.nodes[node.inputs[0]].shape[units_dim(node) or -1]
        of_units, of_columns = torch.arange(bundle.count) * groups // bundle.count, places * groups // columns
        if node.units and node.units.dim == 0:
            self.made.add((node.weights[0], 0))
            self._slice((node.weights[0], 0), torch.arange(bundle.count), made)
        else:
            followed = ~self.whole[entering]
            self._slice((node.weights[0], 0), places[followed], entering[followed])
        numbers, channels = self._followed(torch.cat([of_units, of_columns]), torch.cat([made, entering]))
        for number in numbers.unique():
            same = channels[numbers == number]
            self.pairs.append(torch.stack([same[:1].expand(len(same)), same]))

    def _followed(self, places: Tensor, channels: Tensor) -> tuple[Tensor, Tensor]:
        """What is left of (place, channel) without inputs and what cannot be followed, which fix what they meet."""
        whole = self.whole[channels]
        self._meet(channels[~whole & torch.isin(places, places[whole])], channels[whole])
        return places[~whole], channels[~whole]

    def _meet(self, channels: Tensor, wholes: Tensor) -> None:
        """These channels meet inputs, or what cannot be followed."""
        if len(wholes):
            source = self.channels.bundles[int(self.channels.bundle_of(wholes[:1]))].node
            self.reasons.append((channels, f"meets {_said(source)}"))

    def _norm(self, bundle: Bundle) -> None:
        node, made = bundle.node, torch.arange(bundle.first, bundle.first + bundle.count)
        (parents,) = bundle.parents
        whole = self.whole[parents]
        self._meet(made[whole], parents[whole])
        self.pairs.append(torch.stack([parents[~whole], made[~whole]]))
        if bool((bundle.places < 0).any()) or node.call == "group_norm":
            self.reasons.append((made, f"enters {_said(node)}"))
        elif node.weight is not None:
            by_channel = node.call in ("batch_norm", "instance_norm")
            self._slice((node.weight, 0 if by_channel else -1), bundle.places, made)

    def _operand(self, bundle: Bundle, operand: int, parents: Tensor) -> None:
        made = torch.arange(bundle.first, bundle.first + bundle.count)
        if not bool(parents.all()):
            self.reasons.append((made[parents == 0], f"meets padding in {_said(bundle.node)}"))
        made, parents = made[parents != 0], parents[parents != 0]
        whole = self.whole[parents]
        self._meet(made[whole], parents[whole])
        made, parents = made[~whole], parents[~whole]
        if any(size == 1 for size in self._sizes(bundle.node, operand)):  # one value for several channels
            reason = f"is broadcast over units in {_said(bundle.node)}"
            self.reasons += [(made, reason), (parents, reason)]
        else:
            self.pairs.append(torch.stack([parents, made]))

    def fix_at(self, node: Node) -> None:
        """What a model returns is given, and so is what has a constant of its own for each unit."""
        labels = self.channels.labels[node.index].flatten()
        if node.kind == Kind.OUTPUT:
            self.reasons.append((labels[labels != 0], "is an output of the model"))
        if node.kind in (Kind.ADD, Kind.MULTIPLY, Kind.CONCAT):
            for source in node.inputs:
                if self.nodes[source].kind == Kind.CONSTANT and any(size > 1 for size in self._sizes(node, source)):
                    self.reasons.append((labels[labels != 0], f"meets {_said(self.nodes[source])}"))

    def _sizes(self, node: Node, operand: int) -> list[int]:
        """Of an operand, along the dimensions in which the channels of the result change; not along that of a `cat`."""
        shape, labels = self.nodes[operand].shape, self.channels.labels[node.index]
        joined = dict(node.options).get("dim", (*node.arguments, 0)[0]) if node.kind == Kind.CONCAT else None
        dims = [dim for dim in range(-labels.dim(), 0) if labels.shape[dim] > 1]
        return [shape[dim] if -dim <= len(shape) else 1 for dim in dims if joined not in (dim, dim + labels.dim())]


def _in_groups(ties: _Ties) -> tuple[Group, ...]:
    """Units with members in the same weights, as often, are one group."""
    component = _components(ties)
    why: dict[int, dict[str, None]] = {}
    for channels, reason in ties.reasons:
        for number in np.unique(component[channels.numpy()]).tolist():
            why.setdefault(number, {})[reason] = None
    units: dict[int, dict[_Slot, list[int]]] = {}
    for slot, known in ties.slices.items():
        for index, number in known.items():
            units.setdefault(int(component[number]), {}).setdefault(slot, []).append(index)
    alike: dict[tuple[object, ...], list[dict[_Slot, list[int]]]] = {}
    for number, members in units.items():
        if members.keys() & ties.made:  # else they are an input's
            form = tuple((slot, len(indices)) for slot, indices in members.items())
            alike.setdefault((form, "; ".join(why.get(number, ()))), []).append(members)
    return tuple(_group(found, str(form[1]), ties.made) for form, found in alike.items())


def _group(units: list[dict[_Slot, list[int]]], fixed: str, made: set[_Slot]) -> Group:
    members = [Member(*slot, tuple(tuple(sorted(unit[slot])) for unit in units), slot in made) for slot in units[0]]
    return Group(len(units), tuple(members), fixed)


def _components(ties: _Ties) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs = torch.cat(ties.pairs, 1).numpy() if ties.pairs else np.zeros((2, 0), np.int64)
    graph = coo_array((np.ones(pairs.shape[1], bool), (pairs[0], pairs[1])), shape=(ties.count, ties.count))
    return connected_components(graph, directed=False)[1]


def _said(node: Node) -> str:
    """A node in words."""
    if node.kind == Kind.INPUT:
        return "an input of the model"
    if node.kind == Kind.CONSTANT:
        return f"the constant {' '.join(node.weights)}".strip()
    place = " ".join(part for part in (node.owner and f"in {node.owner}", node.where and f"({node.where})") if part)
    return f"{node.call} {place}".strip()
