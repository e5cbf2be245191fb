"""Multiply-accumulates of each call of a forward pass, from the shapes that it saw."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from budbreak.graph.channels import groups_of, is_table, weight_places
from budbreak.graph.layouts import CONVOLVING, PRODUCTS
from budbreak.graph.node import Kind, Node
from budbreak.graph.spans import is_attention, multiplied
from budbreak.masks import Mask

Shapes = Mapping[str, tuple[int, ...]]
"""Of every parameter."""


def macs_of(node: Node, nodes: Sequence[Node], shapes: Shapes, mask: Mask) -> int:
    """What one node takes; see `ModelGraph.macs`."""
    if node.kind == Kind.LAYER:
        return _of_layer(node, nodes, shapes, mask)
    if node.kind == Kind.RECURRENT:
        steps = math.prod(nodes[node.inputs[0]].shape[:-1])
        matrices = [name for name in node.weights if len(shapes.get(name, ())) == 2]
        return 0 if node.part else steps * sum(_kept(name, shapes, mask) for name in matrices)
    return _of_product(node, nodes)


def _kept(name: str, shapes: Shapes, mask: Mask) -> int:
    return mask.kept_in(name) if name in mask else math.prod(shapes[name])


def _of_layer(node: Node, nodes: Sequence[Node], shapes: Shapes, mask: Mask) -> int:
    """Each element of a weight multiplies as often: once for each sample and position."""
    source = nodes[node.inputs[0]].shape
    if is_table(node):
        return 0
    if node.call in CONVOLVING:
        positions = source if "transpose" in node.call else node.shape
        kernel = shapes.get(node.weight or "", ())[2:]
        dense = math.prod(node.shape) * source[1 - len(node.shape)] // groups_of(node) * math.prod(kernel)
        dense = dense * math.prod(positions[2:]) // math.prod(node.shape[2:])
    elif node.call in ("linear", "addmm", *PRODUCTS):
        dense = math.prod(node.shape) * source[-2 if node.unit_dims == (-2,) else -1]
    else:
        return 0
    entry = mask.get(node.weight or "")
    if entry is None:
        return dense
    used = entry[weight_places(node, entry.shape)]
    return dense * int(used.sum()) // max(used.numel(), 1)


def _of_product(node: Node, nodes: Sequence[Node]) -> int:
    """Of two factors: one for each combination of what they count."""
    shapes = [nodes[source].shape for source in node.inputs]
    if is_attention(node):
        queries, keys, values, *_ = shapes
        return math.prod(queries[:-1]) * keys[-2] * (queries[-1] + values[-1])
    terms = multiplied(node, [len(shape) for shape in shapes])
    if terms is None or (node.call == "einsum" and len(shapes) != 2):
        return 0
    sizes: dict[object, int] = {}
    for term, shape in zip(terms[:-1], shapes, strict=True):
        for letter, size in zip(term, shape, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    return math.prod(sizes.values())
