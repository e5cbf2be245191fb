"""Follow parameters through what a model makes of them before it uses them: masked, normalised, turned, cut, joined."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from budbreak.graph.call import Call, items
from budbreak.graph.kinds import kind_of, makes_constants
from budbreak.graph.labels import compact
from budbreak.graph.node import Kind
from budbreak.graph.nonlinearities import is_nonlinear
from budbreak.graph.parts import Axis, Part, aimed, as_range

Given = Sequence[tuple[Tensor, tuple[Part, ...]]]
"""Tensors that no input decides, each with its parts."""


def parts_after(call: Call, given: Given, result: Tensor, index: int) -> tuple[Part, ...]:
    """The parts of what a call makes of tensors that no input decides.

    Args:
        call: what is called.
        given: the tensors that entered it.
        result: one of those that it gave.
        index: its place among all that it gave.
    """
    kind = kind_of(call)
    if call.name == "weight_norm":
        direction, size = given[0], given[-1]
        kept = [dim for dim in range(-result.dim(), 0) if size[0].dim() == result.dim() and size[0].shape[dim] > 1]
        given = [(direction[0], tuple(_normed(part, kept) for part in direction[1])), size]
    if kind in (Kind.ADD, Kind.MULTIPLY, Kind.IDENTITY, Kind.SITE) or is_nonlinear(call) or call.name == "weight_norm":
        return united(_stretched(part, tensor.shape, result.shape) for tensor, parts in given for part in parts)
    if makes_constants(call.name):  # "_like" follows the shape of what it is given, other sizes are told
        return (Part(""),) if call.name.endswith("_like") else ()
    if kind == Kind.MOVE and given and given[0][0] is call.first:
        return united(_moved(part, given[0][0], call, index) for part in given[0][1])
    if call.name in ("cat", "concat", "concatenate"):
        return _joined(given, result, call.argument(1, "dim", "axis") or 0)
    if len(given) == 1 and given[0][0].dim() == result.dim() and call.name in _REDUCING:
        return united(_stretched(part, given[0][0].shape, result.shape) for part in given[0][1])
    return united(Part(part.name, (), known=False) for _, parts in given for part in parts)


_REDUCING = ("mean", "sum", "amax", "amin", "norm", "linalg_vector_norm", "vector_norm", "std", "var")
"""Reductions, which with ``keepdim`` leave the other dimensions where they are."""


def _stretched(part: Part, shape: Sequence[int], result: Sequence[int]) -> Part:
    """Along the dimensions in which a tensor is as long as what it is broadcast or reduced to."""
    kept = [dim for dim in range(-min(len(shape), len(result)), 0) if shape[dim] == result[dim]]
    return aimed(part, {dim: dim for dim in kept})


def _moved(part: Part, tensor: Tensor, call: Call, index: int) -> Part:
    """Move the place of each slice as the values were moved, and look where it lies afterwards."""
    run: Callable[..., Any] = Tensor.reshape if call.name == "view" else call.run
    axes: list[Axis] = []
    for axis in part.axes:
        size = tensor.shape[axis.of or 0]
        at = torch.arange(size).reshape([-1 if dim == axis.of else 1 for dim in range(-tensor.dim(), 0)])
        try:
            moved = items(run(at.expand(tensor.shape), *call.args[1:], **call.kwargs))[index]
        except (RuntimeError, TypeError, ValueError, IndexError):
            return Part(part.name, (), known=False)
        axes += _read(axis, moved) if isinstance(moved, Tensor) else []
    return replace(part, axes=tuple(axes))


def _read(axis: Axis, places: Tensor) -> list[Axis]:
    """The axis along each dimension in which its places change."""
    few = compact(places)
    changing = [dim for dim in range(-few.dim(), 0) if few.shape[dim] > 1]
    return [_composed(axis, dim, few.movedim(dim, 0).reshape(few.shape[dim], -1)) for dim in changing]


def _composed(axis: Axis, of: int, rows: Tensor) -> Axis:
    """An axis along ``of``, where the places [length, ...] of the old one lie."""
    plain = axis.places == axis.indices == range(axis.size) and int(rows.max()) < axis.size
    if plain and rows.shape[1] == 1:
        return Axis(of, axis.dim, axis.size, range(len(rows)), as_range(rows.flatten().tolist()))
    held: dict[int, list[int]] = {}
    for place, index in zip(axis.places, axis.indices, strict=True):
        held.setdefault(place, []).append(index)
    pairs = sorted({(at, index) for at, row in enumerate(rows.tolist()) for old in row for index in held.get(old, ())})
    return Axis(of, axis.dim, axis.size, as_range([at for at, _ in pairs]), as_range([index for _, index in pairs]))


def _joined(given: Given, result: Tensor, dim: int) -> tuple[Part, ...]:
    joined = dim if dim < 0 else dim - result.dim()
    starts = accumulate((tensor.shape[joined] for tensor, _ in given), initial=0)
    pairs = zip(given, starts, strict=False)
    return united((_shifted(part, joined, start) for (_, parts), start in pairs for part in parts), apart=True)


def _shifted(part: Part, dim: int, start: int) -> Part:
    def shift(axis: Axis) -> Axis:
        return replace(axis, places=as_range([place + start for place in axis.places])) if axis.of == dim else axis

    return replace(part, axes=tuple(map(shift, part.axes)))


def _normed(part: Part, kept: Sequence[int]) -> Part:
    """A part of what is divided by its norm over all dimensions but those that are kept."""
    axes = tuple(axis if axis.of in kept else replace(axis, mixed="norm") for axis in part.axes)
    return replace(part, axes=axes)


def _both(first: tuple[Axis, ...], second: tuple[Axis, ...]) -> tuple[Axis, ...]:
    """The axes of two that meet: what one of them no longer has was averaged away."""
    every = tuple(dict.fromkeys((*first, *second)))
    return tuple(axis if axis in first and axis in second else replace(axis, mixed="mean") for axis in every)


def united(parts: Iterable[Part], *, apart: bool = False) -> tuple[Part, ...]:
    """One of each name; nobody knows how a parameter enters that enters in several ways, one of them unknown.

    Args:
        parts: of all that enters.
        apart: whether they lie side by side; else they meet, value by value.
    """
    found: dict[str, Part] = {}
    for part in parts:
        before = found.get(part.name, part)
        known = before.known and part.known
        axes = (*before.axes, *part.axes) if apart else _both(before.axes, part.axes)
        found[part.name] = Part(part.name, tuple(dict.fromkeys(axes)) if known else (), known)
    return tuple(found.values())
