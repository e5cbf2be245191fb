"""Copies of models."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from budbreak.errors import InvalidValue


def copied(model: nn.Module) -> nn.Module:
    """A copy of a model; weights that hooks compute from others (torch's own pruning, weight_norm) without history.

    Raises:
        InvalidValue: if it holds what cannot be copied.
    """
    held = [value for module in model.modules() for value in vars(module).values() if isinstance(value, Tensor)]
    memo = {id(tensor): tensor.detach().clone() for tensor in held if not tensor.is_leaf}
    try:
        return copy.deepcopy(model, memo)
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise InvalidValue(
            f"{type(model).__name__} cannot be copied: {error}",
            "what is made of it is a copy, and the model stays as it is",
            "take off what copy.deepcopy does not take: tensors with a history, hooks on open files, ...",
        ) from error
