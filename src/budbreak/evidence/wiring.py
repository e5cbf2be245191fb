"""What each layer is fed by and what it feeds, and by how much norms on the way scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from budbreak.errors import InvalidValue
from budbreak.evidence.evidence import ProbeContext
from budbreak.evidence.following import check_followed
from budbreak.evidence.traced import Graph
from budbreak.graph import Forward, Kind, Link, ModelGraph, Node, NormPassed, outputs_of
from budbreak.masks import UnitLayout


@dataclass(frozen=True)
class Wired:
    """The neighbours of every layer.

    Args:
        links: see `budbreak.graph.ModelGraph.links`; they name a prunable weight as `Weights` does.
        others: the weights of layers that are not prunable, by the names in ``links``: live, detached, not copied.
        scales: path of a norm with running statistics -> gain / sqrt(running variance + eps), float64 [channels].
    """

    links: tuple[Link, ...]
    others: Mapping[str, Tensor]
    scales: Mapping[str, Tensor]


@dataclass(frozen=True)
class Wiring:
    """How layers follow each other, read from the `Graph` of the network."""

    after = (Graph(),)

    def start(self, context: ProbeContext) -> Callable[[], Wired]:
        """See `Probe.start`.

        Raises:
            InvalidValue: if a prunable weight is never called, or what it computes leads to no output.
        """
        models: list[nn.Module] = []

        def follow(model: nn.Module, batch: Any, forward: Forward) -> None:
            graph = context.evidence[Graph()]
            check_followed(graph, context.weights.keys(), model, lambda: outputs_of(forward, model, batch))

        context.on_model(models.append)
        context.on_example(follow)
        return lambda: _wired(models[0], context.evidence[Graph()], context.weights)

    def example(self, weights: Mapping[str, Tensor], generator: torch.Generator) -> Wired:
        """What it might have seen in a chain of these weights, with a norm behind each of them."""
        links: list[Link] = []
        scales = {
            f"norm of {name}": torch.randn(len(weight), generator=generator).double()
            for name, weight in weights.items()
        }
        nodes = [_node(index, name) for index, name in enumerate(weights)]
        for start, end in pairwise(nodes):
            columns = range(weights[end.weights[0]].shape[1])
            units = tuple(column % len(weights[start.weights[0]]) for column in columns)
            passed = (NormPassed(f"norm of {start.weight}", None, units),)
            links.append(Link(start.weight, end.weight, start, end, units, tuple(columns), passed))
        return Wired(tuple(links), {}, scales)


def _node(index: int, weight: str) -> Node:
    return Node(
        index=index,
        kind=Kind.LAYER,
        call="linear",
        owner="",
        inputs=(),
        shape=(),
        weights=(weight,),
        units=UnitLayout(0),
    )


def _wired(model: nn.Module, graph: ModelGraph, prunable: Mapping[str, Tensor]) -> Wired:
    parameters = dict(model.named_parameters(remove_duplicate=False))
    _refuse_uncalled([name for name in graph.uncalled if name in prunable], type(model).__name__)
    ends = {name for link in graph.links for name in (link.source, link.target) if name is not None}
    others = {name: parameters[name].detach() for name in sorted(ends - prunable.keys())}
    return Wired(graph.links, others, _scales(model))


def _refuse_uncalled(names: list[str], model: str) -> None:
    if names:
        raise InvalidValue(
            f"{names[0]!r} of {model} is never called" + (f", nor are {len(names) - 1} more" if names[1:] else ""),
            "a weight that nothing flows through has no neighbours",
            f"leave it out: prunable=bb.excluding({names[0]!r}); or give a first batch that reaches it",
        )


def _scales(model: nn.Module) -> dict[str, Tensor]:
    scales: dict[str, Tensor] = {}
    for path, module in model.named_modules():
        variance, eps = getattr(module, "running_var", None), getattr(module, "eps", None)
        if isinstance(variance, Tensor) and isinstance(eps, float):
            scale = (variance.detach().double() + eps).rsqrt()
            gain = getattr(module, "weight", None)
            scales[path] = scale * gain.detach().double() if isinstance(gain, Tensor) else scale
    return scales
