"""Which channel each value of a tensor belongs to, and where moves, pools and joins take it.

Labels are int64, with as many dimensions as the tensor, of size 1 along those in which they do not change; 0 is no
channel: a constant, or padding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from budbreak.graph.node import Node, replay

_NOT_FOR_LABELS = (RuntimeError, TypeError, ValueError, IndexError, AttributeError, StopIteration)
"""What torch raises for a form of a call that only the values themselves can take."""


def compact(labels: Tensor) -> Tensor:
    """The same labels, of size 1 along each dimension in which they do not change; none of a tensor without values."""
    if not labels.numel():
        return torch.zeros((1,) * labels.dim(), dtype=torch.int64)
    for dim in range(labels.dim()):
        first = labels.narrow(dim, 0, 1)
        if labels.stride(dim) == 0 or bool((labels == first).all()):
            labels = first
    return labels.to(torch.int64, copy=True)


def moved(node: Node, labels: Tensor, shape: Sequence[int]) -> Tensor | None:
    """Labels of what a `MOVE` gives; None where labels cannot be moved as the values were.

    Args:
        node: the move.
        labels: of the tensor that enters.
        shape: of that tensor.
    """
    run = replace(node, call="reshape") if node.call == "view" else node  # labels may lie in memory otherwise
    try:
        result = replay(run, _spread(labels, shape))
        if node.call == "pad":
            ones, zeros = torch.ones(*shape, dtype=torch.float64), torch.zeros(*shape, dtype=torch.float64)
            result = torch.where(replay(run, ones) == replay(run, zeros), 0, result)  # whatever the padding's value
    except _NOT_FOR_LABELS:
        return None
    return _fitting(result, node)


def joined(node: Node, parts: Sequence[tuple[Tensor, Sequence[int]]]) -> Tensor | None:
    """Labels of tensors that a `CONCAT` puts side by side; None where that cannot be repeated.

    Args:
        node: the call.
        parts: (labels, shape) of each tensor.
    """
    run: Callable[..., Any] = getattr(torch, node.call, torch.cat)
    try:
        result = run([_spread(*part) for part in parts], *node.arguments, **dict(node.options))
    except _NOT_FOR_LABELS:
        return None
    return _fitting(result, node)


def pooled(node: Node, labels: Tensor) -> Tensor | None:
    """Labels of what a pool over positions gives; None where values of several channels become one."""
    spatial = _spatial_dims(node)
    stays = spatial and labels.dim() == len(node.shape) and all(size == 1 for size in labels.shape[-spatial:])
    return labels if stays else None


def reduced_dims(node: Node, rank: int) -> tuple[int, ...]:
    """The dimensions, from the end, over which a reduction goes; () for a pool over positions."""
    if _spatial_dims(node) is not None:
        return ()
    options = dict(node.options)
    given = options.get("dim", options.get("axis", (*node.arguments, None)[0]))
    dims = range(rank) if given is None else [given] if isinstance(given, int) else given
    return tuple(dim if dim < 0 else dim - rank for dim in dims)


def aligned(labels: Sequence[Tensor]) -> Tensor:
    """Labels of operands that are broadcast against each other, stacked: [operands, ...]."""
    rank = max(one.dim() for one in labels)
    padded = [one.reshape((1,) * (rank - one.dim()) + tuple(one.shape)) for one in labels]
    return torch.stack(torch.broadcast_tensors(*padded))


def telling_dim(labels: Tensor) -> int | None:
    """The last dimension, from the end, in which labels change; None if they do nowhere."""
    return next((dim for dim in range(-1, -labels.dim() - 1, -1) if labels.shape[dim] > 1), None)


def at_places(labels: Tensor, dim: int, size: int) -> Tensor:
    """Which channels lie at which place along one dimension: (place, channel), int64 [2, pairs], by place.

    Args:
        labels: of a tensor.
        dim: the dimension, from the end.
        size: of the tensor along it.
    """
    rows = labels.movedim(dim, 0).reshape(labels.shape[dim], -1).expand(size, -1)
    places = torch.arange(size)[:, None].expand_as(rows)
    pairs = torch.stack([places.flatten(), rows.flatten()])
    pairs = pairs[:, pairs[1] != 0]
    return pairs if rows.shape[1] == 1 else _once(pairs)


def _once(pairs: Tensor) -> Tensor:
    """Each pair once, in order: as numbers, which are sorted ten times as fast as columns are."""
    base = int(pairs[1].max()) + 1 if pairs.numel() else 1
    numbers = torch.unique(pairs[0] * base + pairs[1])
    return torch.stack([numbers // base, numbers % base])


def crossing(pairs: Tensor) -> Tensor:
    """Which (place, channel) are not clear: of a channel at several places that hold other channels, too.

    Args:
        pairs: different ones, int64 [2, pairs].

    Returns:
        bool [pairs].
    """
    places, channels = (torch.unique(row, return_inverse=True)[1] for row in pairs)
    return (torch.bincount(places)[places] > 1) & (torch.bincount(channels)[channels] > 1)


def _spread(labels: Tensor, shape: Sequence[int]) -> Tensor:
    """In the shape of the tensor, as numbers that every function of torch takes."""
    return labels.double().expand(tuple(shape))


def _fitting(result: object, node: Node) -> Tensor | None:
    if not isinstance(result, Tensor) or tuple(result.shape) != node.shape or not result.numel():
        return None
    return compact(result)


def _spatial_dims(node: Node) -> int | None:
    """How many of the last dimensions a pool works on; None for a reduction."""
    found = next((dims for dims in (1, 2, 3) if f"pool{dims}d" in node.call), None)
    return len(node.shape) - 2 if node.call in ("interpolate", "upsample", "grid_sample") else found
