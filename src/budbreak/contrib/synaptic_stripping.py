"""Synaptic Stripping: of units that are dead on all samples, the most negative weights go."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from budbreak.checks import check_fraction, check_number
from budbreak.errors import NoSites
from budbreak.evidence import Evidence, Probe, SiteCounts, UnitCounts, Weights
from budbreak.masks import Score, Scores, ScoreSlice, UnitLayout


@dataclass(frozen=True)
class SynapticStripping:
    """Score the most negative weights of dead units by their place among those of their unit; spare all others.

    score[i] = k / n where unit(i) is dead and k < share (n - 1), else +inf; n = the living weights of the unit, k = the
    place of w[i] among them in ascending order, from 0; of equal weights the lower index comes last. So each dead unit
    loses the same share of its weights, whatever their size; a unit with one weight left keeps it. The rule goes by
    the sign of weights, as AP does, so it is right where inputs are >= 0.

    Units without a living weight, those that a sum decides, and those before a smooth nonlinearity are left alone.

    Args:
        share: of a dead unit's living weights, how many go at once, in (0, 1].
        activity: a unit is dead if it is active on at most this share of samples and positions: 0 as in the paper.

    Source: Whitaker & Whitley 2023, arXiv 2302.05818, and the authors' code: there, after each epoch, weights below the
    quantile ``share`` of their unit go, with units that are dead on the whole test set; here on the calibration set.
    """

    share: float = 0.05
    activity: float = 0.0

    def __post_init__(self) -> None:
        check_number("share", self.share, usual="0.05", zero=False, most=1.0)
        check_fraction("activity", self.activity)

    @property
    def needs(self) -> tuple[Probe[object], ...]:
        """See `Criterion`."""
        return (Weights(), UnitCounts())

    def __call__(self, evidence: Evidence) -> Scores:
        """Scores: name -> float64 [shape of the weight], in [0, 1) or +inf.

        Raises:
            MissingEvidence: without `Weights` and `UnitCounts`.
            NoSites: if no weight alone feeds a site that gives exact zeros.
        """
        weights, counts = evidence[Weights()], evidence[UnitCounts()]
        telling = [count for count in counts.values() if count.site.exact_zeros and count.site.feed is not None]
        if not telling:
            raise NoSites(
                f"none of {list(weights)} alone feeds a nonlinearity that gives exact zeros",
                "units are dead where they give 0 on all samples",
                "choose another criterion for smooth activations, and where all units are sums",
            )
        return Scores({name: self._score(weight, _active(name, telling)) for name, weight in weights.items()})

    def _score(self, weight: Tensor, active: tuple[UnitLayout, Tensor] | None) -> Score:
        def open_slices() -> ScoreSlice:
            flat = self._scored(weight, active).reshape(-1)
            return lambda lo, hi: flat[lo:hi]

        return Score(weight.shape, open_slices)

    def _scored(self, weight: Tensor, active: tuple[UnitLayout, Tensor] | None) -> Tensor:
        if active is None:
            return torch.full_like(weight, math.inf, dtype=torch.float64)
        units, shares = active
        rows = units.rows(weight.detach())
        scores = torch.full_like(rows, math.inf, dtype=torch.float64)
        dead = (shares <= self.activity).to(rows.device)
        scores[dead] = _places(rows[dead], self.share)
        return units.restore(scores, weight.shape)


def _active(name: str, counts: Iterable[SiteCounts]) -> tuple[UnitLayout, Tensor] | None:
    """Where the units of a weight lie, and on which share of outputs each is active [units]; None if nothing tells."""
    fed = [(feed.units, count) for count in counts if (feed := count.site.feed) is not None and feed.weight == name]
    if not fed:
        return None
    active = torch.stack([count.active.sum(1) for _, count in fed]).sum(0)
    return fed[0][0], active.double() / sum(count.samples * count.active.shape[1] for _, count in fed)


def _places(rows: Tensor, share: float) -> Tensor:
    """The score of each weight of some dead units: float64 [units, members]."""
    living = rows != 0
    ordered = torch.where(living, rows, math.inf).flip(1).argsort(dim=1, stable=True)
    places, count = ordered.argsort(dim=1).flip(1).double(), living.sum(1, keepdim=True)
    return torch.where(living & (places < share * (count - 1)), places / count.clamp_min(1), math.inf)
