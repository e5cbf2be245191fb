"""What stored networks say beside their accuracy: survivors, spectra, and what they are worth when they are compact."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import torch
from torch import Tensor, nn

from budbreak.compaction import compact, measure_gains
from budbreak.graph import ModelGraph, trace
from budbreak.lowrank import LayerRatio, ranks_of, spectrum_ratios
from budbreak.masks import Mask
from budbreak.measuring import Meter
from budbreak.training import environment
from reproductions.activation.stored import NetworkCell, StoredNetwork, example_of

_PLACES = (0.0, 0.25, 0.5, 0.75, 1.0)
_DIGITS = 4


def measure_network(stored: StoredNetwork, meter: Meter | None = None) -> NetworkCell:
    """The cell of one stored network; some seconds, in which latencies are measured by ``meter``."""
    pruned, cell = stored.pruned(), stored.cell
    example = example_of(pruned.parts)
    mask = stored.mask(cell.levels[-1])
    compacted = compact(pruned.model.eval(), example, mask=mask)
    gains = measure_gains(pruned.model, compacted.model, example, meter=meter)
    ratios = first_ratios(stored)
    graph = trace(pruned.model, example[:1])
    return NetworkCell(
        recipe=cell.recipe,
        run=cell.run,
        task=cell.task,
        arm=cell.arm,
        seed=cell.seed,
        environment={**environment(), "threads": gains.threads},
        layers=layer_counts(stored, pruned.model, compacted.model),
        ratios={name: tuple(zip(_PLACES, _at_places(one), strict=True)) for name, one in ratios.items()},
        thirds={name: thirds(filled(one)) for name, one in ratios.items()},
        along=first_along(stored),
        macs=tuple(connected_macs(graph, stored.mask(level)) for level in cell.levels),
        parameters=(gains.before.parameters, gains.after.parameters),
        compact_macs=(gains.before.macs // len(example), gains.after.macs // len(example)),
        latencies=tuple((one.batch, one.dense, one.compact, one.speedup, one.low, one.high) for one in gains.latencies),
        difference=compacted.difference,
        left=tuple(map(str, compacted.left)),
    )


def layer_counts(stored: StoredNetwork, pruned: nn.Module, smaller: nn.Module) -> dict[str, dict[str, int]]:
    """Units of each hidden layer: all, those of which the mask keeps a weight, and the others of a positive bias."""
    mask, found = stored.mask(stored.cell.levels[-1]), dict[str, dict[str, int]]()
    state, compact_state = pruned.state_dict(), smaller.state_dict()
    for name in stored.hidden:
        alive = mask[name].flatten(1).any(1)
        bias = state.get(f"{name.removesuffix('.weight')}.bias", torch.zeros(len(alive)))
        found[name] = {
            "units": len(alive),
            "survivors": int(alive.sum()),
            "dead_positive": int((~alive & (bias > 0)).sum()),
            "width": len(compact_state[name]),
        }
    return found


def first_ratios(stored: StoredNetwork) -> dict[str, LayerRatio]:
    """Singular values right after the first pruning against those right before it.

    Both are known exactly: the weights at the end of the dense training, and the mask that was put on them.
    """
    before, after = _first_pruning(stored)
    return dict(spectrum_ratios(ranks_of(before), ranks_of(after)))


def first_along(stored: StoredNetwork) -> dict[str, float]:
    """How much of what the first pruning changed in a weight kept its singular vectors; of weights that it changed."""
    before, after = _first_pruning(stored)
    changed = [name for name, weight in before.items() if not weight.equal(after[name])]
    return {name: round(share_along(before[name], after[name]), _DIGITS) for name in changed}


def _first_pruning(stored: StoredNetwork) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The matrices of the hidden layers right before and right after the first pruning."""
    state, mask = stored.dense().model.state_dict(), stored.mask(1)
    before = {name: state[name].flatten(1) for name in stored.hidden}
    return before, {name: weight.where(mask[name].flatten(1), 0) for name, weight in before.items()}


def share_along(before: Tensor, after: Tensor) -> float:
    """The share of a change, by squares, that lies along the singular pairs of the matrix before it: in [0, 1].

    That is all that a function of singular values can do; a step of any nuclear norm has 1.

    >>> share_along(torch.tensor([[3.0, 0.0], [0.0, 2.0]]), torch.tensor([[2.0, 0.0], [0.0, 0.0]]))
    1.0
    >>> share_along(torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.5, 0.0]]))
    0.0
    """
    left, _, right = torch.linalg.svd(before.double(), full_matrices=False)
    change = before.double() - after.double()
    along = ((left.T @ change) * right).sum(1)
    return float(along.square().sum() / change.square().sum())


def filled(one: LayerRatio) -> tuple[float, ...]:
    """The changes of all singular values, -100 % for those that are gone."""
    return (*one.values, *(-100.0,) * one.dropped)


def _at_places(one: LayerRatio) -> list[float]:
    values = filled(one)
    return [round(values[round(place * (len(values) - 1))], _DIGITS) for place in _PLACES]


def thirds(values: Sequence[float]) -> tuple[float, float, float]:
    """Means over the first, the middle and the last third.

    >>> thirds([-1, -2, -3, -4, -5, -6, -7])
    (-1.5, -4.0, -6.5)
    """
    size = max(1, len(values) // 3)
    parts = (values[:size], values[size:-size] or values[:size], values[-size:])
    first, middle, last = (round(fmean(part), _DIGITS) for part in parts)
    return first, middle, last


def connected_macs(graph: ModelGraph, mask: Mask) -> int:
    """Multiply-accumulates of what a mask keeps and what is connected by it, for one image."""
    return sum(graph.macs(graph.reachable(mask).connected))
