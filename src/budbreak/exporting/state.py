"""What of a model goes into a safetensors file: its state_dict."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from budbreak.checks import shown
from budbreak.errors import InvalidValue
from budbreak.live import transient_state
from budbreak.masks import zero_pruned


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """The state_dict of a model, with tied tensors under each of their names.

    The model must be a copy: `fold_pruning` changes it.

    Raises:
        InvalidValue: if it holds what is no dense tensor with values.
    """
    state = fold_pruning(model).state_dict()
    for name, value in state.items():
        _check_storable(name, value)
    return {name: tensor.detach() for name, tensor in state.items()}


def remark(model: nn.Module) -> tuple[str, ...]:
    """What such a file lacks, in words."""
    absent = transient_state(model)
    if not absent:
        return ()
    return (f"not in the file, for the state_dict leaves them out: {', '.join(absent)}; a fresh instance has its own",)


def fold_pruning(model: nn.Module) -> nn.Module:
    """The same model, in which weights that ``torch.nn.utils.prune`` holds in two parts are one again."""
    for module in model.modules():
        for hook in list(module._forward_pre_hooks.values()):  # pyright: ignore[reportPrivateUsage]
            if isinstance(hook, prune.BasePruningMethod):
                _fold(module, hook._tensor_name)  # pyright: ignore[reportPrivateUsage]
    return model


def _fold(module: nn.Module, name: str) -> None:
    entry = getattr(module, f"{name}_mask")
    prune.remove(module, name)
    zero_pruned(getattr(module, name).data, entry)  # a negative weight times 0 is -0.0, whose bits are not all zero


def _check_storable(name: str, value: object) -> None:
    if isinstance(value, Tensor) and value.layout == torch.strided and not (value.is_meta or value.is_quantized):
        return
    said = (
        f"a tensor of {value.layout}, {value.dtype}, on {value.device}" if isinstance(value, Tensor) else shown(value)
    )
    raise InvalidValue(
        f"{name!r} of the state_dict is {said}",
        "a safetensors file holds dense tensors with values",
        "make it one, or keep it out of the state_dict",
    )
