"""The Hessian of the mean loss times its gradient."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from budbreak.evidence.averaging import WeightedMean
from budbreak.evidence.dtypes import check_real, check_wide_enough
from budbreak.evidence.evidence import ProbeContext
from budbreak.evidence.examples import drawn_like
from budbreak.evidence.gradients import Gradients
from budbreak.evidence.losses import check_twice
from budbreak.evidence.passes import gradients_of
from budbreak.evidence.steps import Conditions


@dataclass(frozen=True)
class HessianGradients:
    """H g of the mean loss over all batches as if they were one: name -> tensor.

    g = the gradient of `Gradients`, H = the Hessian, both with respect to the prunable weights. H g is the gradient of
    the product of g, held fixed, with the gradient, averaged over the batches as g is: a second pass, after that of
    `Gradients`; no Hessian is ever built. A weight that has no gradient is left out, as there.

    Args:
        mode: see `Gradients`.
        temperature: see `Gradients`.
    """

    mode: str = "eval"
    temperature: float = 1.0

    def __post_init__(self) -> None:
        Conditions.of(self)

    @property
    def after(self) -> tuple[Gradients]:
        """See `Probe`."""
        return (Gradients(self.mode, self.temperature),)

    def start(self, context: ProbeContext) -> Callable[[], Mapping[str, Tensor]]:
        """See `Probe.start`.

        Raises:
            InvalidValue: for weights that are complex, or float16; on a batch, if a kernel has one derivative only.
        """
        check_real(context.weights, "the Hessian times the gradient")
        check_wide_enough(context.weights, "the Hessian times the gradient")
        mean, (first,) = WeightedMean(context), self.after

        def listen(value: Tensor, parameters: Mapping[str, nn.Parameter], weight: float) -> None:
            mean.add(_product(value, parameters, context.evidence[first]), weight)

        context.on_loss(listen)
        return mean.result

    def example(self, weights: Mapping[str, Tensor], generator: torch.Generator) -> Mapping[str, Tensor]:
        """See `Probe`."""
        return {name: drawn_like(weight, generator) for name, weight in weights.items()}


def _product(value: Tensor, parameters: Mapping[str, nn.Parameter], vector: Mapping[str, Tensor]) -> dict[str, Tensor]:
    gradients = gradients_of(value, parameters, create_graph=True)
    along = [
        (gradient * vector[name].to(gradient.dtype)).sum() for name, gradient in gradients.items() if name in vector
    ]
    total: Tensor | int = sum(along)
    if isinstance(total, Tensor) and total.requires_grad:
        check_twice(total)
        products = gradients_of(total, parameters, retain_graph=True)
    else:  # the loss is linear in all weights
        products = {}
    return {name: products[name] if name in products else torch.zeros_like(parameters[name]) for name in gradients}
