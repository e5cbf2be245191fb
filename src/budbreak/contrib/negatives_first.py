"""AP without a host: all that a level removes, by AP's own metric."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from budbreak.evidence import Evidence, StartWeights, Weights
from budbreak.masks import Scores


@dataclass(frozen=True)
class NegativesFirst:
    """Score negative weights by their displacement, and all others likewise, but after them.

    score[i] = d / (1 + d) if w[i] < 0, else 1 + d / (1 + d); d = |w[i] - w_start[i]|, in float64. As a host it never
    runs out of candidates, which the AP metric alone does once the negative weights are gone.

    Source: none; for the ablation "AP alone" of Liu et al. 2023, arXiv 2212.06145.
    """

    needs = (Weights(), StartWeights())

    def __call__(self, evidence: Evidence) -> Scores:
        """Scores: name -> float64 [shape of the weight], in [0, 2].

        Raises:
            MissingEvidence: without `Weights` and `StartWeights`.
        """
        return Scores.elementwise(_negatives_first, evidence[Weights()], evidence[StartWeights()])


def _negatives_first(w: Tensor, start: Tensor) -> Tensor:
    moved = (w.double() - start.double()).abs()
    return moved / (1 + moved) + torch.where(w < 0, 0.0, 1.0)
