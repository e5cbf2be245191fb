"""Who alone feeds whom in a model: where a factor may move from one module to the next."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping
from typing import cast

from torch import Tensor, nn

from budbreak.exporting.layers import Layer, as_layer, channel_dim
from budbreak.graph import Kind, ModelGraph, Node, replay


class Wiring:
    """A model with its graph.

    Args:
        model: whose parametrizations are folded.
        graph: of it.
        scaling: paths of the layers of other classes whose outputs take a factor over; see `subclasses`.
    """

    def __init__(self, model: nn.Module, graph: ModelGraph, scaling: Collection[str] = ()) -> None:
        self.scaling = scaling
        self.nodes, self.consumers = graph.nodes, graph.consumers()
        self.modules = dict(model.named_modules())
        self._uses = Counter(name for node in graph.nodes for name in {part.name for part in node.parts})
        self._tied = {*graph.tied, *graph.tied.values()}

    def layer(self, node: Node) -> Layer | None:
        """The layer of torch that this is the only call of, if its numbers are nobody else's."""
        layer = as_layer(self.modules.get(node.owner)) if node.kind == Kind.LAYER else None
        return layer if self.is_sole(node, "weight", "bias") else None

    def scalable_layer(self, node: Node) -> Layer | None:
        """As `layer`, and also one of a subclass whose outputs take a factor and a shift over."""
        if node.kind != Kind.LAYER or node.owner not in self.scaling:
            return self.layer(node)
        return cast(Layer, self.modules[node.owner]) if self.is_sole(node, "weight", "bias") else None

    def is_sole(self, node: Node, *own: str) -> bool:
        """Whether a node is the only use of what its owner calls so."""
        names = {f"{node.owner}.{name}".lstrip(".") for name in own}
        used = {part.name for part in node.parts}
        return used <= names and all(self._uses[name] == 1 and name not in self._tied for name in used)

    def feeding(self, node: Node) -> Node | None:
        """The node that this one alone takes its values from; None where others take them, too."""
        while len(node.inputs) == 1 and len(self.consumers[node.inputs[0]]) == 1:
            node = self.nodes[node.inputs[0]]
            if node.kind != Kind.IDENTITY:
                return node
        return None

    def receivers(self, node: Node, scale: Tensor) -> Mapping[str, Tensor]:
        """The layers that alone take what a node gives, scaled, with the factor of each of their inputs.

        Args:
            node: a site.
            scale: in the shape of what it gives.

        Returns:
            Path of a layer -> [inputs]; {} where something else takes it, or the factors get mixed on the way.
        """
        found: dict[str, Tensor] = {}
        whole = all(self._receive(self.nodes[index], node.index, scale, found) for index in self.consumers[node.index])
        return found if whole else {}

    def _receive(self, node: Node, source: int, scale: Tensor, found: dict[str, Tensor]) -> bool:
        if node.inputs != (source,):
            return False
        layer = self.layer(node)
        if layer is not None:
            scales = scale.movedim(channel_dim(layer), -1).flatten(0, -2)
            found[node.owner] = scales[0]
            return bool((scales == scales[0]).all())
        passed = _passed(node, scale)
        if passed is None or not self.consumers[node.index]:
            return False
        return all(self._receive(self.nodes[index], node.index, passed, found) for index in self.consumers[node.index])


def _passed(node: Node, scale: Tensor) -> Tensor | None:
    """The factors of what a call gives; None where they are no factors any more."""
    if node.kind == Kind.IDENTITY:
        return scale
    if node.kind == Kind.MOVE:
        return replay(node, scale)
    if node.kind != Kind.POOL:
        return None
    averages = "avg_pool" in node.call or node.call in ("mean", "sum")
    chooses = ("max_pool" in node.call or node.call == "amax") and bool((scale > 0).all())
    return _pooled(node, scale) if averages or chooses else None


def _pooled(node: Node, scale: Tensor) -> Tensor | None:
    pool = re.search(r"pool(\d)d", node.call)
    if pool:
        dims = tuple(range(-int(pool.group(1)), 0))
        low, high = scale.amin(dims, keepdim=True), scale.amax(dims, keepdim=True)
        return high.expand(node.shape) if bool((low == high).all()) else None
    options = dict(node.options)
    if not options.keys() <= {"dim", "keepdim"}:
        return None
    low, high = scale.amin(*node.arguments, **options), scale.amax(*node.arguments, **options)
    return high if bool((low == high).all()) else None
