"""LAMP: magnitudes made comparable between layers."""

from __future__ import annotations

from dataclasses import dataclass

from budbreak.evidence import Evidence, Weights
from budbreak.masks import Scores, ShareScore


@dataclass(frozen=True)
class Lamp:
    """Score weights by their share of what would be left of their layer if all smaller ones were gone.

    score[i] = w[i]^2 / (sum of w[j]^2 over all j of the same weight with |w[j]| >= |w[i]|), in float64; 0 where w[i]
    is 0, as pruned weights are, which therefore add nothing. Equal magnitudes have equal scores. The largest magnitude
    of a weight scores 1 (1/n where n share it), so that no layer goes empty before all others are down to one. Meant
    for scope "global"; within one layer the order is that of magnitude.

    Source: Lee et al. 2021, arXiv 2010.07611, equation 2. The authors' code breaks ties by sorting: of equal magnitudes
    one scores higher there than the other.
    """

    needs = (Weights(),)

    def __call__(self, evidence: Evidence) -> Scores:
        """Scores: name -> float64 [shape of the weight], in [0, 1].

        Raises:
            MissingEvidence: without `Weights`.
        """
        return Scores({name: ShareScore.of(weight) for name, weight in evidence[Weights()].items()})
