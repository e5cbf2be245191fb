"""The gradient of the mean loss over the calibration set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from budbreak.evidence.averaging import WeightedMean
from budbreak.evidence.evidence import ProbeContext
from budbreak.evidence.examples import drawn_like
from budbreak.evidence.steps import Conditions


@dataclass(frozen=True)
class Gradients:
    """The gradient of the mean loss over all batches as if they were one: name -> tensor.

    g = (1/N) sum over batches of n * gradient of the batch's mean loss, N = sum of n, n = over how many terms (samples,
    labels that count) that mean was taken. Accumulated in float32 (float64 for float64 weights). A weight that no
    batch's loss depends on has no gradient, and is left out: its layer was never called, or what it gives is not used.
    Criteria read them by `reached`, which refuses it; where units are dead, gradients are there, and 0.

    Args:
        mode: "eval", or "train": norms by the statistics of each batch, dropout at work.
        temperature: outputs are divided by it before the loss, > 0.
    """

    mode: str = "eval"
    temperature: float = 1.0

    def __post_init__(self) -> None:
        Conditions.of(self)

    def start(self, context: ProbeContext) -> Callable[[], Mapping[str, Tensor]]:
        """See `Probe.start`."""
        mean = WeightedMean(context)
        context.on_gradients(mean.add)
        return mean.result

    def example(self, weights: Mapping[str, Tensor], generator: torch.Generator) -> Mapping[str, Tensor]:
        """See `Probe`."""
        return {name: drawn_like(weight, generator) for name, weight in weights.items()}
