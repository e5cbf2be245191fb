"""The gradient of the mean loss over the calibration set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from budbreak.errors import EmptyBatches
from budbreak.evidence.evidence import ProbeContext


@dataclass(frozen=True)
class Gradients:
    """The gradient of the mean loss over all batches as if they were one: name -> tensor.

    g = (1/N) sum over batches of n * gradient of the batch's mean loss, N = sum of n, n = over how many terms (samples,
    labels that count) that mean was taken. Accumulated in float32 (float64 for float64 weights), in eval mode.
    """

    def start(self, context: ProbeContext) -> Callable[[], Mapping[str, Tensor]]:
        """See `Probe.start`."""
        sums: dict[str, Tensor] = {}
        count = [0.0]

        def add(gradients: Mapping[str, Tensor], samples: float) -> None:
            count[0] += samples
            for name, gradient in gradients.items():
                wide = gradient.to(torch.promote_types(gradient.dtype, torch.float32))
                if name in sums:
                    sums[name].add_(wide, alpha=samples)
                else:
                    sums[name] = wide * samples

        context.on_gradients(add)
        return lambda: _mean(*_over_ranks(context, sums, count[0]))


def _over_ranks(
    context: ProbeContext, sums: Mapping[str, Tensor], samples: float
) -> tuple[Mapping[str, Tensor], float]:
    """Both added up over the processes that observe together; one of them may have seen nothing."""
    if context.processes.size == 1:
        return sums, samples
    empty = {
        name: torch.zeros_like(weight, dtype=torch.promote_types(weight.dtype, torch.float32))
        for name, weight in context.weights.items()
    }
    return context.processes.sum({**empty, **sums}), sum(context.processes.exchange("samples", samples))


def _mean(sums: Mapping[str, Tensor], samples: float) -> Mapping[str, Tensor]:
    if samples == 0:
        raise EmptyBatches("no label of the batches counts", "a gradient needs at least one", "give more batches")
    return {name: total / samples for name, total in sums.items()}
