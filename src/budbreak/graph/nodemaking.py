"""Make the node of a call from what is known about the tensors that entered it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from torch import Tensor

from budbreak.graph.call import Call, items
from budbreak.graph.kinds import LAYERS, SOFTMAXES, kind_of
from budbreak.graph.layouts import CONVOLVING
from budbreak.graph.node import LIKE, Kind, Node
from budbreak.graph.nodeparts import parts_in, units_in
from budbreak.graph.nonlinearities import CUMULATIVE
from budbreak.graph.parts import Part
from budbreak.graph.site import Layout
from budbreak.graph.tracking import Known
from budbreak.masks import UnitLayout

Operands = Sequence[tuple[Tensor, Known]]
"""The tensors that entered a call, in order, and what is known about each."""

_WITH_CONSTANTS = (Kind.ADD, Kind.MULTIPLY, Kind.CONCAT, Kind.MATMUL, Kind.ATTENTION, Kind.OPAQUE)
"""Where it matters what else there is beside what the inputs decide."""
_WITH_ARGUMENTS = (Kind.MOVE, Kind.POOL, Kind.CONCAT)


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


def sources(kind: Kind, call: Call, operands: Operands, constant: Callable[[Tensor, Known], int]) -> tuple[int, ...]:
    """The nodes that enter a call of a kind.

    Args:
        kind: of the call.
        call: what is called.
        operands: the tensors that enter it.
        constant: gives the node of what no input decides.
    """
    found: list[int] = []
    for tensor, known in operands[:1] if call.name in (*LIKE, "type_as") else operands:
        if known.node is not None:
            found.append(known.node)
        elif kind in _WITH_CONSTANTS and (tensor.numel() > 1 or known.origins):
            found.append(constant(tensor, known))
    if not found:  # a layer of positions: an embedding of what was counted; or of what is learned: queries
        given = [entry for entry in operands if not entry[1].origins] or [e for e in operands if e[0] is call.first]
        found = [constant(*entry) for entry in given]
    return tuple(found)


def make_node(index: int, kind: Kind, call: Call, operands: Operands, result: Tensor, layout: Layout | None) -> Node:
    """The node of a result, without what enters it and where it is called."""
    parts = parts_in(kind, call, operands, result)
    weight, units = _weight(call, operands, parts, layout) if kind == Kind.LAYER else (None, None)
    kept = kind in _WITH_ARGUMENTS or call.name in ("einsum", "glu", *SOFTMAXES, *CUMULATIVE)
    given, options = _arguments(call) if kept else ((), ())
    return Node(
        index=index,
        kind=kind,
        call=call.name,
        owner="",
        inputs=(),
        shape=tuple(result.shape),
        weights=_weights(kind, operands) if weight is None else (weight,),
        units=units,
        groups=_groups(kind, call),
        unit_dims=layout.dims if layout else None,
        arguments=given,
        options=options,
        parts=parts,
        over=_over(call, result.dim()) if kind == Kind.NORM else (),
    )


def _weight(
    call: Call, operands: Operands, parts: Sequence[Part], layout: Layout | None
) -> tuple[str | None, UnitLayout | None]:
    """The one parameter whose units and columns are those of a layer, and where its units lie."""
    if layout is not None and layout.feed is not None:
        return layout.feed.weight, layout.feed.units
    matrices = {name for tensor, known in operands if tensor.dim() >= 2 for name in known.origins}
    made = {name: units for name, units in units_in(parts, _groups(Kind.LAYER, call)).items() if name in matrices}
    return next(iter(made.items())) if len(made) == 1 else (None, None)


def _groups(kind: Kind, call: Call) -> int:
    if kind == Kind.LAYER and call.name in CONVOLVING:
        return call.argument(6, "groups") or 1
    return call.argument(1, "num_groups") or 1 if call.name == "group_norm" else 1


def _over(call: Call, rank: int) -> tuple[int, ...]:
    """The dimensions over which a norm takes means; of a group norm the channels of each group, too."""
    if call.name == "batch_norm":
        return tuple(dim for dim in range(-rank, 0) if dim != 1 - rank) if call.argument(5, "training") else ()
    if call.name == "instance_norm":
        return tuple(range(2 - rank, 0))
    if call.name in ("layer_norm", "rms_norm"):
        return tuple(range(-len(call.argument(1, "normalized_shape")), 0))
    if call.name == "normalize":
        dim = call.argument(2, "dim")
        dim = 1 if dim is None else dim
        return (dim if dim < 0 else dim - rank,)
    of_groups = call.name == "group_norm" and (call.argument(1, "num_groups") or 1) > 1
    return tuple(range(2 - rank if of_groups else 1 - rank, 0))


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
    if call.name == "einsum":
        return call.args[:1], ()
    if call.name in LIKE:
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
