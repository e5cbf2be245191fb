"""Wanda: weights that are small, or multiply small inputs, go first."""

from __future__ import annotations

from dataclasses import dataclass

from budbreak.evidence import Evidence, InputNorms, Weights
from budbreak.masks import Rows, Scores


@dataclass(frozen=True)
class Wanda:
    """Score weights by magnitude times the norm of what they are multiplied with.

    score[o, j] = |w[o, j]| * norm[j], norm[j] = sqrt(sum of x[j]^2 over samples and positions), see `InputNorms`.

    The authors compare within each output (scope `masks.Rows`, which it has unless another is given), or within N:M.
    There any factor common to a layer cancels: their code takes the root mean over sequences instead of the sum. They
    prune layer after layer, so that inputs are those of what is pruned already; here all inputs are those of the
    network as it is.

    Source: Sun et al. 2023 (Wanda), arXiv 2306.11695, equation 1; for convolutions the same on unfolded inputs.
    """

    needs = (Weights(), InputNorms())
    scope = Rows()

    def __call__(self, evidence: Evidence) -> Scores:
        """Scores: name -> float [shape of the weight], >= 0.

        Raises:
            MissingEvidence: without `Weights` and `InputNorms`.
        """
        weights, seen = evidence[Weights()], evidence[InputNorms()]
        norms = {name: seen[name].of_columns(seen[name].norms, weight.shape) for name, weight in weights.items()}
        return Scores.elementwise(lambda w, norm: w.abs() * norm, weights, norms)
