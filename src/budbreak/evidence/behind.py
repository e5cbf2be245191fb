"""What autograd has recorded behind a number."""

from __future__ import annotations

from collections.abc import Container

from torch.autograd.graph import Node


def nodes_behind(last: Node | None, known: Container[Node] = ()) -> set[Node]:
    """All nodes back from one, with itself.

    Args:
        last: the ``grad_fn`` of a tensor; None: of one without a graph.
        known: are left out, with those that only they lead to.
    """
    todo, found = [last], set[Node]()
    while todo:
        node = todo.pop()
        if node is not None and node not in found and node not in known:
            found.add(node)
            todo += [following for following, _ in node.next_functions]
    return found
