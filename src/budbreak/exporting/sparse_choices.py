"""Which linear layers became sparse, and why: what was measured."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn


@dataclass(frozen=True)
class LayerChoice:
    """One linear layer, as it was measured.

    Args:
        name: its path.
        sparsity: share of its weights that are zero.
        rows: how many inputs it gets at once, on the example; 0 where it was not measured.
        dense, sparse: seconds of one call; median.
        speedup: how many times as long the dense one takes, by neighbouring samples; ``low``, ``high``: quartiles.
        why: why it stays dense; "" where it became sparse.
    """

    name: str
    sparsity: float
    rows: int = 0
    dense: float = 0.0
    sparse: float = 0.0
    speedup: float = 0.0
    low: float = 0.0
    high: float = 0.0
    why: str = ""

    def __str__(self) -> str:
        """In a line."""
        said = f"{self.name}: sparsity {self.sparsity:.3f}"
        if self.rows:
            said += f", {self.rows} rows, {1e6 * self.dense:.1f} us dense, {1e6 * self.sparse:.1f} us sparse"
            said += f", {self.speedup:.2f}x ({self.low:.2f} to {self.high:.2f})"
        return f"{said}: {f'stays dense, {self.why}' if self.why else 'sparse'}"


@dataclass(frozen=True, eq=False)
class Sparsified:
    """What `sparsify` gives.

    Args:
        model: with sparse layers where they are faster, in eval mode; for inference on the CPU, in this process.
        layers: every linear layer, with its choice.
        difference: the largest difference of an output on the example.
        dense, sparse: seconds of one pass of the whole model on the example; 0 where no layer became sparse.
        speedup: how many times as long the dense one takes.
        threads: of torch, while it was measured.
    """

    model: nn.Module = field(repr=False)
    layers: tuple[LayerChoice, ...]
    difference: float = 0.0
    dense: float = 0.0
    sparse: float = 0.0
    speedup: float = 1.0
    threads: int = field(default_factory=torch.get_num_threads)

    def __str__(self) -> str:
        """A line for each layer, and one for the whole."""
        if not self.dense:
            return "\n".join([*map(str, self.layers), "no layer became sparse"])
        times = f"{1e6 * self.dense:.1f} us dense, {1e6 * self.sparse:.1f} us sparse, {self.speedup:.2f}x"
        times += f", {self.threads} thread{'s' * (self.threads > 1)}"
        return "\n".join([*map(str, self.layers), f"the whole: {times}; outputs differ by {self.difference:.3g}"])
