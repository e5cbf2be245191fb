"""compaction: forward passes of a compact model beside the dense one, and what it costs to make it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from benchmarks.findings import Findings, Goal, Table, table
from benchmarks.settings import Settings
from benchmarks.work import MNIST, network, shape_of
from budbreak.compaction import Compacted, compact
from budbreak.errors import InvariantBroken
from budbreak.live import prune
from budbreak.masks import Mask, Unit
from budbreak.measuring import Contender
from budbreak.networks import mlp

DENSE, MASKED, COMPACT = "dense", "dense, its dead units zero", "compact"
PASS, MAKING = "plain forward pass", "compact(model, example)"
WIDTHS = (300, 200, 100, 50)
KEPT = (46, 56, 49, 22)
"""What pruning of whole units at 80 % of the weights, by activation count, leaves of these widths."""


@dataclass(frozen=True)
class Compaction:
    """A multilayer perceptron without its dead units, and a residual network on the way there."""

    name = "compaction"
    about = "Forward passes of a compact model beside the dense one, and what it costs to make a model compact."

    def __call__(self, settings: Settings) -> Findings:
        """See `Benchmark`."""
        dense, images = mlp(MNIST, 10, WIDTHS).to(settings.device).eval(), torch.randn(64, *MNIST).to(settings.device)
        masked = _without_units(dense)
        smaller = compact(masked, images[:2])
        _check(masked, smaller, images, KEPT)
        passes = [_passes(settings, (dense, masked, smaller.model), images[:batch]) for batch in (1, 64)]
        making = _making(settings)
        goals = (
            Goal("batch 64: the compact model at least 3x faster than the dense one", passes[1].row(DENSE).ratio, 3),
            Goal("ResNet-20: compact in under 2 s", making.row(MAKING).seconds, 2, at_least=False, unit=" s"),
        )
        checks = ("The compact model gives what the dense one with zeros gives, to 1e-4, and has the widths aimed at.",)
        return Findings((*passes, making), goals, checks)


def _without_units(dense: nn.Module) -> nn.Module:
    """A copy in which all but the first units of each hidden layer have no inputs; their biases are positive."""
    model = mlp(MNIST, 10, WIDTHS).to(next(dense.parameters()).device).eval()
    model.load_state_dict(dense.state_dict())
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    with torch.no_grad():
        for layer, kept in zip(layers, KEPT, strict=False):
            layer.weight[kept:] = 0
            layer.bias[kept:] = 0.1
    return model


def _passes(settings: Settings, models: Sequence[nn.Module], images: Tensor) -> Table:
    names = (DENSE, MASKED, COMPACT)
    contenders = [Contender(name, _forward(model, images)) for name, model in zip(names, models, strict=True)]
    sizes = "-".join(map(str, (784, *WIDTHS, 10)))
    kept = "-".join(map(str, (784, *KEPT, 10)))
    return table(f"MLP {sizes} to {kept}, batch {len(images)}", COMPACT, settings.meter()(contenders))


def _making(settings: Settings) -> Table:
    model, example = network("ResNet-20", settings.device).eval(), torch.randn(2, *shape_of("ResNet-20"))
    example = example.to(settings.device)
    mask: Mask = prune(model, sparsity=0.5, granularity=Unit(), floor=4)
    contenders = [
        Contender(PASS, _forward(model, example)),
        Contender(MAKING, lambda: compact(model, example, mask=mask)),
    ]
    return table("ResNet-20, half of its units pruned", PASS, settings.meter(quick=3, full=5)(contenders))


def _forward(model: nn.Module, images: Tensor) -> Callable[[], Tensor]:
    def run() -> Tensor:
        with torch.no_grad():
            return model(images)

    return run


def _check(masked: nn.Module, smaller: Compacted, images: Tensor, kept: Sequence[int]) -> None:
    with torch.no_grad():
        apart = float((masked(images) - smaller.model(images)).abs().max())
    layers = [layer for layer in smaller.model.modules() if isinstance(layer, nn.Linear)]
    fits = all(one.out_features == other.in_features for one, other in pairwise(layers))
    widths = [layer.out_features for layer in layers[:-1]]
    if apart > 1e-4 or not fits or widths != [*kept]:
        raise InvariantBroken(f"widths {widths}, outputs {apart:.2g} apart", "both give the same, with the units kept")
