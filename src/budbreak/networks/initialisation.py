"""How fresh networks draw their weights: the presets of the papers we repeat."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

Initialise = Callable[[nn.Module], None]
"""Draws the parameters of one module (not of its children) from torch's global CPU generator."""


def kaiming(module: nn.Module) -> None:
    """Weights ~ N(0, 2 / fan_in), zero biases; normalisation starts as the identity. Source: He et al. 2015."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
        _fill(module.bias, 0.0)
    elif isinstance(module, nn.BatchNorm2d):
        _fill(module.weight, 1.0)
        _fill(module.bias, 0.0)


def lth(module: nn.Module) -> None:
    """As `kaiming`, but batch normalisation scales ~ U(0, 1).

    Source: open_lth (Frankle), its defaults. Differs: linear biases are zero, not as PyTorch draws them.
    """
    kaiming(module)
    if isinstance(module, nn.BatchNorm2d):
        nn.init.uniform_(module.weight)


def xavier(module: nn.Module) -> None:
    """Weights ~ N(0, 2 / (fan_in + fan_out)), batch normalisation scales ~ N(1, 0.02), other biases ~ N(0, 1).

    The preset of the public scripts that many lottery ticket papers build on; the wide biases kill units from
    the start, so dead neuron rates differ from those after `kaiming`.
    """
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.xavier_normal_(module.weight)
        _normal(module.bias, 0.0, 1.0)
    elif isinstance(module, nn.BatchNorm2d):
        _normal(module.weight, 1.0, 0.02)
        _fill(module.bias, 0.0)


def glorot_uniform(module: nn.Module) -> None:
    """Weights ~ U(-a, a), a = sqrt(6 / (fan_in + fan_out)), zero biases; normalisation starts as the identity.

    Source: Glorot & Bengio 2010; the default of Keras, and so of the authors of activation-based pruning.
    """
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        _fill(module.bias, 0.0)
    elif isinstance(module, nn.BatchNorm2d):
        _fill(module.weight, 1.0)
        _fill(module.bias, 0.0)


def own(module: nn.Module) -> None:
    """Leave what the constructor drew, or the weights that a factory loaded."""


INITIALISATIONS: Mapping[str, Initialise] = {
    "glorot-uniform": glorot_uniform,
    "kaiming": kaiming,
    "lth": lth,
    "own": own,
    "xavier": xavier,
}


def initialise(model: nn.Module, how: Initialise) -> None:
    """Draw all parameters afresh, module by module in the order of ``modules()``."""
    with torch.no_grad():
        for module in model.modules():
            how(module)


def _fill(tensor: Tensor | None, value: float) -> None:
    if tensor is not None:
        nn.init.constant_(tensor, value)


def _normal(tensor: Tensor | None, mean: float, std: float) -> None:
    if tensor is not None:
        nn.init.normal_(tensor, mean, std)
