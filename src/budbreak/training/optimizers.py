"""How weights follow their gradients: frozen values that make torch's optimizers; `ALL` enrols them in the tests.

In the formulas w is a weight, g its gradient, lr the learning rate, wd the weight decay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from budbreak.checks import check_fraction, check_number, shown
from budbreak.errors import InvalidValue
from budbreak.training.building import check_betas, fused, groups_of, pair
from budbreak.training.fromage import Fromage
from budbreak.training.tadam import TAdam


class OptimizerValue(Protocol):
    """What the training asks of an optimizer: a frozen value that makes the live one.

    Attributes:
        learning_rate: the highest one, > 0: a schedule of rates gives shares of it.
    """

    @property
    def learning_rate(self) -> float: ...  # noqa: D102

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """A new optimizer over all parameters of the model, which is already on its device.

        Those of this library keep weight decay off the scalars of activations, as `parameter_groups` does; in a network
        without such scalars all parameters are in one group.
        """
        ...


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent with momentum.

    d = g + wd * w;  v = momentum * v + d (v = d at the first step);  w -= lr * v,
    or with ``nesterov`` w -= lr * (d + momentum * v).

    Args:
        learning_rate: > 0.
        momentum: share of the last step's velocity that goes on, in [0, 1); 0: none.
        nesterov: look ahead along the velocity; needs momentum.
        weight_decay: >= 0, on all parameters, biases and norms too, but scalars of activations.

    Raises:
        InvalidValue: for a number out of range, and for ``nesterov`` without momentum.

    Source: Sutskever et al. 2013 (Nesterov's momentum), in torch's form, where lr is outside v.
    """

    learning_rate: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4

    def __post_init__(self) -> None:
        check_number("learning_rate", self.learning_rate, zero=False, usual="0.1")
        check_fraction("momentum", self.momentum)
        if not isinstance(self.nesterov, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidValue(f"nesterov is {shown(self.nesterov)}", "it must be true or false")
        check_number("weight_decay", self.weight_decay, usual="1e-4")
        if self.nesterov and not self.momentum:
            raise InvalidValue(
                "nesterov is true with momentum = 0", "Nesterov's is a kind of momentum", "add momentum = 0.9"
            )

    def build(self, model: nn.Module) -> torch.optim.SGD:
        """A new one over all parameters; one fused kernel makes steps of small networks 10-16 % faster."""
        groups = groups_of(model)
        return torch.optim.SGD(
            groups,
            float(self.learning_rate),
            momentum=float(self.momentum),
            nesterov=self.nesterov,
            weight_decay=float(self.weight_decay),
            fused=fused(groups),
        )


@dataclass(frozen=True)
class Adam:
    """Adam: each weight's step is scaled by the size of its own gradients.

    d = g + wd * w;  m = b1 * m + (1 - b1) * d;  v = b2 * v + (1 - b2) * d^2;
    w -= lr * (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + epsilon), at step t = 1, 2, ...

    Args:
        learning_rate: > 0.
        betas: (b1, b2), each in [0, 1): how long m and v remember, about 1 / (1 - b) steps.
        epsilon: > 0; keeps the step finite where a weight has had no gradient.
        weight_decay: >= 0, on all parameters but scalars of activations; it goes through the scaling, see `AdamW` for
            one that does not.

    Raises:
        InvalidValue: for a number out of range.

    Source: Kingma & Ba 2015, arXiv 1412.6980.
    """

    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        check_number("learning_rate", self.learning_rate, zero=False, usual="0.001")
        check_betas(self.betas)
        check_number("epsilon", self.epsilon, zero=False, usual="1e-8")
        check_number("weight_decay", self.weight_decay, usual="0")

    def build(self, model: nn.Module) -> torch.optim.Adam:
        """A new one over all parameters, fused where the device allows."""
        groups = groups_of(model)
        return torch.optim.Adam(
            groups,
            float(self.learning_rate),
            betas=pair(self.betas),
            eps=float(self.epsilon),
            weight_decay=float(self.weight_decay),
            fused=fused(groups),
        )


@dataclass(frozen=True)
class AdamW:
    """Adam with a weight decay of its own, which the scaling does not touch.

    w -= lr * wd * w; then as `Adam` with d = g.

    Args:
        learning_rate: > 0.
        betas: (b1, b2), each in [0, 1): how long m and v remember, about 1 / (1 - b) steps.
        epsilon: > 0; keeps the step finite where a weight has had no gradient.
        weight_decay: >= 0, on all parameters but scalars of activations.

    Raises:
        InvalidValue: for a number out of range.

    Source: Loshchilov & Hutter 2019, arXiv 1711.05101.
    """

    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        check_number("learning_rate", self.learning_rate, zero=False, usual="0.001")
        check_betas(self.betas)
        check_number("epsilon", self.epsilon, zero=False, usual="1e-8")
        check_number("weight_decay", self.weight_decay, usual="0.01")

    def build(self, model: nn.Module) -> torch.optim.AdamW:
        """A new one over all parameters, fused where the device allows."""
        groups = groups_of(model)
        return torch.optim.AdamW(
            groups,
            float(self.learning_rate),
            betas=pair(self.betas),
            eps=float(self.epsilon),
            weight_decay=float(self.weight_decay),
            fused=fused(groups),
        )


ALL = (Adam, AdamW, Fromage, SGD, TAdam)
