"""LAMP: magnitudes made comparable between layers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from budbreak.evidence import Evidence, Weights
from budbreak.masks import Score, Scores, ScoreSlice


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
        return Scores(
            {name: Score(weight.shape, lambda w=weight: _opened(w)) for name, weight in evidence[Weights()].items()}
        )


def _opened(weight: Tensor) -> ScoreSlice:
    squares = weight.detach().reshape(-1).abs().double().square()
    ascending = squares.sort().values
    at_least = ascending.flip(0).cumsum(0).flip(0)  # the sum of all squares from here on

    def score(lo: int, hi: int) -> Tensor:
        own = squares[lo:hi]
        total = at_least[torch.searchsorted(ascending, own)]
        return torch.where(own > 0, own / total, own)

    return score
