"""Make the node of a call from what is known about the tensors that entered it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from torch import Tensor

from budbreak.graph.call import Call, items
from budbreak.graph.kinds import LAYERS, kind_of
from budbreak.graph.layouts import CONVOLVING
from budbreak.graph.node import Kind, Node
from budbreak.graph.site import Layout
from budbreak.graph.tracking import Known

Operands = Sequence[tuple[Tensor, Known]]
"""The tensors that entered a call, in order, and what is known about each."""

_WITH_CONSTANTS = (Kind.ADD, Kind.MULTIPLY, Kind.CONCAT, Kind.MATMUL, Kind.ATTENTION, Kind.OPAQUE)
"""Where it matters what else there is beside what the inputs decide."""
_WITH_ARGUMENTS = (Kind.MOVE, Kind.POOL, Kind.CONCAT)
_LIKE = {"view_as": "reshape", "reshape_as": "reshape", "expand_as": "expand"}


def starts_here(call: Call, operands: Operands) -> bool:
    """Whether a call is part of the graph: some input, or a layer's weight, has a say in what it gives."""
    if any(known.node is not None for _, known in operands):
        return True
    return call.name in LAYERS and any(known.origins and tensor.dim() >= 2 for tensor, known in operands)


def kind_among(call: Call, operands: Operands) -> Kind:
    """The kind of a call that is no site: a product with a weight is a layer, one of two inputs is none."""
    kind = kind_of(call)
    if kind not in (Kind.LAYER, Kind.MATMUL):
        return Kind.OPAQUE if kind == Kind.SITE else kind  # of whole numbers
    if any(known.node is None and known.origins and tensor.dim() >= 2 for tensor, known in operands):
        return Kind.LAYER
    followed = sum(known.node is not None for _, known in operands)
    return Kind.MATMUL if kind == Kind.MATMUL or followed > 1 else Kind.LAYER


def sources(kind: Kind, operands: Operands, constant: Callable[[Tensor, Known], int]) -> tuple[int, ...]:
    """The nodes that enter a call of a kind.

    Args:
        kind: of the call.
        operands: the tensors that enter it.
        constant: gives the node of what no input decides.
    """
    found: list[int] = []
    for tensor, known in operands:
        if known.node is not None:
            found.append(known.node)
        elif kind in _WITH_CONSTANTS and (tensor.numel() > 1 or known.origins):
            found.append(constant(tensor, known))
    if not found:  # a layer of positions: an embedding of what was counted
        found = [constant(tensor, known) for tensor, known in operands if not known.origins]
    return tuple(found)


def make_node(index: int, kind: Kind, call: Call, operands: Operands, result: Tensor, layout: Layout | None) -> Node:
    """The node of a result, without what enters it and where it is called."""
    feed = layout.feed if layout and kind == Kind.LAYER else None
    given, options = _arguments(call) if kind in _WITH_ARGUMENTS else ((), ())
    return Node(
        index=index,
        kind=kind,
        call=_LIKE.get(call.name, call.name),
        owner="",
        inputs=(),
        shape=tuple(result.shape),
        weights=(feed.weight,) if feed else _weights(kind, operands),
        units=feed.units if feed else None,
        groups=call.argument(6, "groups") or 1 if kind == Kind.LAYER and call.name in CONVOLVING else 1,
        unit_dims=layout.dims if layout else None,
        arguments=given,
        options=options,
    )


def _weights(kind: Kind, operands: Operands) -> tuple[str, ...]:
    held = [(tensor, known.origins) for tensor, known in operands if known.node is None and known.origins]
    if kind == Kind.NORM:
        return held[0][1] if held else ()
    if kind not in (Kind.LAYER, Kind.RECURRENT):
        return ()
    names = [name for tensor, origins in held if tensor.dim() >= 2 for name in origins]
    return tuple(dict.fromkeys(names))


def _arguments(call: Call) -> tuple[tuple[Any, ...], tuple[tuple[str, Any], ...]]:
    """What was given after the tensors on which the call works; by position, and by keyword."""
    if call.name in _LIKE:
        return (tuple(call.argument(1, "other").shape),), ()
    given = tuple(_plain(argument) for argument in call.args[1:])
    named = call.kwargs.items()
    return given, tuple((key, _plain(value)) for key, value in named if key not in ("input", "self", "tensors", "out"))


def _plain(argument: object) -> Any:
    """An argument as the graph keeps it: of tensors, those that count or choose."""
    if isinstance(argument, Tensor):
        return None if argument.is_floating_point() else argument.detach().clone()
    if isinstance(argument, list | tuple):
        return tuple(_plain(item) for item in items(cast(object, argument)))
    return argument
