"""What kept weights still connect, from the inputs of a model to its outputs."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from budbreak.errors import MaskMismatch
from budbreak.graph.channels import Bundle, Channels, groups_of, is_table, units_dim, weight_places
from budbreak.graph.labels import telling_dim
from budbreak.graph.node import Kind, Node
from budbreak.masks import Mask


@dataclass(frozen=True, eq=False)
class Reachability:
    """What paths of kept weights connect.

    Args:
        classes: for each output of the model, in order, bool [classes]: whether a path leads there from an input.
            Classes lie along the last dimension that tells channels apart.
        connected: what the mask keeps and what lies on a path from an input to an output.
        reached: bool [channels of the graph]: whether a path leads there from an input, or a constant that layers work
            on. One that is not is the same whatever goes in.
        wanted: the same of paths to an output. One that is not has no say in any.
    """

    classes: tuple[Tensor, ...]
    connected: Mask
    reached: Tensor
    wanted: Tensor


def find_reachable(nodes: Sequence[Node], channels: Channels, mask: Mask, silent: Tensor | None = None) -> Reachability:
    """See `ModelGraph.reachable`."""
    heard = torch.ones(channels.count, dtype=torch.bool) if silent is None else ~silent
    steps = [_Step(bundle, nodes, mask) for bundle in channels.bundles]
    reached, wanted = torch.zeros(channels.count, dtype=torch.bool), torch.zeros(channels.count, dtype=torch.bool)
    for step in steps:
        reached[step.made] = step.forward(reached) & heard[step.made]
    outputs = [node for node in nodes if node.kind == Kind.OUTPUT]
    for node in outputs:
        wanted[channels.labels[node.index]] = True
    for step in reversed(steps):
        wanted[step.back(wanted[step.made] & heard[step.made])] = True
        wanted[0] = False
    classes = tuple(reached[class_channels(node, channels)].any(1) for node in outputs)
    connected = _connected(steps, mask, reached, wanted)
    bundled = {step.node.index for step in steps}
    for node in nodes:  # a norm of what cannot be told apart makes no channels of its own
        if node.kind == Kind.NORM and node.index not in bundled and node.weight in connected:
            label = channels.labels[node.index]
            connected[node.weight] |= mask[node.weight] & bool((reached[label] & wanted[label]).any())
        if bool(wanted[channels.labels[node.index]].any()):
            for name in connected.keys() & _added(node, nodes, bundled):
                connected[name] |= mask[name]
    return Reachability(classes, Mask.owning(connected), reached, wanted)


class _Step:
    """How channels that are reached reach the channels of one bundle, and the other way round.

    Args:
        bundle: what is made.
        nodes: all of the graph.
        mask: what is kept; what it does not cover is kept.
    """

    def __init__(self, bundle: Bundle, nodes: Sequence[Node], mask: Mask) -> None:
        self.bundle, self.node = bundle, bundle.node
        self.made = slice(bundle.first, bundle.first + bundle.count)
        self.places, self.entering = bundle.entering
        self.kept = matrix_of(bundle, nodes, mask.get(self.node.weight or ""), True) if bundle.is_layer else None
        entries = [mask.get(name) for name in self.node.weights]
        self.passes = not entries or any(entry is None or bool(entry.any()) for entry in entries)
        gains = mask.get(self.node.weight or "") if self.node.kind == Kind.NORM else None
        self.open = torch.ones(bundle.count, dtype=torch.bool)
        if gains is not None and bundle.operands:
            self.open = gains.flatten()[bundle.places.clamp(min=0)] | (bundle.places < 0)

    def forward(self, reached: Tensor) -> Tensor:
        """Which of its channels are reached: bool [count]."""
        if self.kept is not None:
            return (self.kept & self.columns(reached)).any(-1).flatten()
        if self.bundle.operands:
            found = reached[self.bundle.parents].any(0) | (
                self.bundle.mixes and bool(reached[self.bundle.parents].any())
            )
            return found & self.open
        begins = self.node.kind == Kind.INPUT or (self.bundle.is_token and not self.node.zeros)
        made = torch.full((self.bundle.count,), begins)
        if self.passes:
            made[self.places[reached[self.entering]]] = True
        return made

    def back(self, wanted: Tensor) -> Tensor:
        """Which channels some of its wanted ones come from.

        Args:
            wanted: bool [count].
        """
        if self.kept is not None:
            columns = (self.kept & wanted.reshape(len(self.kept), -1, 1)).any(1).flatten()
            return self.entering[columns[self.places.clamp(min=0)]]
        if self.bundle.operands:
            wanted = wanted & self.open
            everything = self.bundle.mixes and bool(wanted.any())
            return (self.bundle.parents if everything else self.bundle.parents[:, wanted]).flatten()
        return self.entering[wanted[self.places]] if self.passes else self.entering[:0]

    def columns(self, reached: Tensor) -> Tensor:
        """The columns of a layer that are reached: bool [groups, 1, columns of a group]."""
        kept = self.kept if self.kept is not None else torch.zeros(0)
        columns = torch.zeros(kept.shape[0] * kept.shape[2], dtype=torch.bool)
        columns[self.places[reached[self.entering]].clamp(min=0)] = True
        return columns.reshape(len(kept), 1, -1)

    def on_path(self, reached: Tensor, wanted: Tensor) -> Tensor:
        """Whether something leads in and out again, for each element of its weights: bool, to be broadcast."""
        if self.bundle.is_token:
            return (reached[self.made] & wanted[self.made]).any()
        if self.node.kind == Kind.NORM and self.bundle.operands:
            return self._gains_on_path(reached[self.made] & wanted[self.made])
        if self.kept is None:
            return torch.tensor([self.passes and bool(reached[self.entering].any() and wanted[self.made].any())])
        through = self.columns(reached) & wanted[self.made].reshape(len(self.kept), -1, 1)
        by_rows = self.node.units is None or self.node.units.dim == 0
        return (through if by_rows else through.transpose(1, 2)).flatten(0, 1)

    def _gains_on_path(self, through: Tensor) -> Tensor:
        """The same for each gain of a norm, of which each channel has one."""
        places = self.bundle.places[through]
        if bool((places < 0).any()):
            return torch.tensor([True])
        found = torch.zeros(int(self.bundle.places.max()) + 1, dtype=torch.bool)
        found[places] = True
        return found


def _added(node: Node, nodes: Sequence[Node], bundled: Container[int]) -> set[str]:
    """The parameters of constants that a node adds, positions say: they lie on no path, and are seen all the same."""
    constants = [nodes[source] for source in node.inputs if nodes[source].kind == Kind.CONSTANT]
    return {name for added in constants if added.index not in bundled for name in added.weights}


def matrix_of(bundle: Bundle, nodes: Sequence[Node], entry: Tensor | None, otherwise: bool | float) -> Tensor:
    """The most of a kernel, or of a table's rows, for each unit and column of a layer.

    Args:
        bundle: the units of the layer.
        nodes: all of the graph.
        entry: a value for each element of its weight: what is kept, or how strong it is; None for none.
        otherwise: the value where there is none.

    Returns:
        [groups, units of a group, columns of a group].

    Raises:
        MaskMismatch: if the entry does not have the shape of the weight.
    """
    node, groups = bundle.node, groups_of(bundle.node)
    columns = 1 if is_table(node) else nodes[node.inputs[0]].shape[units_dim(node) or -1]
    if entry is None:
        return torch.full((groups, bundle.count // groups, columns // groups), otherwise)
    flat = _most(entry.unsqueeze(-1).flatten(2), -1)[weight_places(node, entry.shape)]
    flat = _most(flat, 0)[None] if is_table(node) else flat
    by_rows = node.units is None or node.units.dim == 0
    expected = (bundle.count, columns // groups) if by_rows else (columns, bundle.count // groups)
    if tuple(flat.shape) != expected:
        raise MaskMismatch(
            f"mask entry {node.weight!r} has shape {tuple(entry.shape)}; its layer has {columns} inputs, "
            f"{bundle.count} units and {groups} groups",
            "a mask fits only the architecture that it was made for",
            "trace the model that the mask was made for",
        )
    grouped = flat.reshape(groups, len(flat) // groups, flat.shape[1])
    return grouped if by_rows else grouped.transpose(1, 2)


def _most(values: Tensor, dim: int) -> Tensor:
    """The greatest along a dimension; of bools by ``any``, which is three times as fast."""
    return values.any(dim) if values.dtype == torch.bool else values.amax(dim)


def class_channels(node: Node, channels: Channels) -> Tensor:
    """Which channels each class of an output lies in: int64 [classes, channels of one]."""
    labels = channels.labels[node.index]
    dim = telling_dim(labels)
    if dim is None:
        return labels.reshape(1, 1).expand(node.shape[-1] if node.shape else 1, 1)
    return labels.movedim(dim, 0).reshape(labels.shape[dim], -1)


def _spread(node: Node, through: Tensor, entry: Tensor) -> Tensor:
    """For each row and column of a weight whether something leads through it: bool, to be broadcast to it."""
    if through.dim() == 2:
        found = torch.zeros(entry.shape[:2], dtype=torch.bool)
        found[weight_places(node, entry.shape)] = through
        through = found
    return through.reshape(tuple(through.shape) + (1,) * (entry.dim() - through.dim()))


def _connected(steps: Sequence[_Step], mask: Mask, reached: Tensor, wanted: Tensor) -> dict[str, Tensor]:
    """What lies on a path in one call of its weight at least."""
    entries = {name: torch.zeros_like(entry) for name, entry in mask.items()}
    for step in steps:
        through = step.on_path(reached, wanted)
        for name in step.node.weights:
            if name in entries:
                entries[name] |= mask[name] & _spread(step.node, through, mask[name])
    return entries
