"""Where scores compete: over all layers, or within each."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from budbreak.masks.contest import Contest
from budbreak.masks.prunable import Prunable, conv_and_linear
from budbreak.masks.threshold import select_competing


@dataclass(frozen=True)
class Global:
    """All scores of all layers compete with each other."""

    divides = False

    def fit(self, model: nn.Module, prunable: Prunable = conv_and_linear) -> Global:
        """See `Scope`."""
        return self

    def choose(self, contest: Contest) -> dict[str, Tensor]:
        """See `Scope`."""
        return select_competing(contest.scores, contest.keep, contest.limits)


@dataclass(frozen=True)
class Layer:
    """The scores of each layer compete among themselves, for a share that an allocation gives the layer."""

    divides = True

    def fit(self, model: nn.Module, prunable: Prunable = conv_and_linear) -> Layer:
        """See `Scope`."""
        return self

    def choose(self, contest: Contest) -> dict[str, Tensor]:
        """See `Scope`."""
        shares = contest.shares()
        return {
            name: select_competing({name: score}, shares[name], contest.limits)[name]
            for name, score in contest.scores.items()
        }
