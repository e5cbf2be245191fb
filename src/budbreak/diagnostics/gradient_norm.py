"""The norm of the gradient over the kept weights: how much signal training still gets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from budbreak.diagnostics.measurement import Measurement, Quantity
from budbreak.errors import MaskMismatch
from budbreak.evidence import Evidence, Gradients, Weights
from budbreak.masks import Mask

_GROUP = "gradient flow"


@dataclass(frozen=True)
class GradientNorm:
    """How much gradient reaches the weights that stay: nothing moves along those of pruned weights.

    norm(l) = sqrt(sum over kept i of g[l, i]^2), g the gradient of the mean loss over the calibration set;
    gradient_norm = sqrt(sum over l of norm(l)^2), effective_gradient_flow = mean over l of norm(l), which weighs small
    weights as much as large ones. Sums are in float64. Per weight: norm(l), 0 where no batch's loss depends on it. A
    mask without entries has 0.

    Source: Tessera et al. 2021, arXiv 2102.01670 (effective gradient flow, p = 2).
    """

    needs = (Weights(), Gradients())
    quantities = (
        Quantity(
            "gradient_norm",
            "gradient norm",
            about="L2 norm of the mean gradient over the kept weights: 0 where training has nothing to follow.",
            group=_GROUP,
        ),
        Quantity(
            "effective_gradient_flow",
            "effective gradient flow",
            about="the mean over the layers of the norms of their kept weights' gradients.",
            group=_GROUP,
        ),
    )

    def __call__(self, evidence: Evidence, mask: Mask) -> Measurement:
        """See `Diagnostic`; weights that the mask does not cover are left out.

        Raises:
            MaskMismatch: if the mask covers a weight of which no gradient was collected.
        """
        gradients = evidence[Gradients()]
        norms = {name: _norm(gradients.get(_known(name, evidence[Weights()])), mask[name]) for name in mask}
        whole = math.sqrt(math.fsum(norm**2 for norm in norms.values()))
        flow = math.fsum(norms.values()) / max(1, len(norms))
        layers = {name: {"gradient_norm": norm} for name, norm in norms.items()}
        return Measurement({"gradient_norm": whole, "effective_gradient_flow": flow}, layers)


def _known(name: str, prunable: Mapping[str, Tensor]) -> str:
    if name in prunable:
        return name
    raise MaskMismatch(
        f"the mask covers {name!r}, of which no gradient was collected",
        "the gradients are those of the prunable weights",
        "probe and mask with the same prunable=",
    )


def _norm(gradient: Tensor | None, kept: Tensor) -> float:
    return 0.0 if gradient is None else float(gradient[kept.to(gradient.device)].double().norm())
