"""Displacement: weights that training moved least go first."""

from __future__ import annotations

from dataclasses import dataclass

from budbreak.evidence import Evidence, StartWeights, Weights
from budbreak.masks import Scores


@dataclass(frozen=True)
class Displacement:
    """Score weights by how far this level's training moved them.

    score[i] = |w[i] - w_start[i]|, w_start = the weight at the start of the level, after rewinding.

    Source: the published code of Liu et al. 2023 (AP), arXiv 2212.06145, where it stands for gradient pruning. Not
    movement pruning (Sanh et al. 2020, arXiv 2005.07683), which sums w*g.
    """

    needs = (Weights(), StartWeights())

    def __call__(self, evidence: Evidence) -> Scores:
        """Scores: name -> float [shape of the weight], >= 0.

        Raises:
            MissingEvidence: without `Weights` and `StartWeights`.
        """
        return Scores.elementwise(lambda w, start: (w - start).abs(), evidence[Weights()], evidence[StartWeights()])
