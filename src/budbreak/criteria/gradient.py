"""Gradient: weights that the loss hardly feels go first."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from budbreak.evidence import Evidence, Gradients, Weights, reached
from budbreak.masks import Scores


@dataclass(frozen=True)
class Gradient:
    """Score weights by the magnitude of their mean gradient.

    score[i] = |g[i]|, g = the gradient of the loss averaged over the calibration set.

    Source: Blalock et al. 2020, arXiv 2003.03033 (gradient magnitude).
    """

    needs = (Weights(), Gradients())

    def __call__(self, evidence: Evidence) -> Scores:
        """Scores: name -> float [shape of the weight], >= 0.

        Raises:
            MissingEvidence: without `Weights` and `Gradients`.
            InvalidValue: if a weight has no gradient; see `reached`.
        """
        return Scores.elementwise(torch.abs, reached(evidence, Gradients()))
