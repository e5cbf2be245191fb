"""Set pruned entries of tensors to zero, exactly: also those that are NaN or infinite."""

from __future__ import annotations

import torch
from torch import Tensor

from budbreak.errors import InvalidValue

_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def bits(tensor: Tensor) -> Tensor:
    """The memory of a dense tensor as integers of the same width; writing to them writes to it.

    Integers, because 0 * NaN and 0 * inf are NaN, while any bits times 0 are +0.0, and times 1 themselves. It costs
    the same (in bfloat16 a quarter), and needs no test of what is finite.

    Raises:
        InvalidValue: for complex128, as which there are no integers.
    """
    if tensor.element_size() not in _INTEGERS:
        raise InvalidValue(f"a weight is {tensor.dtype}", "it has at most 8 bytes", "use complex64 instead")
    return tensor.detach().view(_INTEGERS[tensor.element_size()])


def factor_for(entry: Tensor, tensor: Tensor) -> Tensor:
    """A mask's entry as what ``bits(tensor)`` is multiplied by: 1 = kept, 0 = pruned.

    In its width and memory format: a bool mask would cost 3-5 times as much.
    """
    return torch.empty_like(bits(tensor)).copy_(entry)


def zero_pruned(tensor: Tensor, entry: Tensor) -> None:
    """Zero, in place, where ``entry`` (a mask's, or made by `factor_for`) is False or 0."""
    if tensor.is_sparse:  # coalesced, as `torch.Tensor.coalesce` leaves it
        tensor, entry = tensor.values(), entry[tuple(tensor.indices().to(entry.device))]
    numbers = bits(tensor)
    numbers.mul_(entry.to(numbers.device, numbers.dtype))
