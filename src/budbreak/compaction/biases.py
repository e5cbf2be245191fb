"""Biases that take over constants."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd  # pyright: ignore[reportPrivateUsage]

from budbreak.compaction.surgery import tensor_of
from budbreak.compaction.wiring import Wiring
from budbreak.graph import Node

WITH_BIAS = (nn.Linear, _ConvNd)
"""Layers that use a bias if they have one, and do without otherwise."""


@dataclass(frozen=True)
class Target:
    """The bias of one call of a layer.

    Args:
        name: of the parameter.
        indices: which of its elements each unit adds.
        added: whether it is not there yet.
    """

    name: str
    indices: tuple[int, ...]
    added: bool = False


def target_of(wiring: Wiring, node: Node, *, may_add: bool) -> Target | None:
    """The bias that a layer adds, or could add; None if there is none.

    Args:
        wiring: of the model.
        node: a call of a layer.
        may_add: whether a layer of torch without a bias may be given one.
    """
    call = wiring.calls.get(node.index)
    bias = None if call is None else call.bias
    if bias is None:
        return _addable(wiring, node) if may_add else None
    for part in node.parts:
        axes = [axis for axis in part.axes if axis.of is not None]
        if part.name in node.weights or len(wiring.graph.shapes.get(part.name, ())) != 1 or len(axes) != 1:
            continue
        in_order = [*axes[0].places] == [*range(len(axes[0].places))]
        if in_order and part.known and _is_of(bias, tensor_of(wiring.model, part.name)):
            return Target(part.name, tuple(axes[0].indices))
    return None


def _addable(wiring: Wiring, node: Node) -> Target | None:
    owner = wiring.model.get_submodule(node.owner)
    own = f"{node.owner}." if node.owner else ""
    ours = node.weight is not None and node.weight.startswith(own)
    if not ours or not isinstance(owner, WITH_BIAS) or owner.bias is not None:
        return None
    count = owner.out_features if isinstance(owner, nn.Linear) else owner.out_channels
    return Target(f"{own}bias", tuple(range(count)), added=True)


def _is_of(bias: Tensor, parameter: Tensor) -> bool:
    """Whether what was added is a parameter, or a slice of it, and nothing computed from it."""
    return bias.untyped_storage().data_ptr() == parameter.untyped_storage().data_ptr()
