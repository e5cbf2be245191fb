"""The gradient of the mean loss over the calibration set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from budbreak.errors import EmptyBatches
from budbreak.evidence import View


@dataclass(frozen=True)
class Gradients:
    """The gradient of the loss, averaged over all samples of the batches: name -> tensor.

    g = (1/N) sum over batches of (samples in batch) * gradient of the batch's mean loss. Accumulated in
    float32 (float64 for float64 weights), in the mode (train or eval) that the probe runs the model in.
    """

    def start(self, view: View) -> Callable[[], Mapping[str, Tensor]]:
        """See `Probe.start`."""
        sums: dict[str, Tensor] = {}
        count = [0]

        def add(gradients: Mapping[str, Tensor], samples: int) -> None:
            count[0] += samples
            for name, gradient in gradients.items():
                wide = gradient.to(torch.promote_types(gradient.dtype, torch.float32))
                if name in sums:
                    sums[name].add_(wide, alpha=samples)
                else:
                    sums[name] = wide * samples

        view.on_gradients(add)
        return lambda: _mean(sums, count[0])


def _mean(sums: Mapping[str, Tensor], samples: int) -> Mapping[str, Tensor]:
    if samples == 0:
        raise EmptyBatches("the batches held no sample", "a gradient needs at least one sample", "give more batches")
    return {name: total / samples for name, total in sums.items()}
