"""How much the loss of single samples feels each weight: the diagonal of the empirical Fisher information."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from budbreak.evidence import ProbeContext, WeightedMean, drawn_like


@dataclass(frozen=True)
class FisherInformation:
    """The mean square of the gradient of a sample's loss, from the gradients of batches: name -> tensor, >= 0.

    f = (1/N) sum over batches of n * (n g_b^2), N = sum of n, g_b = the gradient of the mean loss of batch b over n
    samples. As g_b = g + the mean of n independent deviations, the expectation of n g_b^2 is the variance of the
    gradients of samples plus n g^2, g = that of all data; once a network is trained, g is next to nothing. In training
    mode, in float32 (float64 for float64 weights). A weight that no batch's loss depends on is left out.
    """

    mode = "train"

    def start(self, context: ProbeContext) -> Callable[[], Mapping[str, Tensor]]:
        """See `Probe.start`."""
        mean = WeightedMean(context)

        def listen(gradients: Mapping[str, Tensor], weight: float) -> None:
            mean.add({name: _wide(gradient).square() * weight for name, gradient in gradients.items()}, weight)

        context.on_gradients(listen)
        return mean.result

    def example(self, weights: Mapping[str, Tensor], generator: torch.Generator) -> Mapping[str, Tensor]:
        """See `Probe`."""
        return {name: drawn_like(weight, generator).square() for name, weight in weights.items()}


def _wide(gradient: Tensor) -> Tensor:
    return gradient.to(torch.promote_types(gradient.dtype, torch.float32))
