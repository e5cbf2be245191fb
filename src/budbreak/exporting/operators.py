"""Activations as plain modules of torch: their scalars become constants, of which others take over what they can."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from budbreak import activations
from budbreak.activations import Activation, ActivationModule, Scaled

_PLAIN: dict[type[Activation], type[nn.Module]] = {
    activations.ELU: nn.ELU,
    activations.GELU: nn.GELU,
    activations.Hardswish: nn.Hardswish,
    activations.Identity: nn.Identity,
    activations.LogSigmoid: nn.LogSigmoid,
    activations.Mish: nn.Mish,
    activations.ReLU: nn.ReLU,
    activations.ReLU6: nn.ReLU6,
    activations.SELU: nn.SELU,
    activations.Softplus: nn.Softplus,
    activations.Swish: nn.SiLU,
    activations.Tanh: nn.Tanh,
}


class Scale(nn.Module):
    """A constant factor.

    Args:
        factor: in the shape in which it broadcasts; of no dimension it is a number.
        like: of whose dtype and device it is.
    """

    factor: Tensor | float

    def __init__(self, factor: Tensor, like: Tensor) -> None:
        super().__init__()
        if factor.dim():
            self.register_buffer("factor", factor.to(like))
        else:
            self.factor = float(factor)

    def forward(self, x: Tensor) -> Tensor:
        """Float [...] -> the same shape."""
        return x * self.factor


@dataclass(frozen=True, eq=False)
class ScaledForm:
    """alpha * core(beta * x).

    Args:
        core: the operator, its own alpha and beta 1.
        alpha, beta: float64, a number, or in the shape in which they broadcast.
        positive: whether the core is homogeneous: a factor over 0 may stand before it or behind.
    """

    core: Activation
    alpha: Tensor
    beta: Tensor
    positive: bool

    def module(self, like: Tensor) -> nn.Module:
        """The whole of it, of as few modules as that takes."""
        parts = [_scales(self.beta, like), [plain(self.core)], _scales(self.alpha, like)]
        modules = [module for part in parts for module in part]
        return modules[0] if len(modules) == 1 else nn.Sequential(*modules)


def scaled_form(module: ActivationModule) -> ScaledForm | None:
    """An activation in that form; None for one that has none."""
    activation, given = module.activation, _scalars(module)
    one = torch.ones((), dtype=torch.float64)
    if isinstance(activation, activations.Identity):
        return ScaledForm(activations.Identity(), given["alpha"], one, positive=True)
    if isinstance(activation, activations.Swish) and bool((given["beta"] != 0).all()):
        # alpha x sigmoid(beta x) = alpha / beta * silu(beta x)
        return ScaledForm(activations.Swish(), given["alpha"] / given["beta"], given["beta"], positive=False)
    if not isinstance(activation, Scaled):
        return None
    core = replace(activation, alpha=1.0, beta=1.0, trainable=False, per="site")
    form = ScaledForm(core, given["alpha"], given["beta"], positive=activation.facts.homogeneous)
    if form.positive and bool((form.beta > 0).all()):
        return replace(form, alpha=form.alpha * form.beta, beta=one)
    return form


def constant(module: ActivationModule) -> nn.Module:
    """A module that gives the same, its scalars constants."""
    if not module.scalars:
        return plain(module.activation)
    if module.shape:
        return module.requires_grad_(False)
    return plain(module.activation.fixed({name: float(value) for name, value in _scalars(module).items()}))


def plain(activation: Activation) -> nn.Module:
    """A module of torch, if there is one; else one of ours, which is made of functions of torch."""
    if type(activation) is activations.LeakyReLU and activation.alpha == activation.beta == 1:
        return nn.LeakyReLU(activation.negative_slope)
    if type(activation) is activations.PReLU:
        return nn.LeakyReLU(activation.slope)
    is_plain = all(value == 1 for value in activation.scalars.values())
    kind = _PLAIN.get(type(activation)) if is_plain else None
    return replace(activation, trainable=False, per="site").module() if kind is None else kind()


def _scalars(module: ActivationModule) -> dict[str, Tensor]:
    """Float64, each a number or in the shape in which it broadcasts."""
    own = dict(module.named_parameters(recurse=False))
    held = module.activation.scalars
    given = {name: torch.as_tensor(own.get(name, value), dtype=torch.float64) for name, value in held.items()}
    shape = {name: module.shape if name in own else () for name in given}
    return {name: value.detach().view(shape[name]) for name, value in given.items()}


def _scales(factor: Tensor, like: Tensor) -> list[nn.Module]:
    return [] if bool((factor == 1).all()) else [Scale(factor, like)]
