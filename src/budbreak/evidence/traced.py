"""How the network is wired, as a graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from budbreak.evidence.evidence import ProbeContext
from budbreak.graph import Forward, Kind, ModelGraph, Node, trace
from budbreak.masks import UnitLayout


@dataclass(frozen=True)
class Graph:
    """The graph of the network, traced on the first batch: a `budbreak.graph.ModelGraph`.

    It names prunable weights as `Weights` does. A model whose control flow depends on its inputs is seen as that batch
    takes it.
    """

    def start(self, context: ProbeContext) -> Callable[[], ModelGraph]:
        """See `Probe.start`."""
        found: list[ModelGraph] = []

        def look(model: nn.Module, batch: Any, forward: Forward) -> None:
            found.append(graph_of(model, context.weights, batch, forward))

        def collect() -> ModelGraph:
            of_all = context.processes.exchange("the graph", found)  # one of them may have had no batch
            return next(graph for some in of_all for graph in some)

        context.on_example(look)
        return collect

    def example(self, weights: Mapping[str, Tensor], generator: torch.Generator) -> ModelGraph:
        """What it might have seen of layers side by side, each between an input and an output of its own."""
        return ModelGraph(
            tuple(node for index, name in enumerate(weights) for node in _alone(3 * index, name, weights[name].shape))
        )


def graph_of(model: nn.Module, prunable: Iterable[str], batch: Any, forward: Forward) -> ModelGraph:
    """The graph of a model, in which these names of weights stand for all names of the same."""
    return trace(model, batch, forward).renamed(_prunable_names(model, prunable))


def _prunable_names(model: nn.Module, prunable: Iterable[str]) -> Mapping[str, str]:
    """Each name of a parameter -> its name among the prunable weights; itself where it is none of them."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    names = {id(parameters[name]): name for name in prunable}
    return {name: names.get(id(parameter), name) for name, parameter in parameters.items()}


def _alone(index: int, name: str, shape: torch.Size) -> tuple[Node, Node, Node]:
    """An input, a layer and an output."""
    size = (1,) * (len(shape) - 2)
    call = f"conv{len(size)}d" if size else "linear"
    made, dims = (1, shape[0], *size), (-1 - len(size),)

    def node(place: int, kind: Kind, shape: tuple[int, ...], **more: Any) -> Node:
        inputs = (index + place - 1,) if place else ()
        return Node(index=index + place, kind=kind, owner="", inputs=inputs, shape=shape, unit_dims=dims, **more)

    layer = node(1, Kind.LAYER, made, call=call, weights=(name,), units=UnitLayout(0))
    return node(0, Kind.INPUT, (1, shape[1], *size), call=""), layer, node(2, Kind.OUTPUT, made, call="")
