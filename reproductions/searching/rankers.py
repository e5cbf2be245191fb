"""Zero-cost rankers: numbers of a network that is not trained yet, from one batch."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

_LAYERS = (nn.Conv2d, nn.Linear)
_FLOOR = 1e-6  # of the variance: below, a direction is rounding


@dataclass(frozen=True)
class Ranked:
    """What one ranker says of one network.

    Args:
        value: nan where it is not defined.
        seconds: that it took.
    """

    value: float
    seconds: float


def gradient_flow(model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """log10 of the mean over layers of the norm of the gradient over weights that are not zero (arXiv 2102.01670)."""
    model.zero_grad(set_to_none=True)
    functional.cross_entropy(model(inputs), labels).backward()
    norms = [_gradient_norm(layer.weight) for layer in _layers(model)]
    model.zero_grad(set_to_none=True)
    return _log10(sum(norms) / len(norms))


def log_determinant(model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Mean over sites and directions of the log of the share of the variance of activations."""
    return _over_sites(model, inputs, lambda shares: float((shares + _FLOOR).log().mean()))


def effective_rank(model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Mean over sites of the entropy of the shares of the variance of activations."""
    return _over_sites(model, inputs, lambda shares: float(torch.special.entr(shares).sum()))


def condition(model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Mean over sites of the log of the largest over the median share of the variance of activations."""
    return _over_sites(model, inputs, _spread)


def dead_units(model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """The share of units, over all sites, whose output is the same for the whole batch."""
    constant = [_constant(outputs) for outputs in _outputs(model, inputs)]
    return float(torch.cat(constant).double().mean())


def path_norm(model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """log10 of the sum of the outputs for ones, with magnitudes for weights, 0 for biases, and the activations."""
    positive = copy.deepcopy(model).double().eval()
    with torch.no_grad():
        for layer in _layers(positive):
            layer.weight.abs_()
            if layer.bias is not None:
                layer.bias.zero_()
        return _log10(float(positive(torch.ones_like(inputs[:1], dtype=torch.float64)).sum()))


RANKERS: Mapping[str, Callable[[nn.Module, Tensor, Tensor], float]] = {
    "gradient flow": gradient_flow,
    "log-determinant": log_determinant,
    "effective rank": effective_rank,
    "condition": condition,
    "dead units": dead_units,
    "path norm": path_norm,
}
"""The name of a ranker -> ranker(model, inputs, labels)."""


def ranked(model: nn.Module, inputs: Tensor, labels: Tensor) -> dict[str, Ranked]:
    """What every ranker says of a network, which is left as it is."""
    found = dict[str, Ranked]()
    for name, ranker in RANKERS.items():
        begin = time.thread_time()
        value = ranker(model, inputs, labels)
        found[name] = Ranked(value if math.isfinite(value) else math.nan, time.thread_time() - begin)
    return found


def _gradient_norm(weight: Tensor) -> float:
    return 0.0 if weight.grad is None else float(weight.grad[weight != 0].double().norm())


def _layers(model: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    return [module for module in model.modules() if isinstance(module, _LAYERS)]


def _log10(value: float) -> float:
    return math.log10(value) if value > 0 else -math.inf


def _outputs(model: nn.Module, inputs: Tensor) -> list[Tensor]:
    """What all layers but the first take: the outputs of the activations, pooled where they are."""
    with _listening(_layers(model)[1:]) as taken, torch.no_grad():
        model(inputs)
    return taken


@contextmanager
def _listening(layers: list[nn.Conv2d | nn.Linear]) -> Generator[list[Tensor]]:
    taken = list[Tensor]()
    hooks = [layer.register_forward_pre_hook(lambda _, given: taken.append(given[0].double())) for layer in layers]
    try:
        yield taken
    finally:
        for hook in hooks:
            hook.remove()


def _over_sites(model: nn.Module, inputs: Tensor, of_shares: Callable[[Tensor], float]) -> float:
    values = [of_shares(_shares(outputs)) for outputs in _outputs(model, inputs)]
    return sum(values) / len(values)


def _spread(shares: Tensor) -> float:
    return float((shares.max() + _FLOOR).log() - (shares.median() + _FLOOR).log())


def _shares(outputs: Tensor) -> Tensor:
    """The shares of the principal directions in the variance over samples, sum 1; all 0 where nothing varies."""
    flat = outputs.flatten(1)
    variances = torch.linalg.svdvals(flat - flat.mean(0)) ** 2
    return torch.nan_to_num(variances / variances.sum())


def _constant(outputs: Tensor) -> Tensor:
    """Of each unit, whether its outputs are the same over samples and positions."""
    units = outputs.movedim(1, 0).flatten(1)
    return units.amax(1) - units.amin(1) <= _FLOOR
