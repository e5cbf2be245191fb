"""Which slices of parameters go with which units, and what stands in the way of removing them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from budbreak.graph.channels import Channels, is_table, units_dim
from budbreak.graph.cuts import cut_of
from budbreak.graph.node import Kind, Node, said
from budbreak.graph.parts import Axis, Part
from budbreak.graph.spans import spans_of
from budbreak.graph.ties import Slot


@dataclass(frozen=True, eq=False)
class Slices:
    """Slices of a parameter, each with its unit.

    Args:
        slot: the parameter and its dimension; ``size``: of that.
        indices, units: as many.
        makes: whether they compute the units; ``reads``: whether they multiply what the units give.
    """

    slot: Slot
    size: int
    indices: Tensor
    units: Tensor
    makes: bool
    reads: bool


@dataclass
class Found:
    """What was found at all nodes.

    Attributes:
        slices: in the order of the nodes.
        fixed: units that cannot be removed, and why; ``inexact``: those without which others change.
    """

    slices: list[Slices] = field(default_factory=list[Slices])
    fixed: list[tuple[Tensor, str]] = field(default_factory=list[tuple[Tensor, str]])
    inexact: list[tuple[Tensor, str]] = field(default_factory=list[tuple[Tensor, str]])


class Slicer:
    """Looks at each node, given the units.

    Args:
        nodes: of the graph.
        channels: of the graph.
        units: for each channel its unit, > 0; 0 for padding; < 0 for what is no unit.
    """

    def __init__(self, nodes: Sequence[Node], channels: Channels, units: Tensor) -> None:
        self.nodes, self.channels, self.units = nodes, channels, units
        dims = [units_dim(node) if node.kind == Kind.LAYER else None for node in nodes]
        self.cuts = [cut_of(labels, units, dim) for labels, dim in zip(channels.labels, dims, strict=True)]
        self.found, self.torn = Found(), set[int]()

    def look(self) -> Found:
        """All that is found."""
        for node in self.nodes:
            self._look_whole(node)
            self._look_at_parts(node)
            if node.kind == Kind.LAYER and units_dim(node) is not None and not is_table(node):
                self._look_at_columns(node)
            for source, span in zip(node.inputs, spans_of(node, self.nodes) or (), strict=False):
                self._look_at_operand(node, self.nodes[source], span)
        return self.found

    def _look_whole(self, node: Node) -> None:
        """The tensor itself, which a unit may leave ragged, or empty; and means over units."""
        cut = self.cuts[node.index]
        for unit, channel in cut.met.T.tolist():
            self._fix(torch.tensor([unit]), f"meets {said(self.channels.source_of(channel))}")
        self._fix_first(cut.ragged, f"is no whole row of {said(node)}")
        if cut.everything:
            self._fix_first(torch.tensor([cut.everything]), f"is all of {said(node)}")
        for dim in node.over if node.kind == Kind.NORM else ():
            if dim in cut.at:
                self.found.inexact.append((_present(cut.at[dim]), f"{said(node)} takes its mean over them"))

    def _look_at_parts(self, node: Node) -> None:
        """What goes with the units along the dimensions of the tensor: rows, biases, gains, tokens."""
        for dim, units in self.cuts[node.index].at.items():
            for part in node.parts:
                makes = node.kind == Kind.LAYER and (part.name in node.weights or bool(part.along(None)))
                self._slice(part, dim, units, makes=makes)
                if not part.name and part.along(dim):
                    self._fix(_present(units), f"meets {said(node)}")
            self._meet_unknown(node, units)

    def _look_at_columns(self, node: Node) -> None:
        for dim, units in self.cuts[node.inputs[0]].at.items():
            if dim != units_dim(node):
                self._fix(_present(units), f"enters {node.weight} along another dimension")
                continue
            for part in node.parts:
                self._slice(part, None, units, reads=True)
            self._meet_unknown(node, units)

    def _meet_unknown(self, node: Node, units: Tensor) -> None:
        """Units that meet something which cannot be cut with them."""
        unknown = next((part for part in node.parts if not part.known), None)
        if unknown is not None:
            what = f"what is made of all of {unknown.name}" if unknown.name else said(node)
            self._fix(_present(units), f"meets {what}")

    def _look_at_operand(self, node: Node, operand: Node, span: Sequence[int | None]) -> None:
        """A constant is cut with the units that it meets, if it can be; what is no unit stays, and so do they."""
        for dim, own in zip(range(-len(span), 0), span, strict=True):
            units = self.cuts[node.index].at.get(dim)
            if units is None or own is None or operand.shape[own] == 1:
                continue
            labels = self.channels.labels[operand.index]
            if operand.kind == Kind.CONSTANT and not bool(labels.any()):
                for part in operand.parts:
                    self._slice(part, own, units)
                    if not part.name and part.along(own):
                        self._fix(_present(units), f"meets {said(operand)}")
                self._meet_unknown(operand, units)
            met = (self.units[labels] < 0).movedim(own, 0).reshape(labels.shape[own], -1).any(1).expand(len(units))
            if bool(met.any()):
                origin = self.channels.source_of(int(labels[self.units[labels] < 0][0]))
                self._fix(_present(units[met]), f"meets {said(origin)}")

    def _slice(self, part: Part, of: int | None, units: Tensor, *, makes: bool = False, reads: bool = False) -> None:
        """The slices of a parameter that lie where these units do.

        Args:
            part: the parameter.
            of: the dimension along which they lie.
            units: which unit takes each index along it.
            makes: see `Slices`.
            reads: see `Slices`.
        """
        axes = part.along(of) if part.name else ()
        for axis in axes:
            indices, owners = _owned(axis, units)
            if owners is not None:
                self.found.slices.append(Slices((part.name, axis.dim), axis.size, indices, owners, makes, reads))
                if axis.mixed == "mean" or (axis.mixed and not reads):
                    self.found.inexact.append((_present(units), f"a {axis.mixed} is taken over {part.name}"))
                return
        if axes:
            self._fix(_present(units), f"is no whole slice of {part.name}")

    def _fix_first(self, units: Tensor, why: str) -> None:
        """The first tensor in which that is so is enough."""
        self._fix(torch.tensor([unit for unit in units.tolist() if unit not in self.torn], dtype=torch.int64), why)
        self.torn.update(units.tolist())

    def _fix(self, units: Tensor, why: str) -> None:
        if len(units):
            self.found.fixed.append((units, why))


def _owned(axis: Axis, units: Tensor) -> tuple[Tensor, Tensor | None]:
    """The indices that lie where units do, and their units; None where one lies at places of others, too."""
    places, indices = torch.tensor(axis.places), torch.tensor(axis.indices)
    owners = units[places]
    low = torch.full((axis.size,), 2**62).scatter_reduce(0, indices, owners, "amin")
    high = torch.zeros(axis.size, dtype=torch.int64).scatter_reduce(0, indices, owners, "amax")
    owned = (high > 0).nonzero().flatten()
    return owned, high[owned] if bool((low[owned] == high[owned]).all()) else None


def _present(units: Tensor) -> Tensor:
    return units[units > 0].unique()
