"""Movement: weights that training pushes toward zero go first."""

from __future__ import annotations

from dataclasses import dataclass

from budbreak.evidence import Evidence, MovementSums, Reset, Weights, reached
from budbreak.masks import Scores


@dataclass(frozen=True)
class Movement:
    """Score weights by whether training moves them away from zero.

    score[i] = -(sum over the steps of a training of w[i] * g[i]), g = the gradient that the step is taken by: > 0 where
    gradient descent makes |w[i]| grow, < 0 where it shrinks it. Large weights go, too, if they shrink. Watched during
    the training before: for plans of `budbreak.iterate`.

    Args:
        reset: "level": the sum over the training before alone; "never": over all trainings so far.
        every: look at each so many-th step only: an estimate, for so much less time.

    Source: Sanh et al. 2020, arXiv 2005.07683 (movement pruning), equation 4. Differs: the weights are the network's
    own, trained with the mask of their level, where theirs are trained dense through a mask that is computed anew in
    each step; the constant learning rate is left out. Not `Displacement`, which asks how far a weight has come.
    """

    reset: Reset = "level"
    every: int = 1

    def __post_init__(self) -> None:
        MovementSums(self.reset, self.every)  # refuses what it cannot add up by

    @property
    def needs(self) -> tuple[Weights, MovementSums]:
        """See `Criterion`."""
        return Weights(), MovementSums(self.reset, self.every)

    def __call__(self, evidence: Evidence) -> Scores:
        """Scores: name -> float [shape of the weight], of any sign.

        Raises:
            MissingEvidence: without `Weights` and `MovementSums`.
            InvalidValue: if a weight had no gradient in any step that was looked at: it is frozen, or not used.
        """
        of_weights, of_steps = self.needs
        sums = reached(evidence, of_steps, miss="no step of the training had a gradient for", instead="train it")
        return Scores.elementwise(lambda _, moved: moved, evidence[of_weights], sums)
