"""How batches reach a model and its loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from budbreak.errors import InvalidValue
from budbreak.foreign import call_foreign
from budbreak.graph.tracking import tensors_of

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


def outputs_of(forward: Forward, model: nn.Module, batch: Any) -> Any:
    """What the model gives for a batch.

    Raises:
        InvalidValue: if it raises: with its error, and what it was given.
    """
    is_own = forward is not call_model
    rule = "it is called as forward(model, batch)" if is_own else "it is called with the first item of a batch"
    return call_foreign(
        f"{'forward' if is_own else 'the model'}, given {outlined(batch)},",
        lambda: forward(model, batch),
        rule=rule if is_own or not isinstance(batch, Mapping) else "it is called with the batch's items by keyword",
        fix="give batches as the model takes them, or forward=lambda model, batch: ...",
    )


def loss_of(loss: Loss, outputs: Any, target: Any) -> Any:
    """What the loss gives.

    Raises:
        InvalidValue: if it raises: with its error, and what it was given.
    """
    return call_foreign(
        f"the loss, given {outlined(outputs)} and {outlined(target)},",
        lambda: loss(outputs, target),
        rule="it is called as loss(outputs, targets), with the second item of a batch, or the batch if it is no pair",
        fix="give batches of (inputs, targets), and a loss that takes what the model gives",
    )


def outlined(value: Any, *, depth: int = 2) -> str:
    """The kinds and shapes in a batch, in a few words.

    >>> outlined((torch.zeros(5, 7), [torch.zeros(5)]))
    'a tuple (float32 [5, 7], a list (float32 [5]))'
    """
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    kind = f"{'an' if type(value).__name__[0] in 'aeiouAEIOU' else 'a'} {type(value).__name__}"
    items = [*cast(Mapping[Any, Any], value).values()] if isinstance(value, Mapping) else value
    if not depth or not isinstance(items, list | tuple):
        return kind
    shown = [outlined(item, depth=depth - 1) for item in cast(Sequence[Any], items)[:3]]
    return f"{kind} ({', '.join([*shown, *(['...'] if len(cast(Sequence[Any], items)) > 3 else [])])})"


def target_of(batch: Any) -> Any:
    """What a loss compares with: the second item of a batch; a mapping or a tensor itself.

    Raises:
        InvalidValue: for a batch of one item.
    """
    if isinstance(batch, list | tuple):
        if len(batch) < 2:
            count = f"{len(batch)} item{'' if len(batch) else 's'}"
            raise InvalidValue(f"a batch of {count}", "a loss needs (inputs, targets)", "give batches of pairs")
        return batch[1]
    return batch


def holds_samples(batch: Any) -> bool:
    """Whether some tensor in a batch holds a number; True where there is no tensor."""
    tensors = tensors_of(batch)
    return not tensors or any(tensor.numel() for tensor in tensors)


def is_single(batches: Batches, with_targets: bool) -> bool:
    """Whether this is one batch where several are meant: a tensor, or tensors of different kinds, as (x, y)."""
    if isinstance(batches, Tensor):
        return True
    if not isinstance(batches, list | tuple) or not all(isinstance(tensor, Tensor) for tensor in batches):
        return False
    tensors = cast(Sequence[Tensor], batches)
    return len({_kind(tensor) for tensor in tensors}) > 1 or (with_targets and isinstance(batches, tuple))


def _kind(tensor: Tensor) -> tuple[int, bool, tuple[int, ...] | None]:
    features = tuple(tensor.shape[1:]) if tensor.dim() == 2 and tensor.is_floating_point() else None
    return tensor.dim(), tensor.is_floating_point(), features


def to_device(batch: Any, device: torch.device) -> Any:
    """A batch of the same form with its tensors on a device."""
    # nn.utils.rnn.PackedSequence: its lengths stay on the CPU
    return with_tensors(batch, lambda tensor: tensor.to(device), packed=lambda sequence: sequence.to(device))


def with_tensors(
    batch: Any, change: Callable[[Tensor], Tensor], *, packed: Callable[[Any], Any] = lambda sequence: sequence
) -> Any:
    """A batch of the same form with its tensors changed.

    Args:
        batch: tensors in lists, tuples and mappings; what else is in them stays.
        change: tensor -> tensor.
        packed: what becomes of packed sequences, whose tensors are not independent.
    """
    if isinstance(batch, Tensor):
        return change(batch)
    if isinstance(batch, list | tuple):
        if callable(getattr(batch, "to", None)):
            return packed(batch)
        items = [with_tensors(item, change, packed=packed) for item in cast(Sequence[Any], batch)]
        return type(batch)(*items) if hasattr(batch, "_fields") else type(batch)(items)  # a named tuple keeps its names
    if isinstance(batch, Mapping):
        given = cast(Mapping[Any, Any], batch)
        return {key: with_tensors(value, change, packed=packed) for key, value in given.items()}
    return batch
