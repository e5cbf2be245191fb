"""Along which dimensions of what a call gives the dimensions of its inputs go."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from budbreak.graph.node import Kind, Node
from budbreak.graph.nonlinearities import ELEMENTWISE

Letters = tuple[Hashable, ...]
"""The dimensions of a tensor, by what they count: an equal letter in another tensor counts the same."""
Span = tuple[int | None, ...]
"""For each dimension of a result that of an input, from the end, which goes along it; None: the input has none."""

_PRODUCTS = ("matmul", "mm", "bmm", "mv", "sparse_mm", "__matmul__", "dot")


def spans_of(node: Node, nodes: Sequence[Node]) -> tuple[Span, ...] | None:
    """The spans of all inputs of a sum, a product, a concatenation or attention; None for other calls."""
    ranks = [len(nodes[source].shape) for source in node.inputs]
    if is_elementwise(node):
        rank = len(node.shape)
        return tuple(tuple(dim if -dim <= own else None for dim in range(-rank, 0)) for own in ranks)
    if node.kind == Kind.CONCAT:
        return tuple(_concatenated(node, own) for own in ranks)
    letters = attended(ranks) if is_attention(node) else multiplied(node, ranks)
    if letters is None:
        return None
    spans = [_span(letters[-1], term) for term in letters[:-1]]
    shapes = [nodes[source].shape for source in node.inputs]
    return tuple(_as_long(span, shape, node.shape) for span, shape in zip(spans, shapes, strict=True))


def sizes_along(node: Node, nodes: Sequence[Node]) -> list[tuple[int, ...]]:
    """The shape of each input along the dimensions of the result; 1 along those that it lacks."""
    spans = spans_of(node, nodes) or ()
    shapes = [nodes[source].shape for source in node.inputs]
    return [tuple(1 if own is None else shape[own] for own in span) for shape, span in zip(shapes, spans, strict=True)]


def is_elementwise(node: Node) -> bool:
    """Whether each value comes from one value of each input."""
    named = node.kind == Kind.OPAQUE and node.call in ELEMENTWISE
    return named or node.kind in (Kind.ADD, Kind.SITE) or (node.kind == Kind.MULTIPLY and node.call != "glu")


def is_attention(node: Node) -> bool:
    """Whether a node is attention in one call."""
    return node.call == "scaled_dot_product_attention" and len(node.inputs) in (3, 4)


def joined_dim(node: Node) -> int:
    """The dimension, from the end, along which a `CONCAT` puts tensors side by side, or makes a new one."""
    named = {"hstack": 1, "column_stack": 1, "dstack": 2}
    dim = dict(node.options).get("dim", (*node.arguments, named.get(node.call, 0))[0])
    dim = 0 if node.call == "hstack" and len(node.shape) == 1 else dim
    return dim if dim < 0 else dim - len(node.shape)


def _concatenated(node: Node, rank: int) -> Span:
    joined = joined_dim(node)
    if rank == len(node.shape):
        return tuple(None if dim == joined else dim for dim in range(-rank, 0))
    behind = (dim if dim > joined else dim + 1 for dim in range(-len(node.shape), 0))
    dims = zip(range(-len(node.shape), 0), behind, strict=True)
    return tuple(None if dim == joined or -own > rank else own for dim, own in dims)


def multiplied(node: Node, ranks: Sequence[int]) -> list[Letters] | None:
    """The letters of the factors of a product of tensors, then of the product; None where they cannot be told."""
    if node.kind != Kind.MATMUL:
        return None
    if node.call == "einsum":
        return _summed(node.arguments, ranks)
    if node.call == "linear":
        leading = tuple(range(-ranks[0], -1))
        result = (*leading, "n")[: len(node.shape)]
        return [(*leading, "k"), ("n", "k")[2 - ranks[1] :], *[("n",)] * (len(ranks) - 2), result]
    if node.call == "baddbmm" and len(ranks) == 3:
        added = ("batch", "m", "n")[3 - ranks[0] :]
        return [added, ("batch", "m", "k"), ("batch", "k", "n"), ("batch", "m", "n")]
    if len(ranks) != 2 or node.call not in _PRODUCTS:
        return None
    rows, columns = ranks[0] > 1, ranks[1] > 1
    batches = [tuple(range(-rank, -2)) for rank in ranks]
    left = (*batches[0], "m", "k") if rows else ("k",)
    right = (*batches[1], "k", "n") if columns else ("k",)
    return [left, right, (*max(batches, key=len), *(["m"] if rows else []), *(["n"] if columns else []))]


def _summed(arguments: Sequence[object], ranks: Sequence[int]) -> list[Letters] | None:
    equation = arguments[0] if arguments else None
    if not isinstance(equation, str) or "->" not in equation or "." in equation:
        return None
    terms, _, result = equation.replace(" ", "").partition("->")
    letters: list[Letters] = [tuple(term) for term in (*terms.split(","), result)]
    fits = [len(term) for term in letters[:-1]] == list(ranks)
    return letters if fits and all(len(set(term)) == len(term) for term in letters) else None


def attended(ranks: Sequence[int]) -> list[Letters]:
    """The letters of queries, keys, values, a mask if there is one, and the result of attention."""
    batch = tuple(range(-max(ranks), -2))

    def term(rank: int, *last: str) -> Letters:
        return (*batch, *last)[-rank:]

    masks = [term(rank, "t", "s") for rank in ranks[3:]]
    return [term(ranks[0], "t", "e"), term(ranks[1], "s", "e"), term(ranks[2], "s", "v"), *masks, (*batch, "t", "v")]


def _as_long(span: Span, shape: Sequence[int], result: Sequence[int]) -> Span:
    """Without heads of keys and values that several of queries share."""
    pairs = zip(span, result, strict=True)
    return tuple(own if own is not None and shape[own] in (1, size) else None for own, size in pairs)


def _span(result: Letters, term: Letters) -> Span:
    return tuple(term.index(letter) - len(term) if letter in term else None for letter in result)
