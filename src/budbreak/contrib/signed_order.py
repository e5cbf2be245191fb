"""AP's metric with its parts exchangeable: which sign, in which order, over which arena."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from budbreak.checks import check_known
from budbreak.criteria import Random
from budbreak.errors import InvalidValue
from budbreak.evidence import Evidence, Probe, StartWeights, Weights
from budbreak.masks import Score, Scores, ScoreSlice, sparing

Sign = Literal["negative", "positive", "any"]
Order = Literal["least-moved", "most-moved", "small", "random"]
Arena = Literal["global", "layer"]

_SPARED: Mapping[str, Callable[[Tensor], Tensor]] = {
    "negative": lambda w: w >= 0,
    "positive": lambda w: w <= 0,
    "any": lambda w: w == 0,
}
_ORDERS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "least-moved": lambda w, start: (w - start).abs(),
    "most-moved": lambda w, start: -(w - start).abs(),
    "small": lambda w, _: w.abs(),
    "random": lambda _, number: number,
}


@dataclass(frozen=True)
class SignedOrder:
    """Score the weights of one sign in some order, and spare all others.

    score[i] = order[i] if w[i] has the sign, else +inf, where order[i] is |w[i] - w_start[i]| (least-moved), its
    negative (most-moved), |w[i]| (small) or a uniform random number (random). At its defaults it is the AP metric,
    `budbreak.criteria.LeastMovedNegative`.

    Args:
        sign: of the weights that may go; pruned weights are 0 and have none.
        order: which of them go first.
        arena: ``"layer"``: score[i] is the place of the weight among those of its layer that may go, divided by the
            living weights of the layer, so that each layer loses about the same share. Weights that a host removes in
            the same level have their places too, so the shares are not exactly equal.
        spare: globs of weights of which none goes, e.g. ``("fc1.weight",)``.
        seed: of the random order.

    Source: none; parts to compare AP's with (Liu et al. 2023, arXiv 2212.06145, algorithm 1).
    """

    sign: Sign = "negative"
    order: Order = "least-moved"
    arena: Arena = "global"
    spare: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        for field, known in (("sign", _SPARED), ("order", _ORDERS), ("arena", ("global", "layer"))):
            check_known(f"{field} is {getattr(self, field)!r}", getattr(self, field), known)
        Random(self.seed)  # refuses what is no seed
        if self.seed and self.order != "random":
            rule = "only a random order draws: a field without effect is refused"
            raise InvalidValue(f"seed is {self.seed}", rule, 'leave it out, or write order="random"')

    @property
    def needs(self) -> tuple[Probe[object], ...]:
        """The weights; those of the start, where the order looks at how far they moved."""
        return (Weights(), StartWeights()) if self.order in ("least-moved", "most-moved") else (Weights(),)

    def __call__(self, evidence: Evidence) -> Scores:
        """Scores: name -> float [shape of the weight]; +inf for what is spared.

        Raises:
            MissingEvidence: without what it needs.
            UnknownName: if nothing has a name that is to be spared.
        """
        weights = evidence[Weights()]
        beside = evidence[StartWeights()] if StartWeights() in self.needs else self._numbers(evidence)
        spared, order = _SPARED[self.sign], _ORDERS[self.order]
        scores = Scores.elementwise(lambda w, x: torch.where(spared(w), math.inf, order(w, x)), weights, beside)
        if self.arena == "layer":
            scores = Scores({name: _ranked(scores[name], weight) for name, weight in weights.items()})
        return sparing(scores, self.spare)

    def replicate(self, seed: int) -> SignedOrder:
        """The criterion of another replicate; another one only where it draws."""
        return replace(self, seed=self.seed + seed) if self.order == "random" else self

    def _numbers(self, evidence: Evidence) -> Mapping[str, Tensor]:
        """What stands beside the weights where no start weights do: random numbers, or the weights once more."""
        if self.order != "random":
            return evidence[Weights()]
        numbers, weights = Random(self.seed)(evidence), evidence[Weights()]
        return {name: numbers[name].tensor().to(weight.device) for name, weight in weights.items()}


def _ranked(score: Score, weight: Tensor) -> Score:
    """The places of scores in ascending order, over the weights of the layer that are not 0."""

    def open_ranks() -> ScoreSlice:
        whole, size = score.tensor().reshape(-1), score.shape.numel()
        # flipped: of equal scores the lower index is kept, so it comes later
        ascending = size - 1 - whole.flip(0).argsort(stable=True)
        places = torch.empty(size, dtype=torch.float64, device=whole.device)
        numbers = torch.arange(size, dtype=torch.float64, device=whole.device)
        places[ascending] = numbers / max(1, int(weight.count_nonzero()))
        ranks = torch.where(whole.isfinite(), places, whole.double())
        return lambda lo, hi: ranks[lo:hi]

    return Score(score.shape, open_ranks)
