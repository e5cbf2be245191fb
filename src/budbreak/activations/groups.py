"""What an optimizer is given where a network has scalars of activations."""

from __future__ import annotations

from typing import Any

from torch import nn

from budbreak.activations.activation import ActivationModule
from budbreak.checks import check_model


def scalar_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The trainable scalars of all activations, by state_dict name."""
    check_model(model)
    return {
        ".".join(filter(None, (path, name))): scalar
        for path, module in model.named_modules()
        if isinstance(module, ActivationModule)
        for name, scalar in module.named_parameters(recurse=False)
    }


def parameter_groups(model: nn.Module) -> list[dict[str, Any]]:
    """A model's parameters for an optimizer, so that scalars of activations have no weight decay.

    Decay pulls them to 0, and a network whose alpha is 0 is dead. ``torch.optim.SGD(parameter_groups(model), lr=0.1,
    weight_decay=5e-4)`` decays the first group alone.

    Returns:
        Two groups: all other parameters, and the scalars, with ``weight_decay`` 0; the first one alone where there
        are none. Each parameter is in one of them, once.

    Raises:
        InvalidValue: if the model is none.
    """
    scalars = list(scalar_parameters(model).values())
    apart = {id(scalar) for scalar in scalars}
    others = [parameter for parameter in model.parameters() if id(parameter) not in apart]
    return [{"params": others}, *([{"params": scalars, "weight_decay": 0.0}] if scalars else [])]
