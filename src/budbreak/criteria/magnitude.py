"""Magnitude: small weights go first."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from budbreak.evidence import Evidence, Weights
from budbreak.masks import Scores


@dataclass(frozen=True)
class Magnitude:
    """Score weights by their magnitude.

    score[i] = |w[i]|.

    Source: Han et al. 2015, arXiv 1506.02626.

    Example:
        >>> from budbreak.evidence import Evidence
        >>> evidence = Evidence({Weights(): {"fc.weight": torch.tensor([[-2.0, 0.5]])}})
        >>> Magnitude()(evidence)["fc.weight"].tensor()
        tensor([[2.0000, 0.5000]])
    """

    needs = (Weights(),)

    def __call__(self, evidence: Evidence) -> Scores:
        """Scores: name -> float [shape of the weight], >= 0.

        Raises:
            MissingEvidence: without `Weights`.
        """
        return Scores.elementwise(torch.abs, evidence[Weights()])
