"""Identity paths around other layers: which operands of sums they are."""

from __future__ import annotations

from collections.abc import Sequence

from budbreak.graph.node import Kind, Node

PASSING = (Kind.SITE, Kind.NORM, Kind.MOVE, Kind.POOL, Kind.IDENTITY, Kind.ADD, Kind.MULTIPLY)
"""What leads on from its one input, if it has only one."""


def find_skips(nodes: Sequence[Node]) -> frozenset[tuple[int, int]]:
    """(sum, operand) where an operand is, but for norms, pools and the like, what another operand is made from."""
    ancestors = _ancestors(nodes)
    sums = (node for node in nodes if node.kind == Kind.ADD)
    return frozenset(
        (node.index, operand)
        for node in sums
        for operand in node.inputs
        if _is_skip(nodes, ancestors, operand, [other for other in node.inputs if other != operand])
    )


def _is_skip(nodes: Sequence[Node], ancestors: Sequence[int], operand: int, others: Sequence[int]) -> bool:
    while True:
        if any(ancestors[other] >> operand & 1 for other in others):
            return True
        at = nodes[operand]
        if at.kind not in PASSING or len(at.inputs) != 1:
            return False
        (operand,) = at.inputs


def _ancestors(nodes: Sequence[Node]) -> list[int]:
    """For each node, as bits: the nodes that its tensor is made from."""
    found: list[int] = []
    for node in nodes:
        above = 0
        for source in node.inputs:
            above |= found[source] | 1 << source
        found.append(above)
    return found
