"""SNIP: before training, weights whose removal changes the loss least, to first order, go first."""

from __future__ import annotations

from dataclasses import dataclass

from budbreak.checks import check_known
from budbreak.evidence import Evidence, Gradients, Probe, Weights, reached
from budbreak.masks import Scores


@dataclass(frozen=True)
class Snip:
    """Score weights of an untrained network by their connection sensitivity.

    score[i] = |w[i] * g[i]|, g = the gradient of the loss averaged over the calibration set: the derivative of the loss
    by a factor c[i] in front of the weight, at c = 1. The paper divides by the sum of all scores, which changes no
    order and is left out. On a trained network it is `Taylor`.

    Args:
        mode: "eval", as the authors' code runs the network (an untrained BatchNorm then lets its inputs pass), or
            "train": norms by the statistics of each batch.

    Source: Lee et al. 2019 (SNIP), arXiv 1810.02340, equation 6.
    """

    mode: str = "eval"
    at_initialization = True

    def __post_init__(self) -> None:
        check_known(f"mode is {self.mode!r}", self.mode, ("eval", "train"))

    @property
    def needs(self) -> tuple[Probe[object], ...]:
        """See `Criterion`."""
        return (Weights(), Gradients(self.mode))

    def __call__(self, evidence: Evidence) -> Scores:
        """Scores: name -> float [shape of the weight], >= 0.

        Raises:
            MissingEvidence: without `Weights` and `Gradients`.
            InvalidValue: if a weight has no gradient; see `reached`.
        """
        gradients = reached(evidence, Gradients(self.mode))
        return Scores.elementwise(lambda w, g: (w * g).abs(), evidence[Weights()], gradients)
