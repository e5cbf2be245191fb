"""A criterion of your own, in a file beside the recipe that names it: mine.toml."""

from dataclasses import dataclass

import budbreak as bb
from budbreak.evidence import StartWeights, Weights


@dataclass(frozen=True)
class Mine:
    """Keep weights that grew: score[i] = |w[i]| - alpha * |w_start[i]|."""

    alpha: float = 1.0

    needs = (Weights(), StartWeights())

    def __call__(self, evidence: bb.Evidence) -> bb.Scores:
        """Scores: name -> float [shape of the weight]; higher = keep."""
        return bb.Scores.elementwise(
            lambda w, start: w.abs() - self.alpha * start.abs(), evidence[Weights()], evidence[StartWeights()]
        )
