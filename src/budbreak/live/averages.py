"""Averages of a model's weights (EMA, SWA) keep what was pruned, unless they are masked as the model is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from budbreak.errors import InvalidValue
from budbreak.live.optimizers import tensors_in
from budbreak.live.rewinding import Resettable, Stateful, entries_by_name
from budbreak.masks import Mask, unwrap, zero_pruned

_Copies = list[tuple[Tensor, Tensor]]
_Slot = tuple[torch.Size, Tensor | None]


def mask_averages(resets: Sequence[Resettable], model: nn.Module, mask: Mask) -> None:
    """Zero what ``mask`` prunes in every copy of the model's weights that ``resets`` hold.

    A copy is known by its ``state_dict()``, at any depth: by the names of the weights, after one prefix for all
    (`AveragedModel`, timm's, a deep copy, a dictionary), or by the shapes of ``model.parameters()`` in their order.

    Raises:
        InvalidValue: see `check_averages`.
    """
    held = _holding_tensors(resets)
    if not held:
        return
    entries, orders = entries_by_name(model, mask), _orders(model, mask)
    for item, state in held:
        copies = _find_copies(state, entries, orders)
        _check_recognised(item, state, copies, mask)
        for tensor, entry in copies:
            zero_pruned(tensor, entry)
        if copies and not isinstance(item, nn.Module):  # whose state_dict is its live tensors
            item.load_state_dict(state)


def check_averages(resets: Sequence[Resettable], model: nn.Module, mask: Mask) -> None:
    """Refuse what must be an average of the weights but cannot be masked.

    Raises:
        InvalidValue: with its type.
    """
    entries, orders = entries_by_name(model, mask), _orders(model, mask)
    for item, state in _holding_tensors(resets):
        _check_recognised(item, state, _find_copies(state, entries, orders), mask)


def _holding_tensors(resets: Sequence[Resettable]) -> list[tuple[Stateful, Any]]:
    """What may be an average, with its state."""
    others = [item for item in resets if not isinstance(item, torch.Generator | Optimizer)]
    states = [(item, item.state_dict()) for item in others]
    return [(item, state) for item, state in states if any(True for _ in tensors_in(state))]


def _check_recognised(item: object, state: object, copies: _Copies, mask: Mask) -> None:
    shapes = Counter(tensor.shape for tensor in tensors_in(state))
    if not copies and Counter(entry.shape for entry in mask.values()) <= shapes:
        raise InvalidValue(
            f"resets holds a {type(item).__name__} with tensors of the shapes of all prunable weights, but no names",
            "an average of the weights is masked as they are, by names or in the order of model.parameters()",
            "give it a state_dict() that has the names of model.state_dict(), or use torch's AveragedModel",
        )


def _find_copies(node: object, entries: Mapping[str, Tensor], orders: Sequence[Sequence[_Slot]]) -> _Copies:
    """The tensors of all copies of the weights in a nest of containers, each with its entry of the mask."""
    if isinstance(node, Mapping):
        named = {str(key): value for key, value in cast(Mapping[Any, Any], node).items()}
        copies, children = _by_name(named, entries), [*named.values()]
    elif isinstance(node, list | tuple):
        children = [*cast(Sequence[Any], node)]
        copies = _by_order(children, orders)
    else:
        return []
    return copies + [pair for child in children for pair in _find_copies(child, entries, orders)]


def _by_name(named: Mapping[str, Any], entries: Mapping[str, Tensor]) -> _Copies:
    prefixes = {
        key.removesuffix(name) for name in entries for key in named if key == name or key.endswith(f".{name}")
    }  # fmt: skip
    copies: _Copies = []
    for prefix in prefixes:
        here = [
            (named[prefix + name], entry)
            for name, entry in entries.items()
            if isinstance(named.get(prefix + name), Tensor) and named[prefix + name].shape == entry.shape
        ]
        if 2 * len(here) >= len(entries):  # fewer is another network with a layer of that name and shape
            copies += here
    return copies


def _by_order(values: Sequence[Any], orders: Sequence[Sequence[_Slot]]) -> _Copies:
    shapes = [value.shape if isinstance(value, Tensor) else None for value in values]
    for order in orders:
        if shapes == [shape for shape, _ in order]:
            return [(value, entry) for value, (_, entry) in zip(values, order, strict=True) if entry is not None]
    return []


def _orders(model: nn.Module, mask: Mask) -> list[list[_Slot]]:
    """Shapes and entries of ``model.parameters()``: of all, and of those that are trained."""
    entries = {id(parameter): mask[name] for name, parameter in mask.parameters(model).items()}
    every = list(unwrap(model).parameters())
    return [
        [(parameter.shape, entries.get(id(parameter))) for parameter in chosen]
        for chosen in (every, [parameter for parameter in every if parameter.requires_grad])
    ]
