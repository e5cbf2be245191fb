"""From which node each tensor of a forward pass comes."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from budbreak.graph.node import Kind, Node
from budbreak.graph.nodeparts import parts_of
from budbreak.graph.origins import Origins
from budbreak.graph.site import Layout
from budbreak.graph.tracking import Known, Tracker, storage


@dataclass
class Passed:
    """What entered calls of this pass of which no node can be made; whatever nobody saw being made may come from it."""

    inputs: dict[int, None] = field(default_factory=dict[int, None])
    weights: dict[str, None] = field(default_factory=dict[str, None])

    def take(self, operands: Iterable[tuple[Tensor, Known | None]]) -> None:
        """One more call, with the tensors that entered it."""
        for tensor, known in operands:
            if known is not None and known.node is not None:
                self.inputs[known.node] = None
            elif known is not None and tensor.dim() >= 2:
                self.weights.update(dict.fromkeys(known.origins))


class Flow:
    """The nodes of one pass, and what is known about its tensors.

    Args:
        origins: which tensors are weights.
    """

    def __init__(self, origins: Origins) -> None:
        self.origins, self.tracker = origins, Tracker()
        self.begin_pass()

    def begin_pass(self) -> None:
        """No node, no tensor."""
        self.tracker.forget()
        self.origins.begin_pass()
        self.nodes: list[Node] = []
        self._inputs: dict[int, tuple[Tensor, str]] = {}
        self._constants: dict[int, tuple[weakref.ref[Tensor], int]] = {}
        self._writers: dict[int, int] = {}
        self.passed = Passed()

    def add(self, node: Node) -> int:
        """One more node; its index."""
        self.nodes.append(node)
        return node.index

    def offer(self, tensors: Iterable[Tensor], name: str = "input") -> None:
        """These come from outside: each is an input if it is used and nothing is known about it."""
        for tensor in tensors:
            self._inputs.setdefault(id(tensor), (tensor, name))

    def find(self, tensor: Tensor) -> Known | None:
        """What is known about a tensor; one that was overwritten through a view of it is a node of its own."""
        known = self.tracker.find(tensor)
        if known is None:
            return None
        writer = self._writers.get(storage(tensor))
        through_data = writer is not None and known.node is not None and writer > known.node  # it counts no versions
        if not through_data and not self.tracker.is_stale(tensor):
            return known
        inputs = [node for node in (known.node, writer) if node is not None]
        if not inputs:
            return known
        return self._enter(Kind.OPAQUE, "in place", tensor, inputs, known)

    def adopt(self, tensor: Tensor) -> Known | None:
        """What can be said of a tensor that no call gave: a part of the model, or an input; None: neither."""
        given = self._inputs.get(id(tensor))
        if given and given[0] is tensor and id(tensor) not in self.origins.names:
            return self._enter(Kind.INPUT, given[1], tensor, ())
        origins = self.origins.of(tensor)
        return None if origins is None else Known(None, origins=origins, parts=self.origins.parts_of(tensor))

    def invent(
        self, tensor: Tensor, call: str, inputs: Sequence[int], *, owner: str, weights: Sequence[str] = ()
    ) -> Known:
        """A node for a tensor that something outside of torch's functions made, from any of these."""
        every = dict.fromkeys((*inputs, *self.passed.inputs))
        known = self._enter(Kind.OPAQUE, call, tensor, tuple(every), owner=owner)
        node = self.nodes[known.node or 0]
        self.nodes[node.index] = replace(node, weights=tuple(dict.fromkeys((*weights, *self.passed.weights))))
        return known

    def constant(self, tensor: Tensor, known: Known) -> int:
        """The node of a tensor that no input decides, where it meets one that does."""
        entry = self._constants.get(id(tensor))
        if entry is not None and entry[0]() is tensor:
            return entry[1]
        index, shape, parts = len(self.nodes), tuple(tensor.shape), parts_of(tensor, known)
        node = Node(
            index=index,
            kind=Kind.CONSTANT,
            call="",
            owner="",
            inputs=(),
            shape=shape,
            weights=known.origins,
            parts=parts,
            zeros=not any(part.name for part in parts) and _is_zeros(tensor),
        )
        self._constants[id(tensor)] = (weakref.ref(tensor), index)
        return self.add(node)

    def note_asked(self, tensor: Tensor) -> None:
        """The values of a tensor were asked for."""
        known = self.tracker.find(tensor)
        if known is not None and known.node is not None:
            self.nodes[known.node] = replace(self.nodes[known.node], asked=True)

    def write(self, tensor: Tensor, node: int) -> None:
        """A node overwrote the memory of a tensor, and of all its views."""
        self._writers[storage(tensor)] = node

    def loose_ends(self, start: int) -> list[int]:
        """The nodes from this one on whose tensors have entered nothing so far."""
        used = {source for node in self.nodes[start:] for source in node.inputs}
        return [index for index in range(start, len(self.nodes)) if index not in used]

    def drop_from(self, start: int) -> None:
        """Take back all nodes from this one on."""
        del self.nodes[start:]
        self.tracker.forget_from(start)
        self._constants = {key: entry for key, entry in self._constants.items() if entry[1] < start}
        self._writers = {key: node for key, node in self._writers.items() if node < start}

    def _enter(
        self,
        kind: Kind,
        call: str,
        tensor: Tensor,
        inputs: Sequence[int],
        before: Known | None = None,
        *,
        owner: str = "",
    ) -> Known:
        layout = before.layout if before else None
        dims = layout.dims if layout else None
        index, shape = len(self.nodes), tuple(tensor.shape)
        node = Node(index=index, kind=kind, call=call, owner=owner, inputs=tuple(inputs), shape=shape, unit_dims=dims)
        known = Known(self.add(node), Layout(dims) if dims is not None else None, weighted=kind == Kind.OPAQUE)
        self.tracker.note(tensor, known)
        return known


def _is_zeros(tensor: Tensor) -> bool:
    """Whether these are numbers, all 0: whole numbers may be the indices of something."""
    return tensor.is_floating_point() and not bool(tensor.any())
