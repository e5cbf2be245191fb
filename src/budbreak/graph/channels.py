"""Follow channels: which units of which producers lie where in every tensor of a network."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from budbreak.graph.labels import aligned, at_places, crossing, joined, moved, pooled
from budbreak.graph.node import Kind, Node

_NOTHING = torch.zeros(2, 0, dtype=torch.int64)
_BY_CHANNEL = ("batch_norm", "instance_norm", "group_norm")
"""Norms whose gains lie along dimension 1; those of others lie along the last one."""


@dataclass(frozen=True, eq=False)
class Bundle:
    """The channels that one node makes, and what they come from.

    A layer makes one for each of its units; a sum, or a product, one for each combination of channels that meet in
    it; a norm one for each channel that enters. Whatever cannot be followed, and an input of the model, makes a
    single one, which stands for all its values.

    Args:
        node: what makes them.
        first, count: they are numbered ``first`` to ``first + count - 1``.
        entering: of layers, and of what cannot be followed: (place, channel) of all that enters, int64 [2, pairs].
            Places count along the dimension over which a layer sums: the columns of its weight. They are -1 elsewhere.
        parents: of sums, products and norms: int64 [operands, count], the channel that each comes from; 0 is none.
        operands: the nodes of the rows of ``parents``.
        places: of norms: int64 [count], where each one's gain lies; -1 where that is unknown.
    """

    node: Node
    first: int
    count: int
    entering: Tensor = _NOTHING
    parents: Tensor = _NOTHING
    operands: tuple[int, ...] = ()
    places: Tensor = _NOTHING[0]

    @property
    def is_layer(self) -> bool:
        """Whether its channels are the units of a layer's weight."""
        return self.node.kind == Kind.LAYER and not self.is_whole

    @property
    def is_whole(self) -> bool:
        """Whether its one channel stands for all values, because they cannot be told apart or are an input."""
        return not self.operands and (self.node.kind != Kind.LAYER or units_dim(self.node) is None)

    @property
    def mixes(self) -> bool:
        """Whether every channel that enters reaches every one that it makes: norms over units do."""
        return self.node.kind == Kind.NORM and self.node.call not in ("batch_norm", "instance_norm")


@dataclass(frozen=True, eq=False)
class Channels:
    """The channels of all tensors of a graph.

    Args:
        labels: for each node which channel each value belongs to; see `budbreak.graph.labels`.
        bundles: what makes them, in the order of the nodes.
        count: how many there are, and the 0 for none: they are numbered below it.
    """

    labels: tuple[Tensor, ...]
    bundles: tuple[Bundle, ...]
    count: int

    def bundle_of(self, channels: Tensor) -> Tensor:
        """For each channel > 0 the place of its bundle among ``bundles``."""
        firsts = torch.tensor([bundle.first for bundle in self.bundles], dtype=torch.int64)
        return torch.searchsorted(firsts, channels.contiguous(), right=True) - 1


def follow(nodes: Sequence[Node]) -> Channels:
    """Follow the channels through a forward pass.

    Exact along layers, norms, sites, sums and products, concatenation, pools and moves. Of attention, products of two
    tensors, recurrent layers, reductions over units and what is opaque each value may come from each.
    """
    follower = _Follower(nodes)
    for node in nodes:
        follower.labels.append(follower.label(node))
    return Channels(tuple(follower.labels), tuple(follower.bundles), follower.next)


def units_dim(node: Node) -> int | None:
    """The dimension, from the end, that counts the units of a layer, and over which it sums; None if unknown."""
    if node.units is None or node.weight is None or len(node.inputs) != 1:
        return None
    if (convolution := re.fullmatch(r"conv(_transpose)?(\d)d", node.call)) is not None:
        return -1 - int(convolution[2])
    if node.call in ("linear", "addmm") or is_table(node):
        return -1
    product = node.call in ("matmul", "mm", "sparse_mm", "__matmul__", "mv")
    return node.unit_dims[0] if product and node.unit_dims is not None and len(node.unit_dims) == 1 else None


def is_table(node: Node) -> bool:
    """Whether a layer is an embedding: what enters are indices, of whichever row."""
    return node.call in ("embedding", "embedding_bag")


def groups_of(node: Node) -> int:
    """The groups of a convolution, transposed or not; 1 for every other layer."""
    return max(node.groups, node.units.groups if node.units else 1)


class _Follower:
    """What is known of the nodes so far."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = nodes
        self.labels: list[Tensor] = []
        self.bundles: list[Bundle] = []
        self.next, self.wholes = 1, list[int]()
        inner = {source for node in nodes if node.kind != Kind.OUTPUT for source in node.inputs}
        self.last = {source for node in nodes for source in node.inputs} - inner

    def label(self, node: Node) -> Tensor:
        """The labels of a node, whose inputs have theirs."""
        rule = _RULES.get(node.kind)
        found = rule(self, node) if rule is not None else None
        return self.whole(node) if found is None else found

    def whole(self, node: Node) -> Tensor:
        """One channel for all values."""
        sources = [self.labels[source].flatten() for source in node.inputs]
        channels = torch.cat([torch.zeros(0, dtype=torch.int64), *sources])
        channels = channels[channels != 0].unique()
        entering = torch.stack([torch.full_like(channels, -1), channels])
        self.wholes.append(self.next)
        return self.make(Bundle(node, self.next, 1, entering=entering)).reshape((1,) * len(node.shape))

    def make(self, bundle: Bundle) -> Tensor:
        """Number its channels."""
        self.bundles.append(bundle)
        self.next += bundle.count
        return torch.arange(bundle.first, bundle.first + bundle.count)

    def layer(self, node: Node) -> Tensor | None:
        """The units of a layer, each a channel of its own."""
        dim = units_dim(node)
        if dim is None:
            return None
        (source,) = node.inputs
        labels = self.labels[source]
        if is_table(node):
            channels = labels[labels != 0].unique()
            entering = torch.stack([torch.full_like(channels, -1), channels])
        else:
            entering = at_places(labels, dim, self.nodes[source].shape[dim])
        made = self.make(Bundle(node, self.next, node.shape[dim], entering=entering))
        return made.reshape([-1 if place == dim else 1 for place in range(-len(node.shape), 0)])

    def join(self, node: Node) -> Tensor | None:
        """Sums and products: a channel for each combination that meets, unless all but one are constants."""
        distinct: list[int] = []
        for source in node.inputs:
            labels = self.labels[source]
            if labels.any() and not any(torch.equal(labels, self.labels[other]) for other in distinct):
                distinct.append(source)
        if len(distinct) == 1 and len(self.nodes[distinct[0]].shape) == len(node.shape):
            return self.labels[distinct[0]]
        if not distinct:
            return torch.zeros((1,) * len(node.shape), dtype=torch.int64)
        return self.combine(node, aligned([self.labels[source] for source in distinct]), tuple(distinct))

    def combine(self, node: Node, stacked: Tensor, operands: tuple[int, ...]) -> Tensor:
        """A channel for each different column of stacked labels; the row behind the operands' is a place + 1."""
        columns, labels = torch.unique(stacked.flatten(1), dim=1, return_inverse=True)
        parents, places = columns[: len(operands)], columns[len(operands) :].flatten() - 1
        something = (parents != 0).any(0)
        parents, places = parents[:, something], places[something[: len(places)]]
        bundle = Bundle(node, self.next, parents.shape[1], parents=parents, operands=operands, places=places)
        made = torch.zeros(len(something), dtype=torch.int64)
        made[something] = self.make(bundle)
        labels = made[labels].reshape(stacked.shape[1:])
        return labels.reshape((1,) * (len(node.shape) - labels.dim()) + tuple(labels.shape))

    def norm(self, node: Node) -> Tensor | None:
        """Channels go on, each with a gain of its own."""
        source = node.inputs[0] if node.inputs else None
        if source is None or self.nodes[source].shape != node.shape:
            return None
        labels, shape = self.labels[source], node.shape
        if labels.numel() == 1:
            return labels
        dim = 1 - len(shape) if node.call in _BY_CHANNEL else -1
        pairs = at_places(labels, dim, shape[dim])
        apart = pairs[:, ~torch.isin(pairs[1], torch.tensor(self.wholes))]
        unclear = dim == -1 and bool(crossing(apart).any())  # a norm over several dimensions
        places = torch.zeros(1, dtype=torch.int64) if unclear else torch.arange(1, shape[dim] + 1)
        places = places.reshape([-1 if place == dim else 1 for place in range(-len(shape), 0)])
        return self.combine(node, aligned([labels, places]), (source,))

    def stay(self, node: Node) -> Tensor | None:
        """Each value for itself: labels stay."""
        if len(node.inputs) != 1:
            return self.join(node)
        (source,) = node.inputs
        return self.labels[source] if self.nodes[source].shape == node.shape else None

    def move(self, node: Node) -> Tensor | None:
        """Labels are moved as the values were."""
        if len(node.inputs) != 1:
            return None
        (source,) = node.inputs
        return moved(node, self.labels[source], self.nodes[source].shape)

    def pool(self, node: Node) -> Tensor | None:
        """Labels stay where no two channels become one."""
        return pooled(node, self.labels[node.inputs[0]]) if len(node.inputs) == 1 else None

    def concat(self, node: Node) -> Tensor | None:
        """Labels side by side."""
        return joined(node, [(self.labels[source], self.nodes[source].shape) for source in node.inputs])

    def attention(self, node: Node) -> Tensor | None:
        """A softmax over what the model returns only scales it: classes stay apart."""
        scales = node.call in ("softmax", "log_softmax") and node.index in self.last
        return self.stay(node) if scales else None


def _constant(follower: _Follower, node: Node) -> Tensor:
    return torch.zeros((1,) * len(node.shape), dtype=torch.int64)


_RULES: Mapping[Kind, Callable[[_Follower, Node], Tensor | None]] = {
    Kind.CONSTANT: _constant,
    Kind.LAYER: _Follower.layer,
    Kind.NORM: _Follower.norm,
    Kind.SITE: _Follower.stay,
    Kind.IDENTITY: _Follower.stay,
    Kind.OUTPUT: _Follower.stay,
    Kind.ADD: _Follower.join,
    Kind.MULTIPLY: _Follower.join,
    Kind.CONCAT: _Follower.concat,
    Kind.MOVE: _Follower.move,
    Kind.POOL: _Follower.pool,
    Kind.ATTENTION: _Follower.attention,
}
"""How each kind passes channels on; what has no rule, or whose rule finds no answer, cannot be followed."""
