"""APoZ: units whose outputs are zero most often go first."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from budbreak.errors import NoSites
from budbreak.evidence import Evidence, Probe, SiteCounts, UnitCounts, Weights
from budbreak.masks import Score, Scores, ScoreSlice, UnitLayout


@dataclass(frozen=True)
class APoZ:
    """Score the weights of a unit by how often it fires: one minus its average percentage of zeros.

    score[i] = share of samples and positions in which |output of the unit that w[i] feeds| > threshold, in [0, 1]: all
    weights of a unit score alike, so that it goes as one with granularity `Unit`. Of a weight that feeds several sites
    (a module called again) all count together.

    A weight that alone feeds no site is spared (+inf): the classifier's, those that end in a residual sum, and those
    before a smooth nonlinearity, whose outputs are never exactly 0, as long as the threshold is 0.

    Args:
        threshold: outputs up to this magnitude count as zeros: 0 for ReLU; a smooth activation needs one.

    Source: Hu et al. 2016 (network trimming), arXiv 1607.03250, equation 1.
    """

    threshold: float = 0.0
    spares_alike = True

    def __post_init__(self) -> None:
        UnitCounts(self.threshold)

    @property
    def needs(self) -> tuple[Probe[object], ...]:
        """See `Criterion`."""
        return (Weights(), UnitCounts(self.threshold))

    def __call__(self, evidence: Evidence) -> Scores:
        """Scores: name -> float64 [shape of the weight], in [0, 1], or +inf.

        Raises:
            MissingEvidence: without `Weights` and `UnitCounts`.
            NoSites: if no weight feeds a site in which zeros can be counted.
        """
        weights, counts = evidence[Weights()], evidence[UnitCounts(self.threshold)]
        telling = [count for count in counts.values() if count.site.exact_zeros or self.threshold > 0]
        fired = {name: _fired(name, telling) for name in weights}
        if all(answer is None for answer in fired.values()):
            raise NoSites(
                f"none of {list(weights)} alone feeds a nonlinearity that gives exact zeros",
                "units are scored by their zeros",
                "give APoZ(threshold=0.01), say, for smooth activations; or choose another criterion",
            )
        return Scores({name: _score(fired[name], weight.shape) for name, weight in weights.items()})


def _fired(name: str, counts: Iterable[SiteCounts]) -> tuple[UnitLayout, Tensor] | None:
    """Where the units of a weight lie, and how often each fires [units]; None if nothing tells."""
    fed = [(feed.units, count) for count in counts if (feed := count.site.feed) is not None and feed.weight == name]
    if not fed:
        return None
    active = torch.stack([count.active.sum(1) for _, count in fed]).sum(0)
    outputs = sum(count.samples * count.active.shape[1] for _, count in fed)
    return fed[0][0], active.double() / outputs


def _score(fired: tuple[UnitLayout, Tensor] | None, shape: torch.Size) -> Score:
    if fired is None:
        return Score(shape, lambda: lambda lo, hi: torch.full((hi - lo,), math.inf))
    units, shares = fired

    def open_slices() -> ScoreSlice:
        flat = units.spread(shares, shape).reshape(-1)
        return lambda lo, hi: flat[lo:hi]

    return Score(shape, open_slices)
