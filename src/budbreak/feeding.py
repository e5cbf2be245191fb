"""How batches reach a model and its loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from budbreak.errors import InvalidValue

Batches = Iterable[Any]
"""Batches of inputs, (inputs, targets) or mappings; a mapping is passed to the model by keyword."""
Loss = Callable[[Any, Any], Tensor]
"""``loss(outputs, targets) -> scalar``, the mean over the batch; for a mapping, targets are the mapping."""
Forward = Callable[[nn.Module, Any], Any]
"""``forward(model, batch) -> outputs``, for models that are not called with the inputs alone."""


def call_model(model: nn.Module, batch: Any) -> Any:
    """The default `Forward`: a mapping by keyword, else the first item of a batch, or the batch itself."""
    if isinstance(batch, Mapping):
        return model(**batch)
    return model(batch[0] if isinstance(batch, list | tuple) else batch)


def target_of(batch: Any) -> Any:
    """What a loss compares with: the second item of a batch; a mapping or a tensor itself.

    Raises:
        InvalidValue: for a batch of one item.
    """
    if isinstance(batch, list | tuple):
        if len(batch) < 2:
            raise InvalidValue(
                f"a batch of {len(batch)} item", "a loss needs (inputs, targets)", "give batches of pairs"
            )
        return batch[1]
    return batch


def is_single(batches: Batches, with_targets: bool) -> bool:
    """Whether this is one batch where several are meant: a tensor, or tensors of different kinds, as (x, y)."""
    if isinstance(batches, Tensor):
        return True
    if not isinstance(batches, list | tuple) or not all(isinstance(x, Tensor) for x in batches):
        return False
    tensors = cast(Sequence[Tensor], batches)
    features = [tuple(x.shape[1:]) if x.dim() == 2 and x.is_floating_point() else None for x in tensors]
    kinds = {(x.dim(), x.is_floating_point(), shape) for x, shape in zip(tensors, features, strict=True)}
    return len(kinds) > 1 or (with_targets and isinstance(batches, tuple))


def to_device(batch: Any, device: torch.device) -> Any:
    """A batch of the same form with its tensors on a device."""
    if isinstance(batch, Tensor):
        return batch.to(device)
    if isinstance(batch, list | tuple):
        if callable(getattr(batch, "to", None)):  # nn.utils.rnn.PackedSequence: its lengths stay on the CPU
            return cast(Any, batch).to(device)
        items = [to_device(item, device) for item in cast(Sequence[Any], batch)]
        return type(batch)(*items) if hasattr(batch, "_fields") else type(batch)(items)  # a named tuple keeps its names
    if isinstance(batch, Mapping):
        return {key: to_device(value, device) for key, value in cast(Mapping[Any, Any], batch).items()}
    return batch
