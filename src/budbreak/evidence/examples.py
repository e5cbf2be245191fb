"""Numbers that a probe might have seen, for tests of what reads them."""

from __future__ import annotations

import torch
from torch import Tensor

_ZEROS = 0.1
"""The share of exact zeros among them."""


def drawn(shape: torch.Size | tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Normal numbers, some of which are exactly 0: float32 [shape]."""
    numbers = torch.randn(shape, generator=generator)
    numbers[torch.rand(shape, generator=generator) < _ZEROS] = 0.0
    return numbers


def drawn_like(weight: Tensor, generator: torch.Generator) -> Tensor:
    """The same in the shape, dtype and memory format of a weight: equal numbers in each format."""
    return torch.empty_like(weight).copy_(drawn(weight.shape, generator))
