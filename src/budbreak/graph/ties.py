"""What belongs together: channels of several tensors, and slices of parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from budbreak.graph.channels import Bundle, Channels, groups_of, is_table, units_dim
from budbreak.graph.labels import at_places, crossing
from budbreak.graph.node import Kind, Node, said
from budbreak.graph.spans import joined_dim, spans_of

Slot = tuple[str, int]
"""A parameter or buffer, and a dimension of it."""


class Ties:
    """Channels, and slices of parameters, which are numbered behind them.

    Attributes:
        pairs: numbers that belong together, int64 [2, ...] each.
        reasons: channels that cannot be pruned, and why.
        firsts: slot -> the number of its first slice; ``sizes``: how many it has.
    """

    def __init__(self, nodes: Sequence[Node], channels: Channels) -> None:
        self.nodes, self.channels, self.whole = nodes, channels, channels.whole
        self.pairs: list[Tensor] = []
        self.reasons: list[tuple[Tensor, str]] = []
        self.firsts, self.sizes = dict[Slot, int](), dict[Slot, int]()
        self.count, self.used = channels.count, _used(nodes)
        for bundle in channels.bundles:
            self._tie(bundle)
        for node in nodes:
            self._tie_at(node)

    def add_slices(self, slot: Slot, size: int, indices: Tensor, channels: Tensor) -> None:
        """Slices of a parameter belong to these channels, one by one.

        Args:
            slot: the parameter and its dimension.
            size: of that dimension.
            indices: of the slices.
            channels: as many.
        """
        if slot not in self.firsts:
            self.firsts[slot], self.sizes[slot] = self.count, size
            self.count += size
        self.pairs.append(torch.stack([self.firsts[slot] + indices, channels]))

    def components(self) -> Tensor:
        """For each number that of its component, from 1 on."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        pairs = torch.cat([torch.zeros(2, 0, dtype=torch.int64), *self.pairs], 1).numpy()
        graph = coo_array((np.ones(pairs.shape[1], bool), (pairs[0], pairs[1])), shape=(self.count, self.count))
        return torch.from_numpy(connected_components(graph, directed=False)[1]).long() + 1

    def _tie(self, bundle: Bundle) -> None:
        """What makes of channels others ties them."""
        if bundle.is_token:
            return
        if bundle.is_layer:
            self._tie_layer(bundle)
        elif bundle.is_mixture:
            self._tie_mixture(bundle)
        elif bundle.node.kind == Kind.NORM:
            self._tie_norm(bundle)
        else:
            self._tie_operands(bundle)

    def _tie_layer(self, bundle: Bundle) -> None:
        """What enters one column of a layer shares it; of a group of a convolution all channels go or none."""
        if is_table(bundle.node):
            return
        places, entering = self._followed(*bundle.entering)
        unclear = crossing(torch.stack([places, entering]))
        if bool(unclear.any()):
            self.reasons.append((entering[unclear], f"enters {bundle.node.weight} along another dimension"))
        self._tie_alike(places[~unclear], entering[~unclear])
        if (groups := groups_of(bundle.node)) > 1:
            columns = self.nodes[bundle.node.inputs[0]].shape[units_dim(bundle.node) or -1]
            of_units = torch.arange(bundle.count) * groups // bundle.count
            of_columns = bundle.entering[0] * groups // columns
            pairs = torch.cat([of_units, of_columns]), torch.cat([bundle.made, bundle.entering[1]])
            self._tie_alike(*self._followed(*pairs))

    def _tie_alike(self, numbers: Tensor, channels: Tensor) -> None:
        """Channels of the same number belong together."""
        order = torch.argsort(numbers, stable=True)
        numbers, channels = numbers[order], channels[order]
        alike = numbers[1:] == numbers[:-1]
        self.pairs.append(torch.stack([channels[:-1][alike], channels[1:][alike]]))

    def _followed(self, places: Tensor, channels: Tensor) -> tuple[Tensor, Tensor]:
        """What is left of (place, channel) without what is no unit, which fixes what it meets."""
        whole = self.whole[channels]
        self._meet(channels[~whole & torch.isin(places, places[whole])], channels[whole])
        return places[~whole], channels[~whole]

    def _meet(self, channels: Tensor, wholes: Tensor) -> None:
        """These channels meet inputs, or what cannot be followed."""
        if len(wholes):
            self.reasons.append((channels, f"meets {said(self.channels.source_of(int(wholes[0])))}"))

    def _tie_mixture(self, bundle: Bundle) -> None:
        places, entering = bundle.entering
        if bundle.count == 1:
            node = bundle.node
            if node.index in self.used or node.weights or node.parts:
                self.reasons.append((entering, f"enters {said(node)}"))
            return
        units = ~self.whole[entering]
        places, entering = places[units], entering[units]
        shared = torch.bincount(entering, minlength=self.channels.count)[entering] == bundle.count
        self.reasons.append((entering[shared], f"is broadcast over units in {said(bundle.node)}"))
        self.pairs.append(torch.stack([bundle.made[places[~shared]], entering[~shared]]))

    def _tie_norm(self, bundle: Bundle) -> None:
        (parents,) = bundle.parents
        whole = self.whole[parents]
        self.pairs.append(torch.stack([parents[~whole], bundle.made[~whole]]))

    def _tie_operands(self, bundle: Bundle) -> None:
        """A sum, or a product: each channel goes with those that it comes from; one value for several units stays.

        Where none spans all dimensions, as in an outer product, the first is followed.
        """
        labels = self.channels.labels[bundle.node.index]
        dims = [dim for dim in range(-labels.dim(), 0) if labels.shape[dim] > 1]
        spanned = bundle.spanned
        most = max(range(len(spanned)), key=spanned.__getitem__)
        for at, parents in enumerate(bundle.parents):
            single = spanned[at] == 0 or (spanned[most] < len(dims) and at != most)
            self._tie_operand(bundle, parents, single=bool(dims) and single)

    def _tie_operand(self, bundle: Bundle, parents: Tensor, *, single: bool) -> None:
        made = bundle.made
        follows = (parents != 0) & ~self.whole[parents]
        if single:
            self.reasons.append((parents[follows], f"is broadcast over units in {said(bundle.node)}"))
            return
        if not bool(parents.all()):
            self.reasons.append((made[parents == 0], f"meets padding in {said(bundle.node)}"))
        self.pairs.append(torch.stack([parents[follows], made[follows]]))

    def _tie_at(self, node: Node) -> None:
        """What a node ties without making channels; what a model returns is given."""
        labels = self.channels.labels[node.index]
        if node.asked and math.prod(node.shape) > 1:
            self.reasons.append((labels[labels != 0], f"goes on as numbers from {said(node)}"))
        if node.kind == Kind.OUTPUT:
            self.reasons.append((labels[labels != 0], "is an output of the model"))
        elif node.kind == Kind.CONCAT:
            self._tie_concatenated(node)
        elif node.call == "group_norm" and 1 < node.groups < node.shape[1]:
            places, channels = self._followed(*at_places(labels, 1 - len(node.shape), node.shape[1]))
            self._tie_alike(places * node.groups // node.shape[1], channels)

    def _tie_concatenated(self, node: Node) -> None:
        """Tensors that are put side by side go together along their other dimensions."""
        joined, spans = joined_dim(node) + len(node.shape), spans_of(node, self.nodes) or ()
        rows: list[Tensor] = []
        for source, span in zip(node.inputs, spans, strict=True):
            labels = self.channels.labels[source]
            others = [own for own in span if own is not None]
            if any(labels.shape[own] > 1 for own in others) and len(others) == len(span) - 1:
                own = [dim for dim in range(-labels.dim(), 0) if dim not in others]
                rows += [*labels.movedim(own[0], 0)] if own else [labels]
        if len(rows) > 1 and joined >= 0:
            columns = torch.stack([row.flatten() for row in torch.broadcast_tensors(*rows)])
            places = torch.arange(columns.shape[1]).expand_as(columns)
            known = columns != 0
            self._tie_alike(*self._followed(places[known], columns[known]))


def _used(nodes: Sequence[Node]) -> set[int]:
    """The nodes that have a say in an output; all of them where there is none."""
    outputs = [node for node in nodes if node.kind == Kind.OUTPUT]
    found = {node.index for node in outputs or nodes}
    for node in reversed(nodes):
        if node.index in found:
            found.update(node.inputs)
    return found
