"""Activation count: the weights of units that seldom fire go first."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from budbreak.evidence import ActivationCounts, Event, Evidence, Increment, Reset, Weights
from budbreak.masks import Score, Scores


@dataclass(frozen=True)
class ActivationCount:
    """Score weights by how often the unit that they feed was active during training.

    score[i] = c[u] / n[u], u = the unit that weight i feeds, c[u] = in how many of its n[u] outputs it was active, or
    what ``event`` and ``increment`` count instead; with ``weighted``, times |w[i]|. Without, all weights of a unit are
    equal: units go whole, the last one in part, unless the granularity is `Unit`. A unit that was never active goes
    first. Watched during the trainings before: for plans of `budbreak.iterate`.

    Weights that feed no nonlinearity alone are spared (+inf): those of the network's outputs, and those before a
    residual sum. Should what is left be too little for a level, the first one says so.

    Args:
        weighted: times the magnitude of each weight.
        threshold, every, reset, event, increment, decay, accuracy: of `ActivationCounts`.

    Source: Ganguli & Chong 2024, doi 10.3390/a17010048: "neuron", and "neuron_wts" if weighted. Differs: frequencies
    for counts, which order the units of an MLP alike, and let channels compete whose images have more positions.
    """

    weighted: bool = False
    threshold: float = 0.0
    every: int = 1
    reset: Reset = "never"
    event: Event = "active"
    increment: Increment = "count"
    decay: float = 1.0
    accuracy: str = "accuracy"
    spares_alike = True

    def __post_init__(self) -> None:
        _ = self.needs  # refuses what it cannot count by

    @property
    def needs(self) -> tuple[Weights, ActivationCounts]:
        """See `Criterion`."""
        counts = ActivationCounts(
            self.threshold, self.every, self.reset, self.event, self.increment, self.decay, self.accuracy
        )
        return Weights(), counts

    def __call__(self, evidence: Evidence) -> Scores:
        """Scores: name -> float64 [shape of the weight], or +inf; >= 0 but for sums of outputs below 0.

        Raises:
            MissingEvidence: without `Weights` and `ActivationCounts`.
        """
        of_weights, of_units = self.needs
        weights, activity = evidence[of_weights], evidence[of_units]
        frequencies = {name: activity[name].frequency for name in weights if name in activity}
        return Scores({name: self._score(weight, frequencies.get(name)) for name, weight in weights.items()})

    def _score(self, weight: Tensor, frequency: Tensor | None) -> Score:
        """Of the weights that feed units of this frequency, broadcastable to them; spared where they feed none."""
        frequency = (
            weight.new_full((1,) * weight.dim(), math.inf, dtype=torch.float64) if frequency is None else frequency
        )
        formula = _alone if not self.weighted else _finite if bool(frequency.isfinite().all()) else _unlimited
        return Scores.elementwise(formula, {"": weight}, {"": frequency.expand(weight.shape)})[""]


def _alone(w: Tensor, frequency: Tensor) -> Tensor:
    return frequency


def _finite(w: Tensor, frequency: Tensor) -> Tensor:
    return w.abs().double().mul_(frequency)  # a third less time than a product of two dtypes


def _unlimited(w: Tensor, frequency: Tensor) -> Tensor:
    # not w * inf, which is NaN for a weight of 0
    return torch.where(frequency.isinf(), frequency, _finite(w, frequency))
