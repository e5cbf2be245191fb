"""How the parameters and buffers that a call uses beside its inputs lie along the dimensions of what it gives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

from budbreak.graph.call import Call
from budbreak.graph.derivation import united
from budbreak.graph.layouts import CONVOLVING, PRODUCTS
from budbreak.graph.node import Kind
from budbreak.graph.parts import Part, aimed, whole
from budbreak.graph.tracking import Known
from budbreak.masks import UnitLayout

_Aim = Mapping[int, int | None]
"""A dimension of an operand, from the end -> that of the result, or None: the one over which a layer sums."""

_BY_CHANNEL = ("batch_norm", "instance_norm", "group_norm")
"""Norms whose gains lie along dimension 1; those of others lie along the last ones."""


def parts_of(tensor: Tensor, known: Known) -> tuple[Part, ...]:
    """The parts of a tensor that no input decides; what the code makes by itself is a part without a name."""
    return known.parts if known.parts or tensor.numel() == 1 else (whole("", tuple(tensor.shape)),)


def parts_in(kind: Kind, call: Call, operands: Sequence[tuple[Tensor, Known]], result: Tensor) -> tuple[Part, ...]:
    """The parts of a layer, a norm, a site or a recurrent layer; elsewhere what no input decides is a node of its own.

    Args:
        kind: of the node.
        call: that gave its tensor.
        operands: the tensors that entered.
        result: its tensor.
    """
    if kind not in (Kind.LAYER, Kind.NORM, Kind.SITE, Kind.RECURRENT):
        return ()
    held = [(tensor, parts_of(tensor, known)) for tensor, known in operands if known.node is None]
    if kind == Kind.LAYER:
        held = [(tensor, parts) for tensor, parts in held if not _enters(tensor, call) and any(p.name for p in parts)]
    return united(part for tensor, parts in held for part in _aimed_at(parts, _aim(kind, call, tensor, result.dim())))


def _enters(tensor: Tensor, call: Call) -> bool:
    """Whether a tensor is what a layer works on: learned queries, or indices into a table."""
    worked_on = call.argument(1, "mat1") if call.name == "addmm" else call.first
    told = call.name == "addmm" or call.name == "linear" or call.name in CONVOLVING
    return (told and tensor is worked_on) or not (tensor.is_floating_point() or tensor.is_complex())


def units_in(parts: Iterable[Part], groups: int) -> Mapping[str, UnitLayout]:
    """The parameters of which a layer's weight is made, unit by unit and column by column, with where its units lie."""
    found: dict[str, UnitLayout] = {}
    for part in parts:
        units, sums = [axis for axis in part.axes if axis.of is not None], part.along(None)
        whole = len(units) == 1 and len(units[0].places) == len(set(units[0].places))
        if whole and (len(sums) == 1 or (groups > 1 and not sums)):
            found[part.name] = UnitLayout(units[0].dim)
    return found


def _aimed_at(parts: Iterable[Part], dims: _Aim | None) -> list[Part]:
    return [Part(part.name, (), known=False) if dims is None else aimed(part, dims) for part in parts]


def _aim(kind: Kind, call: Call, tensor: Tensor, rank: int) -> _Aim | None:
    if kind == Kind.LAYER:
        return _of_layer(call, tensor)
    if kind == Kind.RECURRENT:
        return None
    by_channel = kind == Kind.NORM and call.name in _BY_CHANNEL
    if (by_channel or call.name == "prelu") and tensor.dim() == 1:
        return {-1: min(1 - rank, -1)} if tensor.numel() > 1 or by_channel else {}
    return {dim: dim for dim in range(-tensor.dim(), 0)}


def _of_layer(call: Call, tensor: Tensor) -> _Aim | None:
    """A bias goes with the units; of a weight one dimension does, and another with what is summed."""
    if call.name in CONVOLVING:
        return _of_convolution(call, tensor)
    if call.name in ("linear", "addmm"):
        is_bias = tensor is call.argument(*((2, "bias") if call.name == "linear" else (0, "input")))
        turned = call.name == "linear"
        return {-1: -1} if is_bias else {-2: -1 if turned else None, -1: None if turned else -1}
    if call.name in ("embedding", "embedding_bag"):
        return {-1: -1}
    if call.name not in PRODUCTS or call.name == "baddbmm" or tensor.dim() != 2:
        return None
    return {-2: -2, -1: None} if tensor is call.first else {-2: None, -1: -1}


def _of_convolution(call: Call, tensor: Tensor) -> _Aim:
    """Of a grouped one only the dimension that counts channels of all groups can be cut."""
    spatial = int(call.name[-2])
    units, grouped = -1 - spatial, (call.argument(6, "groups") or 1) > 1
    if tensor is not call.argument(1, "weight"):
        return {-1: units}
    if "transpose" in call.name:
        return {units - 1: None} if grouped else {units - 1: None, units: units}
    return {units - 1: units} if grouped else {units - 1: units, units: None}
