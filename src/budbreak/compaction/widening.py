"""Models of half precision are looked at in float32, where exact folding can be told from what is only nearly right.

Rounding to bfloat16 moves an output by some percent: a comparison there shows only gross mistakes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from budbreak.compaction.wiring import Wiring, look
from budbreak.errors import BudbreakError
from budbreak.graph import Forward, tensors_of, with_tensors
from budbreak.masks import copied

_HALF = (torch.bfloat16, torch.float16)


def look_widely(dense: nn.Module, example: Any, forward: Forward | None) -> tuple[Wiring, Any]:
    """See how a model is wired; in float32 if it is of half precision, and its code runs in float32, too.

    Returns:
        What is known of the model, or of a float32 copy, and the example as that takes it.

    Raises:
        InvalidValue, CannotTrace: see `look`.
    """
    if half_of(dense) is not None:
        batch = with_tensors(example, lambda tensor: tensor.float() if tensor.dtype in _HALF else tensor)
        try:
            return look(_widened(dense), batch, forward), batch
        except BudbreakError:
            pass  # its code spells its precision out; what else is wrong shows again
    return look(dense, example, forward), example


def like(batch: Any, other: Any) -> Any:
    """A batch whose floating tensors are of float32 if those of the other one, which `look_widely` gave, are."""
    held = {tensor.dtype for tensor in tensors_of(other)}
    if not held.isdisjoint(_HALF) or torch.float32 not in held:
        return batch
    return with_tensors(batch, lambda tensor: tensor.float() if tensor.dtype in _HALF else tensor)


def half_of(model: nn.Module) -> torch.dtype | None:
    """The coarsest half precision among the tensors of a model."""
    held = {tensor.dtype for _, tensor in _held(model)}
    return next((dtype for dtype in _HALF if dtype in held), None)


def narrowed(smaller: nn.Module, dense: nn.Module) -> nn.Module:
    """A copy of a smaller model whose tensors have the dtypes of the dense one's; added biases those of the weights."""
    dtypes = {name: tensor.dtype for name, tensor in _held(dense)}
    found = copied(smaller)
    for name, tensor in _held(found):
        beside = dtypes.get(f"{name.removesuffix('bias')}weight", tensor.dtype)
        _cast(tensor, dtypes.get(name, beside))
    return found


def _widened(model: nn.Module) -> nn.Module:
    wide = copied(model)
    for _, tensor in _held(wide):
        _cast(tensor, torch.float32 if tensor.dtype in _HALF else tensor.dtype)
    return wide


def _held(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)


def _cast(tensor: Tensor, dtype: torch.dtype) -> None:
    """In place: whoever holds the tensor has it in its new dtype."""
    if tensor.dtype != dtype:
        tensor.data = tensor.data.to(dtype)
