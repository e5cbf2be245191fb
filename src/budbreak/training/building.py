"""What all optimizers are built of: the parameters of a model, in groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from budbreak.activations import parameter_groups
from budbreak.checks import check_fraction, check_model, shown
from budbreak.errors import InvalidValue

_FUSED_ON = ("cpu", "cuda")  # where torch has one kernel for a whole step; elsewhere it steps tensor by tensor


def groups_of(model: nn.Module) -> list[dict[str, Any]]:
    """All parameters: one group; scalars of activations in another one, which does not decay.

    Both have the same learning rate. See `parameter_groups`.

    Raises:
        InvalidValue: if the model is none.
    """
    check_model(model)
    return parameter_groups(model)


def fused(groups: Sequence[Mapping[str, Any]]) -> bool | None:
    """Whether one kernel can step all parameters; None leaves it to torch."""
    parameters: list[nn.Parameter] = [parameter for group in groups for parameter in group["params"]]
    fits = [parameter.device.type in _FUSED_ON and parameter.is_floating_point() for parameter in parameters]
    return True if all(fits) else None


def pair(betas: tuple[float, float]) -> tuple[float, float]:
    """Two floats, of what may be whole numbers."""
    first, second = betas
    return float(first), float(second)


def check_betas(betas: tuple[float, float]) -> None:
    """Refuse what is no pair of shares in [0, 1).

    Raises:
        InvalidValue: with the one that is none.
    """
    if not isinstance(betas, tuple) or len(betas) != 2:  # pyright: ignore[reportUnnecessaryIsInstance, reportUnnecessaryComparison]
        raise InvalidValue(f"betas is {shown(betas)}", "it must be two numbers in [0, 1)", "usual is (0.9, 0.999)")
    for index, beta in enumerate(betas):
        check_fraction(f"betas[{index}]", beta)
