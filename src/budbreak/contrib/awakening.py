"""Awakening: the evidence-based sibling of AP, which looks at which units are silent, and why."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from budbreak.checks import check_known
from budbreak.contrib.lifting import Lifting, Lifts, lift
from budbreak.evidence import Evidence, Gradients, Probe, Weights
from budbreak.masks import Scores

Cost = Literal["taylor", "square"]


@dataclass(frozen=True)
class Awakening:
    """Score weights that keep silent units silent by what their removal costs; spare all others.

    score[o, j] = cost[o, j] (1 - s[o]) / (s[o] lift[o, j]) where lift[o, j] > 0, else +inf.

    - lift[o, j] = -w[o, j] m[o, j] / d[o]: by how much unit o rises without the weight where it is silent, in
      deviations d[o] of its pre-activation; m[o, j] = the mean of input j over the outputs at which o is silent,
      see `Lifting`. So the sign that matters is that of w times what it meets, whatever the sign of the inputs.
    - ``centred``: m[o, j] less the mean of input j over all outputs. A BatchNorm takes away what all outputs have in
      common, so that only what silent ones have more of lifts them.
    - s[o] = the share of outputs at which o is silent: the nearer to dead, the sooner: (1 - s) / s are the odds.
    - cost[o, j] = the increase of the loss: |w g| to first order ("taylor", g = the gradient of the mean loss), or, to
      second order where all curvatures are alike, w^2 ("square"): at the end of a training g is small everywhere.

    Weights whose units are not seen (the last layer's; before a sum) are spared. As a second removal after a host; it
    is AP's idea with what AP does not look at.

    Args:
        cost: see above.
        centred: write True where BatchNorm stands behind the layers.

    Source: none.
    """

    cost: Cost = "taylor"
    centred: bool = False

    def __post_init__(self) -> None:
        check_known(f"cost is {self.cost!r}", self.cost, ("taylor", "square"))

    @property
    def needs(self) -> tuple[Probe[object], ...]:
        """Gradients only where they are the cost."""
        return (Weights(), Lifting(), Gradients()) if self.cost == "taylor" else (Weights(), Lifting())

    def __call__(self, evidence: Evidence) -> Scores:
        """Scores: name -> float64 [shape of the weight], >= 0 or +inf.

        Raises:
            MissingEvidence: without what it needs.
        """
        weights, seen = evidence[Weights()], evidence[Lifting()]
        slopes = evidence[Gradients()] if self.cost == "taylor" else weights
        odds = {name: self._odds(weight, seen.get(name)) for name, weight in weights.items()}
        return Scores.elementwise(_cost, weights, slopes, odds)

    def _odds(self, weight: Tensor, lifts: Lifts | None) -> Tensor:
        """(1 - s) / (s lift), >= 0; +inf where nothing is lifted: float64 [shape of the weight], where it lies."""
        if lifts is None:
            return torch.full_like(weight, math.inf, dtype=torch.float64)
        gain = lifts.share * lift(weight, lifts, centred=self.centred)
        odds = (1 - lifts.share) / torch.where(gain > 0, gain, 1.0)
        return torch.where(gain > 0, odds, math.inf).to(weight.device)


def _cost(w: Tensor, slope: Tensor, odds: Tensor) -> Tensor:
    cost = (w * slope).abs().double() * odds
    return torch.where(odds.isinf() & ~w.isnan(), math.inf, cost)  # 0 * inf is NaN; a NaN weight must stay one
