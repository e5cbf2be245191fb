"""How a model with zeros is wired: its graph, what enters its layers, and what its zeros cut off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from budbreak.graph import Entered, Forward, Kind, LayerCall, ModelGraph, Node, Reachability, trace_entering
from budbreak.masks import Mask

_GAINS = ("batch_norm", "instance_norm", "group_norm", "layer_norm", "rms_norm")
"""Norms of torch, in which a gain of 0 leaves the shift alone. What a norm of one's own makes of 0 is not known."""


@dataclass(frozen=True, eq=False)
class Wiring:
    """What is known of a model.

    Args:
        model: it, without wrappers.
        graph: of it.
        calls: of its layers; see `budbreak.graph.trace_entering`.
        reach: what its weights and gains that are not zero connect.
        entered: what its products saw; ``living``: where those weights and gains are not zero.
        on_data: whether ``calls`` are those of a calibration set, of which what is the same for all counts as constant.
    """

    model: nn.Module
    graph: ModelGraph
    calls: Mapping[int, LayerCall]
    reach: Reachability
    entered: Entered
    living: Mask
    on_data: bool = False


def look(model: nn.Module, example: Any, forward: Forward | None) -> Wiring:
    """See how a model is wired, in one pass in eval mode.

    Raises:
        InvalidValue, CannotTrace: see `budbreak.graph.trace`.
    """
    graph, entered = trace_entering(model, example, forward)
    parameters = dict(model.named_parameters(remove_duplicate=False))
    entries: dict[str, Tensor] = {}
    for node in graph.nodes:
        for name in node.weights if _has_say(node) else ():
            living = _not_zero(parameters[name], entered.layers.get(node.index) if node.weight else None)
            entries[name] = living if name not in entries else entries[name] | living
    living = Mask.owning(entries)
    return Wiring(model, graph, entered.layers, _reach(graph, entered, living), entered, living)


def without_columns(wiring: Wiring, are_closed: Callable[[LayerCall], Tensor]) -> Wiring:
    """A wiring in which some columns of layers pass nothing on.

    Args:
        wiring: whose calls are looked at.
        are_closed: which places of a call: bool [places].
    """
    entries: dict[str, Tensor] = {}
    for node in wiring.graph.nodes:
        for name in wiring.living.keys() & {*node.weights}:
            living = _closed(wiring, node, name, are_closed)
            entries[name] = living if name not in entries else entries[name] | living
    return replace(wiring, reach=_reach(wiring.graph, wiring.entered, Mask.owning({**wiring.living, **entries})))


def _closed(wiring: Wiring, node: Node, name: str, are_closed: Callable[[LayerCall], Tensor]) -> Tensor:
    living, call = wiring.living[name].clone(), wiring.calls.get(node.index)
    axes = [axis for part in node.parts if part.name == name for axis in part.along(None)]
    if call is not None and name == node.weight and len(axes) == 1:
        places, indices = (torch.tensor([*given], dtype=torch.int64) for given in (axes[0].places, axes[0].indices))
        living.index_fill_(axes[0].dim, indices[are_closed(call)[places]], False)
    return living


def _reach(graph: ModelGraph, entered: Entered, mask: Mask) -> Reachability:
    """What is connected; not by way of a product with what is zero whatever goes in."""
    silent = torch.zeros(graph.channels.count, dtype=torch.bool)
    while True:
        reach = graph.reachable(mask, silent)
        now = silent | _silenced(graph, entered, reach.reached)
        if torch.equal(now, silent):
            return reach
        silent = now


def _silenced(graph: ModelGraph, entered: Entered, reached: Tensor) -> Tensor:
    """The channels of products of which one factor is zero, and is so without any input's doing."""
    channels = graph.channels
    found = torch.zeros(channels.count, dtype=torch.bool)
    for bundle in channels.bundles:
        zeros = entered.factors.get(bundle.node.index, {})
        for operand, parents in zip(bundle.operands, bundle.parents, strict=False):
            if operand in zeros:
                alive = reached.clone()
                alive[channels.labels[operand].expand(zeros[operand].shape)[~zeros[operand]]] = True
                found[bundle.made] |= ~alive[parents] & (parents != 0)
    return found


def _has_say(node: Node) -> bool:
    return node.kind in (Kind.LAYER, Kind.RECURRENT) or (node.kind == Kind.NORM and node.call in _GAINS)


def _not_zero(parameter: Tensor, call: LayerCall | None) -> Tensor:
    """Where a weight is not zero, after what is computed from the parameter on its way to the call."""
    used = None if call is None else call.weight
    computed = used is not None and used.data_ptr() != parameter.data_ptr() and used.shape == parameter.shape
    return ((used if used is not None and computed else parameter.detach()) != 0).cpu()
