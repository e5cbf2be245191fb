"""The evidence-based sibling of AP: weights that keep nearly dead units from firing go first, cheap ones before."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from budbreak.contrib.fisher import FisherInformation
from budbreak.contrib.waking_slopes import WakingSlopes
from budbreak.evidence import Evidence, Probe, Weights, reached
from budbreak.masks import Scores

_LEAST_GAIN = 1e-5
"""In deviations of one unit: less is none. What BatchNorm takes away leaves a rounding error of 1e-7."""


@dataclass(frozen=True)
class DeadUnitWaker:
    """Score weights whose removal wakes nearly dead units by what it costs for what it gains; spare all others.

    score[i] = (cost[i] + price) / gain[i] where gain[i] > 1e-5 and cost[i] <= price, else +inf.

    - gain[i] = -w[i] * slope[i]: how much nearer to firing the nearly dead units come when w[i] goes, to first order,
      see `WakingSlopes`. The sign that counts is that of w times what it meets, wherever in the network, not that of
      w; what a norm takes away again is no gain.
    - cost[i] = w[i]^2 f[i] / 2: how much the loss grows, to second order, see `FisherInformation`. To first order, by
      |w g|, it would be a small number by chance wherever g changes sign, and the order that of chance.
    - price: the median of the costs that are not 0. The budget counts weights, so that each that goes has a price:
      without it, what costs nothing would go first however little it gains; of units that are dead on all samples
      nothing costs anything. What costs more is not worth it, whatever it gains.

    For a second removal after a host, in the place of `budbreak.criteria.LeastMovedNegative`, which is AP's answer to
    the same question without a look at an activation. Where no unit is nearly dead, it has no candidates.

    Args:
        activity: see `WakingSlopes`.

    Source: none. Costs: Theis et al. 2018, arXiv 1801.05787 (Fisher pruning).
    """

    activity: float = 0.05

    def __post_init__(self) -> None:
        WakingSlopes(self.activity)  # refuses what is no share

    @property
    def needs(self) -> tuple[Probe[object], ...]:
        """See `Criterion`."""
        return (Weights(), WakingSlopes(self.activity), FisherInformation())

    def __call__(self, evidence: Evidence) -> Scores:
        """Scores: name -> float [shape of the weight], >= 0 or +inf.

        Raises:
            MissingEvidence: without what it needs.
            InvalidValue: if a weight has no gradient; see `reached`.
        """
        weights, fisher = evidence[Weights()], reached(evidence, FisherInformation())
        price = _median_cost(weights, fisher)

        def score(w: Tensor, slope: Tensor, information: Tensor) -> Tensor:
            gain, cost = -w * slope, _cost(w, information)
            # not "else inf": a NaN weight must reach the selection and be refused there
            return torch.where((gain <= _LEAST_GAIN) | (cost > price), math.inf, (cost + price) / gain)

        return Scores.elementwise(score, weights, evidence[WakingSlopes(self.activity)], fisher)


def _cost(w: Tensor, information: Tensor) -> Tensor:
    return w.square() * information / 2


def _median_cost(weights: Mapping[str, Tensor], fisher: Mapping[str, Tensor]) -> float:
    """Of the costs that are not 0; 1 if all are, so that gains alone give the order."""
    costs = [_cost(weight.to(fisher[name].dtype), fisher[name]).flatten() for name, weight in weights.items()]
    paid = torch.cat([cost[cost > 0].cpu() for cost in costs])
    return float(paid.median()) if len(paid) else 1.0
