"""SynFlow: without any data, weights through which least flows from inputs to outputs go first, round by round."""

from __future__ import annotations

from dataclasses import dataclass

from budbreak.checks import check_count
from budbreak.evidence import Evidence, Probe, SynapticFlow, Weights
from budbreak.masks import Scores


@dataclass(frozen=True)
class SynFlow:
    """Score weights by the flow that passes through them: no data, and no loss.

    score[i] = |w[i]| * dR/d|w[i]|, R = the sum over all paths from an input to an output of the product of the
    magnitudes along them; see `SynapticFlow`. So much of R would be lost without the weight. In a chain of layers the
    scores of each layer sum to R.

    Meant for an untrained network, scope "global" and many rounds: what was removed is zero, and the flow is measured
    again, on the path of `masks.exponential_path`. A layer that grows narrow then carries more flow per weight, and is
    not emptied.

    Args:
        rounds: 100 as in the paper.
        shape: of one input, without batch, e.g. (3, 32, 32): then no batches are needed. None: that of the first
            batch.

    Source: Tanaka et al. 2020 (SynFlow), arXiv 2006.05467, equation 2 and algorithm 1.
    """

    rounds: int = 100
    shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        check_count("rounds", self.rounds)
        object.__setattr__(self, "shape", SynapticFlow(self.shape).shape)

    @property
    def needs(self) -> tuple[Probe[object], ...]:
        """See `Criterion`."""
        return (Weights(), SynapticFlow(self.shape))

    def __call__(self, evidence: Evidence) -> Scores:
        """Scores: name -> float64 [shape of the weight], >= 0 but for rounding.

        Raises:
            MissingEvidence: without `Weights` and `SynapticFlow`.
        """
        flow = evidence[SynapticFlow(self.shape)]
        return Scores.elementwise(lambda w, through: w.abs() * through, evidence[Weights()], flow)
