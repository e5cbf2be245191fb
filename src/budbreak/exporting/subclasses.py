"""Subclasses of torch's layers, which may do anything: which of them give scaled outputs for scaled weights."""

from __future__ import annotations

import copy
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from budbreak.exporting.layers import Layer, channel_dim, is_subclass, scale_outputs
from budbreak.graph import Forward, example_outputs

_NEAR = 1e-4  # of float32: what differs by more does something else than it shows
Call = tuple[tuple[Any, ...], dict[str, Any], Any]
"""Positional inputs of a layer, those by keyword, and what it gave."""


def scaling_subclasses(model: nn.Module, example: Any, forward: Forward | None = None) -> frozenset[str]:
    """Paths of the layers made from torch's whose outputs take a factor and a shift over, as those of torch do.

    That is where a copy with twice the weights, and with twice the bias and one more, gives twice what the layer gave
    on the example, and one more. One that only pads its input does; one that standardizes its weights, or leaves out
    its bias, does not.

    Args:
        model: in eval mode.
        example: as in `bake`.
        forward: as in `bake`.
    """
    unsure = {path: cast(Layer, module) for path, module in model.named_modules() if is_subclass(module)}
    calls = _calls(model, unsure, example, forward) if unsure else {}
    return frozenset(path for path, call in calls.items() if _scales(unsure[path], call))


def _calls(model: nn.Module, layers: Mapping[str, Layer], example: Any, forward: Forward | None) -> dict[str, Call]:
    """The last call of each."""
    found: dict[str, Call] = {}
    with _told(layers, found):
        example_outputs(model, example, forward)
    return found


@contextmanager
def _told(layers: Mapping[str, Layer], found: dict[str, Call]) -> Generator[None, None, None]:
    def hook(path: str) -> Any:
        return lambda _, args, kwargs, output: found.update({path: (args, kwargs, output)})

    handles = [layer.register_forward_hook(hook(path), with_kwargs=True) for path, layer in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def _scales(layer: Layer, call: Call) -> bool:
    args, kwargs, given = call
    if not isinstance(given, Tensor) or not given.numel():
        return False
    tried = copy.deepcopy(layer)
    units = given.shape[channel_dim(layer)]
    try:
        scale_outputs(tried, layer.weight.new_full((1,), 2.0), layer.weight.new_ones(units))
        found = tried(*args, **kwargs)
    except Exception:  # code of others, of which nothing is known: it stays as it is
        return False
    near = _NEAR * float(given.abs().max())
    return isinstance(found, Tensor) and torch.allclose(found, 2 * given + 1, rtol=_NEAR, atol=near)
