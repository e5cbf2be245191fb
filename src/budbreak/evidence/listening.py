"""Hear what the layers that own prunable weights are called with."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from budbreak.graph import unseen_by_modes
from budbreak.masks import parameters_with_layers

InputListener = Callable[[str, nn.Module, Tensor], None]
"""``listener(weight_name, layer, input)``; see `ProbeContext.on_input`."""


@contextlib.contextmanager
def hearing_inputs(
    model: nn.Module, parameters: Mapping[str, nn.Parameter], listeners: Sequence[InputListener]
) -> Generator[None, None, None]:
    """Inside, the listeners hear each call of a layer that owns one of these parameters."""
    names = {id(parameter): name for name, parameter in parameters.items()}
    owned = [(layer, names[id(own)]) for _, layer, own in parameters_with_layers(model) if id(own) in names]
    handles = [
        layer.register_forward_pre_hook(_hook(name, listeners), with_kwargs=True)
        for layer, name in (owned if listeners else ())
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _hook(
    name: str, listeners: Sequence[InputListener]
) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]:
    def hook(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = next((item for item in (*args, *kwargs.values()) if isinstance(item, Tensor)), None)
        if given is None:
            return
        with unseen_by_modes(), torch.no_grad() if torch.is_grad_enabled() else contextlib.nullcontext():
            for listener in listeners:
                listener(name, layer, given.detach())

    return hook
