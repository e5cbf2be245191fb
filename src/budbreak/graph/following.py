"""Follow channels from node to node through a forward pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence

import torch
from torch import Tensor

from budbreak.graph.channels import Bundle, Channels, is_table, units_dim
from budbreak.graph.contracting import Met, contract, for_heads
from budbreak.graph.labels import aligned, at_places, compact, crossing, joined, moved, pooled, reduced_dims
from budbreak.graph.node import Kind, Node
from budbreak.graph.nonlinearities import CUMULATIVE
from budbreak.graph.spans import attended, is_attention, is_elementwise, multiplied, spans_of

_BY_CHANNEL = ("batch_norm", "instance_norm", "group_norm")
"""Norms whose gains lie along dimension 1; those of others lie along the last one."""


def follow(nodes: Sequence[Node]) -> Channels:
    """Follow the channels through a forward pass.

    Exact along layers, norms, sites, sums and products, concatenation, pools, moves, and attention head by head. Of
    recurrent layers and what is opaque each value may come from each.
    """
    follower = _Follower(nodes)
    for node in nodes:
        follower.labels.append(follower.label(node))
    whole = torch.zeros(follower.next, dtype=torch.bool)
    whole[follower.wholes] = True
    return Channels(tuple(follower.labels), tuple(follower.bundles), follower.next, whole)


class _Follower:
    """What is known of the nodes so far.

    Attributes:
        labels: of each node.
        bundles: so far; the next channel has the number ``next``.
        wholes: bool, for each channel whether it is no unit.
        last: the nodes that nothing but outputs reads.
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = nodes
        self.labels: list[Tensor] = []
        self.bundles: list[Bundle] = []
        self.next, self.wholes = 1, torch.zeros(1, dtype=torch.bool)
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
        entering = torch.stack([torch.zeros_like(channels), channels])
        bundle = Bundle(node, self.next, 1, entering=entering)
        return self.make(bundle, whole=torch.ones(1, dtype=torch.bool)).reshape((1,) * len(node.shape))

    def make(self, bundle: Bundle, whole: Tensor | None = None) -> Tensor:
        """Number its channels; ``whole``: which of them are no units."""
        self.bundles.append(bundle)
        self.next += bundle.count
        self.wholes = torch.cat([self.wholes, torch.zeros(bundle.count, dtype=torch.bool) if whole is None else whole])
        return bundle.made

    def layer(self, node: Node) -> Tensor | None:
        """The units of a layer, each a channel of its own."""
        dim = units_dim(node)
        if dim is None:
            return None
        (source,) = node.inputs
        self.tell_token(source, [dim] if not is_table(node) else [], enters=True)
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
        if node.call == "glu":
            return self.gate(node)
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

    def gate(self, node: Node) -> Tensor | None:
        """The two halves of a gated linear unit, which meet."""
        (source,) = node.inputs
        shape = self.nodes[source].shape
        halves = self.labels[source].expand(shape).chunk(2, dict(node.options).get("dim", (*node.arguments, -1)[0]))
        return self.combine(node, aligned([compact(half) for half in halves]), (source, source))

    def combine(self, node: Node, stacked: Tensor, operands: tuple[int, ...]) -> Tensor:
        """A channel for each different column of stacked labels; the row behind the operands' is a place + 1."""
        columns, labels = torch.unique(stacked.reshape(len(stacked), -1), dim=1, return_inverse=True)
        parents, places = columns[: len(operands)], columns[len(operands) :].flatten() - 1
        something = (parents != 0).any(0)
        parents, places = parents[:, something], places[something[: len(places)]]
        spanned = tuple(sum(size > 1 for size in compact(row).shape) for row in stacked[: len(operands)])
        bundle = Bundle(
            node, self.next, parents.shape[1], parents=parents, operands=operands, spanned=spanned, places=places
        )
        made = torch.zeros(len(something), dtype=torch.int64)
        made[something] = self.make(bundle, whole=((parents == 0) | self.wholes[parents]).all(0))
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
        dim = _gain_dim(node)
        pairs = at_places(labels, dim, shape[dim])
        unclear = dim == -1 and bool(crossing(pairs[:, ~self.wholes[pairs[1]]]).any())  # over several dimensions
        places = torch.zeros(1, dtype=torch.int64) if unclear else torch.arange(1, shape[dim] + 1)
        places = places.reshape([-1 if place == dim else 1 for place in range(-len(shape), 0)])
        return self.combine(node, aligned([labels, places]), (source,))

    def stay(self, node: Node) -> Tensor | None:
        """Each value for itself: labels stay."""
        if len(node.inputs) != 1:
            return self.join(node)
        (source,) = node.inputs
        return self.labels[source] if self.nodes[source].shape == node.shape else None

    def opaque(self, node: Node) -> Tensor | None:
        """A function of each value for itself that is no site, or one that nobody knows."""
        if node.call in CUMULATIVE:
            return self.along(node)
        return self.join(node) if is_elementwise(node) else None

    def along(self, node: Node) -> Tensor | None:
        """What each value gives depends on the others along one dimension."""
        dim = dict(node.options).get("dim", (*node.arguments, None)[0])
        if len(node.inputs) != 1 or not isinstance(dim, int):
            return None
        dim = dim if dim < 0 else dim - len(node.shape)
        labels = self.labels[node.inputs[0]]
        return labels if labels.shape[dim] == 1 else self.mix(node, (dim,))

    def move(self, node: Node) -> Tensor | None:
        """Labels are moved as the values were."""
        if len(node.inputs) != 1:
            return None
        (source,) = node.inputs
        return moved(node, self.labels[source], self.nodes[source].shape)

    def pool(self, node: Node) -> Tensor | None:
        """Labels stay where no two channels become one; else a mean is one of several."""
        if len(node.inputs) != 1:
            return None
        dims = reduced_dims(node, len(self.nodes[node.inputs[0]].shape))
        return self.mix(node, dims) if dims else pooled(node, self.labels[node.inputs[0]])

    def mix(self, node: Node, dims: Collection[int]) -> Tensor | None:
        """What lies along some dimensions, from the end, becomes one value, or decides each."""
        (source,) = node.inputs
        letters = tuple(range(-len(self.nodes[source].shape), 0))
        left = tuple(letter for letter in letters if letter not in dims)
        made = self.meet(node, contract([self.labels[source]], [letters], left), (source,))
        if made is None or made.dim() == len(node.shape):
            return made
        kept = iter(made.shape)
        return made.reshape([1 if letter in dims else next(kept) for letter in letters])

    def meet(self, node: Node, met: Met, operands: tuple[int, ...]) -> Tensor | None:
        """Channels for what meets in a product, or in a mean; None where that is one channel for all."""
        if all(held is None for held in met.sets):
            several = [at for at in range(len(operands)) if bool(met.numbers[at].any())]
            if len(several) < 2:
                return compact(met.numbers[several[0]] if several else torch.zeros_like(met.numbers[0]))
            return self.combine(node, met.numbers[several], tuple(operands[at] for at in several))
        columns, labels = torch.unique(met.numbers.reshape(len(met.numbers), -1), dim=1, return_inverse=True)
        if columns.shape[1] == 1:
            return None
        bundle = Bundle(node, self.next, columns.shape[1], entering=met.entering(columns))
        return self.make(bundle)[labels].reshape(met.numbers.shape[1:])

    def product(self, node: Node) -> Tensor | None:
        """A product of tensors: what is not summed over keeps its channels."""
        shapes = [self.nodes[source].shape for source in node.inputs]
        terms = multiplied(node, [len(shape) for shape in shapes])
        if terms is None:
            return None
        met = contract([self.labels[source] for source in node.inputs], terms[:-1], terms[-1])
        return self.meet(node, met, node.inputs)

    def concat(self, node: Node) -> Tensor | None:
        """Labels side by side."""
        self.tell_tokens(node)
        return joined(node, [(self.labels[source], self.nodes[source].shape) for source in node.inputs])

    def tell_tokens(self, node: Node) -> None:
        """Constants that lie beside units have channels of their own, one for each that lies beside another.

        What lies beside none, as coordinates behind the channels of an image, has one for all of it; zeros have none.
        """
        spans = spans_of(node, self.nodes) or ()
        beside = {
            dim - len(node.shape)
            for source, span in zip(node.inputs, spans, strict=True)
            for dim, own in enumerate(span)
            if own is not None and self.labels[source].shape[own] > 1
        }
        for source, span in zip(node.inputs, spans, strict=True):
            self.tell_token(source, [own for own in (span[dim] for dim in beside) if own is not None])
            constant = self.nodes[source]
            if constant.kind == Kind.CONSTANT and not constant.zeros and not self.labels[source].any():
                self.labels[source] = self.whole(constant)

    def tell_token(self, source: int, dims: Collection[int], *, enters: bool = False) -> None:
        """A constant has a channel for each of its values along some dimensions, from the end.

        Args:
            source: the constant, if it is one.
            dims: the dimensions.
            enters: whether it is all that a layer works on.
        """
        constant = self.nodes[source]
        if constant.kind != Kind.CONSTANT or bool(self.labels[source].any()):
            return
        shape = [constant.shape[dim] if dim in dims else 1 for dim in range(-len(constant.shape), 0)]
        if enters or dims:
            self.labels[source] = self.make(Bundle(constant, self.next, math.prod(shape))).reshape(shape)

    def attention(self, node: Node) -> Tensor | None:
        """Attention head by head; a softmax mixes what lies along its dimension."""
        if is_attention(node):
            return self.attend(node)
        if node.call in ("softmax", "log_softmax") and node.index in self.last:  # it only scales what is returned
            return self.stay(node)
        return self.along(node)

    def attend(self, node: Node) -> Tensor | None:
        """The weights of attention come from queries and keys, and meet values."""
        terms = attended([len(self.nodes[source].shape) for source in node.inputs])
        queries, *others = [self.labels[source] for source in node.inputs]
        heads = self.nodes[node.inputs[0]].shape[-3] if queries.dim() > 2 else 1
        keys, values, *mask = [for_heads(labels, heads) for labels in others]
        batch = terms[-1][:-2]
        met = contract([queries, keys, *mask], [*terms[:2], *terms[3:-1]], (*batch, "t", "s"))
        weights = self.meet(node, met, (-1,) * len(met.sets))
        if weights is None:
            return None
        met = contract([weights, values], [(*batch, "t", "s"), terms[2]], terms[-1])
        return self.meet(node, met, (-1, node.inputs[2]))


def _gain_dim(node: Node) -> int:
    """The dimension along which the gain of a norm lies."""
    axes = [axis.of for part in node.parts if part.name in node.weights for axis in part.axes if axis.size > 1]
    if len(axes) == 1 and axes[0] is not None:
        return axes[0]
    return 1 - len(node.shape) if node.call in _BY_CHANNEL else -1


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
    Kind.MATMUL: _Follower.product,
    Kind.ATTENTION: _Follower.attention,
    Kind.OPAQUE: _Follower.opaque,
}
"""How each kind passes channels on; what has no rule, or whose rule finds no answer, cannot be followed."""
