"""GraSP: before training, weights that hold the gradient back go first, those that carry it stay."""

from __future__ import annotations

from dataclasses import dataclass

from budbreak.checks import check_known, check_number
from budbreak.evidence import Evidence, HessianGradients, Probe, Weights, reached
from budbreak.masks import Scores


@dataclass(frozen=True)
class GraSP:
    """Score weights of an untrained network by how much of the gradient's norm is lost without them.

    score[i] = w[i] * (H g)[i], g and H = gradient and Hessian of the mean loss over the calibration set, with respect
    to the prunable weights, outputs divided by the temperature.

    Without weight i the weights change by -w[i] along i, and the squared norm of the gradient, by which the loss falls
    in a step of gradient descent, by -2 w[i] (H g)[i] to first order. So a high score is a loss of gradient flow, and
    stays; a negative one is a gain, and goes first. The paper's S(-w) is minus this score, and removes the largest; its
    division by the absolute sum of all scores changes no order and is left out.

    Args:
        temperature: 200 as in the authors' code: it brings the softmax near to uniform. Outputs must be one tensor.
        mode: "train", as the authors' code runs the network: norms by the statistics of each batch; or "eval".

    Source: Wang et al. 2020 (GraSP), arXiv 2002.07376, equation 8. The authors' code draws the weights of linear layers
    anew before it scores; here the network is scored as it is.
    """

    temperature: float = 200.0
    mode: str = "train"
    at_initialization = True

    def __post_init__(self) -> None:
        check_known(f"mode is {self.mode!r}", self.mode, ("eval", "train"))
        check_number("temperature", self.temperature, usual="200", zero=False)

    @property
    def needs(self) -> tuple[Probe[object], ...]:
        """See `Criterion`."""
        return (Weights(), HessianGradients(self.mode, self.temperature))

    def __call__(self, evidence: Evidence) -> Scores:
        """Scores: name -> float [shape of the weight], of either sign.

        Raises:
            MissingEvidence: without `Weights` and `HessianGradients`.
            InvalidValue: if a weight has no gradient; see `reached`.
        """
        products = reached(evidence, HessianGradients(self.mode, self.temperature))
        return Scores.elementwise(lambda w, product: w * product, evidence[Weights()], products)
