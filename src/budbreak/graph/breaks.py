"""Where what a weight computes is lost on its way to the outputs of a model."""

from __future__ import annotations

from collections.abc import Sequence

from budbreak.graph.node import Kind, Node
from budbreak.graph.places import said_place

OUTSIDE = "outside torch"
"""What a node is called that no function of torch gave."""
_CUTS = ("detach", "data")
"""Calls behind which autograd does not follow."""
_SHOWN = 3


def last_seen(nodes: Sequence[Node], weight: str, *, cut: bool = False) -> tuple[Node, ...]:
    """See `ModelGraph.lost`."""
    started = [node.index for node in nodes if weight in node.weights]
    leading = _leading(nodes, cut=cut)
    if any(leading[index] for index in started):
        return ()
    walked, ends = set(started), set[int]()
    for node in nodes:  # what enters a node stands before it
        entering = [source for source in node.inputs if source in walked]
        if entering and _ends(node, cut=cut):
            ends.update(entering if node.call == OUTSIDE else [node.index])
        elif entering:
            walked.add(node.index)
    used = {source for index in walked for source in nodes[index].inputs}
    return tuple(nodes[index] for index in sorted(ends or walked - used))


def handed_out(nodes: Sequence[Node], weight: str) -> tuple[Node, ...]:
    """See `ModelGraph.handed_out`."""
    walked = {node.index for node in nodes if weight in node.weights}
    for node in nodes:
        if any(source in walked for source in node.inputs):
            walked.add(node.index)
    if any(nodes[index].kind == Kind.OUTPUT for index in walked):
        return ()
    return tuple(nodes[index] for index in sorted(walked) if nodes[index].asked)


def said_nodes(nodes: Sequence[Node]) -> str:
    """Calls and their places in words: "relu in block2 (net.py:41)"."""
    places = list(dict.fromkeys(f"{node.call or node.kind} {said_place(node.owner, node.where)}" for node in nodes))
    return ", ".join(places[:_SHOWN]) + (", ..." if len(places) > _SHOWN else "")


def _leading(nodes: Sequence[Node], *, cut: bool) -> list[bool]:
    """For each node whether something leads from it to an output."""
    leading = [node.kind == Kind.OUTPUT for node in nodes]
    for node in reversed(nodes):
        if leading[node.index] and not _ends(node, cut=cut):
            for source in node.inputs:
                leading[source] = True
    return leading


def _ends(node: Node, *, cut: bool) -> bool:
    return node.call == OUTSIDE or (cut and node.call in _CUTS)
