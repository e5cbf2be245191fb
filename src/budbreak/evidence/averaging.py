"""Means over batches of different weights, and over the processes that observe together."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from budbreak.errors import EmptyBatches
from budbreak.evidence.evidence import ProbeContext


class WeightedMean:
    """The mean of tensors, one for each prunable weight, over all batches as if they were one.

    mean = (1/N) sum over batches of n * tensor, N = sum of n; in float32, in float64 for float64 weights. A tensor that
    a batch lacks counts as 0 there; one that all batches lack, in all processes, has no mean.

    Args:
        context: whose weights and processes.
    """

    def __init__(self, context: ProbeContext) -> None:
        self._context = context
        self._sums: dict[str, Tensor] = {}
        self._total = 0.0

    def add(self, tensors: Mapping[str, Tensor], weight: float) -> None:
        """Take in those of one batch, which weighs n = ``weight``."""
        self._total += weight
        for name, tensor in tensors.items():
            wide = tensor.to(torch.promote_types(tensor.dtype, torch.float32))
            if name in self._sums:
                self._sums[name].add_(wide, alpha=weight)
            else:
                self._sums[name] = wide * weight

    def result(self) -> Mapping[str, Tensor]:
        """The mean, in the order of the weights.

        Raises:
            EmptyBatches: if nothing weighs anything, in no process.
        """
        sums, total = self._over_ranks()
        if total == 0:
            raise EmptyBatches("no label of the batches counts", "a gradient needs at least one", "give more batches")
        return {name: sums[name] / total for name in self._context.weights if name in sums}

    def _over_ranks(self) -> tuple[Mapping[str, Tensor], float]:
        """Both added up over the processes, of which one may have seen nothing."""
        processes = self._context.processes
        if processes.size == 1:
            return self._sums, self._total
        known = {name for names in processes.exchange("the names of means", list(self._sums)) for name in names}
        empty = {
            name: torch.zeros_like(weight, dtype=torch.promote_types(weight.dtype, torch.float32))
            for name, weight in self._context.weights.items()
            if name in known
        }
        return processes.sum({**empty, **self._sums}), sum(processes.exchange("samples", self._total))
