"""Channels: which units of which producers lie where in every tensor of a network."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from budbreak.graph.node import Kind, Node
from budbreak.graph.parts import Axis

_NOTHING = torch.zeros(2, 0, dtype=torch.int64)


@dataclass(frozen=True, eq=False)
class Bundle:
    """The channels that one node makes, and what they come from.

    A layer makes one for each of its units; a sum, or a product, one for each combination of channels that meet in
    it; a norm one for each channel that enters; a mean over units one for each set of them. A constant that is put
    beside units (a token) makes one for each of its values that lies beside another; one that a layer works on, one
    for each column. Whatever cannot be followed, an input of the model, and any other constant that is put beside
    something, makes a single one, which stands for all its values.

    Args:
        node: what makes them. Attention makes two bundles: its weights, then what it gives.
        first, count: they are numbered ``first`` to ``first + count - 1``.
        entering: int64 [2, pairs]: of layers (place, channel) of all that enters, places counting along the dimension
            over which a layer sums, -1 for a table; of mixtures (which of its channels, channel).
        parents: of sums, products and norms: int64 [operands, count], the channel that each comes from; 0 is none.
        operands: the nodes of the rows of ``parents``; -1 for the weights of attention.
        spanned: of sums and products: for each operand along how many dimensions its channels change.
        places: of norms: int64 [count], where each one's gain lies; -1 where that is unknown.
    """

    node: Node
    first: int
    count: int
    entering: Tensor = _NOTHING
    parents: Tensor = _NOTHING
    operands: tuple[int, ...] = ()
    spanned: tuple[int, ...] = ()
    places: Tensor = _NOTHING[0]

    @property
    def made(self) -> Tensor:
        """The numbers of its channels."""
        return torch.arange(self.first, self.first + self.count)

    @property
    def is_layer(self) -> bool:
        """Whether its channels are the units of a layer's weight."""
        return self.node.kind == Kind.LAYER and units_dim(self.node) is not None

    @property
    def is_token(self) -> bool:
        """Whether its channels are those of a constant."""
        return self.node.kind == Kind.CONSTANT

    @property
    def is_mixture(self) -> bool:
        """Whether each of its channels comes from any of several, or from nothing that is known."""
        return not (self.operands or self.is_layer or self.is_token)

    @property
    def is_closed(self) -> bool:
        """Whether nobody asks through which channel of it a connection leads: mixtures, and products of tensors."""
        return self.is_mixture or self.is_token or self.node.kind in (Kind.MATMUL, Kind.ATTENTION)

    @property
    def mixes(self) -> bool:
        """Whether every channel that enters reaches every one that it makes: norms over units do."""
        return self.node.kind == Kind.NORM and self.node.call not in ("batch_norm", "instance_norm")


@dataclass(frozen=True, eq=False)
class Channels:
    """The channels of all tensors of a graph.

    Args:
        labels: for each node which channel each value belongs to; see `budbreak.graph.labels`.
        bundles: what makes them, in the order of their numbers.
        count: how many there are, and the 0 for none: they are numbered below it.
        whole: bool [count]: which of them are no units, for they stand for all values of a tensor, or come from such.
    """

    labels: tuple[Tensor, ...]
    bundles: tuple[Bundle, ...]
    count: int
    whole: Tensor

    def bundle_of(self, channels: Tensor) -> Tensor:
        """For each channel > 0 the place of its bundle among ``bundles``."""
        firsts = torch.tensor([bundle.first for bundle in self.bundles], dtype=torch.int64)
        return torch.searchsorted(firsts, channels.contiguous(), right=True) - 1

    def source_of(self, channel: int) -> Node:
        """What a channel comes from: behind sums and norms the first thing that cannot be told apart."""
        while True:
            bundle = self.bundles[int(self.bundle_of(torch.tensor([channel])))]
            if not bundle.operands:
                return bundle.node
            parents = bundle.parents[:, channel - bundle.first].tolist()
            channel = next(parent for parent in parents if parent and bool(self.whole[parent]))


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


def unit_rows(node: Node) -> Axis | None:
    """Where the units of a layer lie in its weight; None where they are all of them, in order."""
    return _axis_of(node, units_dim(node))


def unit_columns(node: Node) -> Axis | None:
    """Where the columns over which a layer sums lie in its weight; None where they are all of them, in order."""
    return _axis_of(node, None)


def _axis_of(node: Node, of: int | None) -> Axis | None:
    axes = [axis for part in node.parts if part.name == node.weight for axis in part.along(of)]
    return axes[0] if len(axes) == 1 and axes[0].indices != range(axes[0].size) else None


def weight_places(node: Node, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Which rows, and which columns, of a weight of this shape a layer uses."""
    axes = [axis for axis in (unit_rows(node), unit_columns(node)) if axis is not None]
    chosen = {axis.dim: torch.tensor(list(axis.indices)) for axis in axes}
    return chosen.get(0, torch.arange(shape[0]))[:, None], chosen.get(1, torch.arange(shape[1]))


def groups_of(node: Node) -> int:
    """The groups of a convolution, transposed or not; 1 for every other layer."""
    return max(node.groups, node.units.groups if node.units else 1)
