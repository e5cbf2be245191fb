"""What it would cost to cut each column of each layer: nothing, a constant in a bias, or a living input."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

from budbreak.compaction.biases import Target, target_of
from budbreak.compaction.wiring import Wiring
from budbreak.graph import Bundle, LayerCall, Node

Slot = tuple[str, int]
"""A parameter, and a dimension of it."""


class Verdict(IntEnum):
    """On a column: the greater, the more stands against cutting it. Of several, the greatest holds."""

    FREE = 0
    """Zero wherever it matters, or what enters it is."""
    FOLDED = 1
    """What enters is one constant, which a bias takes over exactly."""
    VARYING = 2
    """What enters is the same for all inputs, but not at all positions."""
    PADDED = 3
    """What enters is a constant, of which a convolution makes other values at padded borders; a transposed one also by
    its strides."""
    SHARED = 4
    """Another call has the same bias, or the same weight where it stays as large."""
    NO_BIAS = 5
    """There is no bias, and none can be given to it."""
    NORMED = 6
    """The column counts in the norm by which a weight is divided."""
    LIVING = 7
    """What enters depends on the inputs, and an output on it."""


SAID: Mapping[Verdict, str] = {
    Verdict.VARYING: "a constant that differs from place to place enters {}",
    Verdict.PADDED: "a constant enters {}, which makes different values of it at borders (padding) or by strides",
    Verdict.NORMED: "a constant enters {}, whose columns count in its norm",
    Verdict.SHARED: "a constant enters {}, which is called several times",
    Verdict.NO_BIAS: "a constant enters {}, which has no bias to take it over",
}
ROUGH = (Verdict.VARYING, Verdict.PADDED)
"""What can be folded roughly: by the mean over places, and as if there were no borders."""


@dataclass(frozen=True, eq=False)
class Columns:
    """Of one call of a layer, place by place along the dimension over which it sums.

    Args:
        node: the call.
        slots: for each parameter that has slices there: (slot, its size, places, indices).
        verdicts: int64 [places], of `Verdict`.
        amounts: float64 [units, places]: what each unit gets from the constant at each place; None where unknown.
        target: the bias that can take it over.
        rows: bool [units]: which units have a say in an output; ``units``: (parameter, dimension, indices) of them.
    """

    node: Node
    slots: tuple[tuple[Slot, int, Tensor, Tensor], ...]
    verdicts: Tensor
    amounts: Tensor | None
    target: Target | None
    rows: Tensor
    units: tuple[tuple[Slot, Tensor], ...]


def all_columns(wiring: Wiring, *, cutting: bool) -> tuple[Columns, ...]:
    """Of all layers that tell their columns apart.

    Args:
        wiring: of the model.
        cutting: whether columns are cut out, with the units that they read, wherever the weight is called; then a
            layer without a bias may be given one. Otherwise single weights become zero, in all calls of them.
    """
    layers = [bundle for bundle in wiring.graph.channels.bundles if bundle.is_layer]
    targets = [target_of(wiring, bundle.node, may_add=cutting) for bundle in layers]
    biases = Counter((target.name, index) for target in targets if target for index in target.indices)
    calls = Counter(name for node in wiring.graph.nodes for name in node.weights)
    several = set[str]() if cutting else {name for name, count in calls.items() if count > 1}
    found: list[Columns] = []
    for bundle, target in zip(layers, targets, strict=True):
        shared = bool(several & {*bundle.node.weights})
        shared = shared or (target is not None and any(biases[target.name, index] > 1 for index in target.indices))
        worst = Verdict.NO_BIAS if target is None else Verdict.SHARED if shared else Verdict.FREE
        found.append(_columns(wiring, bundle, target, worst))
    return tuple(found)


def by_slot(columns: Sequence[Columns]) -> dict[Slot, Tensor]:
    """For each parameter and dimension that is summed over: the verdict on each index."""
    found: dict[Slot, Tensor] = {}
    for one in columns:
        for slot, size, places, indices in one.slots:
            verdicts = found.setdefault(slot, torch.zeros(size, dtype=torch.int64))
            verdicts.scatter_reduce_(0, indices, one.verdicts[places], "amax")
    return found


def is_normed(node: Node) -> bool:
    """Whether the columns of a layer count in a norm, or a mean, by which its weight is divided."""
    return any(axis.mixed for part in node.parts for axis in part.along(None))


def _columns(wiring: Wiring, bundle: Bundle, target: Target | None, worst: Verdict) -> Columns:
    node, call = bundle.node, wiring.calls.get(bundle.node.index)
    axes = [(part.name, axis) for part in node.parts if part.name for axis in part.along(None)]
    slots = tuple(((name, axis.dim), axis.size, _ints(axis.places), _ints(axis.indices)) for name, axis in axes)
    of_units = [(part.name, axis) for part in node.parts if part.name in node.weights for axis in part.axes]
    units = tuple(((name, axis.dim), _ints(axis.indices)) for name, axis in of_units if axis.of is not None)
    rows = wiring.reach.wanted[bundle.made]
    if call is None:
        sizes = [int(places.max()) + 1 for _, _, places, _ in slots]
        living = torch.full((max(sizes, default=0),), Verdict.LIVING)
        return Columns(node, slots, living, None, target, rows, units)
    worst = Verdict.NORMED if is_normed(node) else worst
    reached = _reached(wiring, bundle, len(call.low))
    reached = reached & ~is_steady(call) if wiring.on_data else reached
    verdicts = _verdicts(call, reached, rows, worst)
    amounts = None if call.response is None else call.response * _constants(call)
    return Columns(node, slots, verdicts, amounts, target, rows, units)


def _verdicts(call: LayerCall, reached: Tensor, rows: Tensor, worst: Verdict) -> Tensor:
    """The verdict on each place.

    Args:
        call: of the layer.
        reached: bool [places]: whether what enters depends on the inputs.
        rows: bool [units]: which have a say.
        worst: what stands against folding any constant.
    """
    used = call.used
    needed = torch.ones_like(reached) if used is None else (used & rows[:, None]).any(0)
    found = torch.full_like(call.low, Verdict.FOLDED if call.response is not None else Verdict.NO_BIAS)
    found = found.long().clamp(min=worst)
    if not call.uniform:
        found = found.clamp(min=Verdict.PADDED)
    found = torch.where(is_steady(call), found, found.clamp(min=Verdict.VARYING))
    if worst != Verdict.NORMED:
        found = found.masked_fill((call.low == 0) & (call.high == 0), Verdict.FREE)
    return found.where(~reached, Verdict.LIVING).where(needed, Verdict.FREE)


def is_steady(call: LayerCall) -> Tensor:
    """Where one value enters, up to rounding: bool [places]."""
    dtype = torch.float32 if call.weight is None else call.weight.dtype
    largest = torch.maximum(call.low.abs(), call.high.abs())
    return call.high - call.low <= 64 * torch.finfo(dtype).eps * largest


def _constants(call: LayerCall) -> Tensor:
    return torch.where(is_steady(call), (call.low + call.high) / 2, call.mean)


def _reached(wiring: Wiring, bundle: Bundle, count: int) -> Tensor:
    places, entering = bundle.entering
    reached = torch.zeros(count, dtype=torch.bool)
    reached[places[wiring.reach.reached[entering]]] = True
    return reached


def _ints(numbers: Sequence[int]) -> Tensor:
    return torch.tensor(list(numbers), dtype=torch.int64)
