"""Look at a network without some of its weights, before it is decided that they go."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator

import torch
from torch import Tensor, nn

from budbreak.masks import Mask, zero_pruned


@contextlib.contextmanager
def emptying(model: nn.Module) -> Generator[Callable[[Mask], None], None, None]:
    """Zero what masks prune, in place, as often as the function that is given is called with one.

    Outside, all weights have their old values, bit for bit. Inside, evidence is that of the network without what the
    last mask prunes; scores are read from live weights, so they are selected from inside.
    """
    saved: dict[nn.Parameter, Tensor] = {}

    def empty(mask: Mask) -> None:
        for name, parameter in mask.parameters(model).items():
            if mask.kept_in(name) < mask[name].numel():
                saved.setdefault(parameter, parameter.detach().clone())
                zero_pruned(parameter, mask[name])

    try:
        yield empty
    finally:
        with torch.no_grad():
            for parameter, values in saved.items():
                parameter.copy_(values)
