"""Taylor: weights whose removal changes the loss least, to first order, go first."""

from __future__ import annotations

from dataclasses import dataclass

from budbreak.evidence import Evidence, Gradients, Weights, reached
from budbreak.masks import Scores


@dataclass(frozen=True)
class Taylor:
    """Score weights by the first-order change of the loss if they were removed.

    score[i] = |w[i] * g[i]|, g = the gradient of the loss averaged over the calibration set.

    Source: Molchanov et al. 2017, arXiv 1611.06440; Blalock et al. 2020, arXiv 2003.03033.
    """

    needs = (Weights(), Gradients())

    def __call__(self, evidence: Evidence) -> Scores:
        """Scores: name -> float [shape of the weight], >= 0.

        Raises:
            MissingEvidence: without `Weights` and `Gradients`.
            InvalidValue: if a weight has no gradient; see `reached`.
        """
        return Scores.elementwise(lambda w, g: (w * g).abs(), evidence[Weights()], reached(evidence, Gradients()))
