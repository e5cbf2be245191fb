"""The AP metric: negative weights that training moved least go first, everything else stays."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from budbreak.errors import InvalidValue
from budbreak.evidence import Evidence, StartWeights, Weights
from budbreak.masks import Scores


@dataclass(frozen=True)
class LeastMovedNegative:
    """Score negative weights by their displacement; spare all others.

    score[i] = |w[i] - w_start[i]| if w[i] < 0, else +inf.

    The inputs of a hidden ReLU layer are >= 0, so a negative weight can only push a pre-activation down:
    without it the unit fires at least as often. Selected within what a host criterion kept.
    Source: Liu et al. 2023 (AP), TMLR, arXiv 2212.06145, algorithm 1.
    """

    needs = (Weights(), StartWeights())

    def __call__(self, evidence: Evidence) -> Scores:
        """Scores: name -> float [shape of the weight], >= 0 or +inf.

        Raises:
            MissingEvidence: without `Weights` and `StartWeights`.
            InvalidValue: for complex weights, which are neither negative nor positive.
        """
        for name, weight in evidence[Weights()].items():
            if weight.is_complex():
                raise InvalidValue(
                    f"{name!r} is {weight.dtype}",
                    "least-moved-negative needs real weights: complex ones have no sign",
                    "leave them out by bb.excluding, or choose another criterion",
                )
        return Scores.elementwise(_least_moved_negative, evidence[Weights()], evidence[StartWeights()])


def _least_moved_negative(w: Tensor, start: Tensor) -> Tensor:
    # not "else inf": a NaN weight must reach the selection and be refused there
    return torch.where(w >= 0, math.inf, (w - start).abs())
