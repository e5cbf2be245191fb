"""Where scores compete: over all layers, or within each."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from budbreak.masks.contest import Contest
from budbreak.masks.prunable import Prunable, conv_and_linear
from budbreak.masks.threshold import select_competing


@dataclass(frozen=True)
class Global:
    """All scores of all layers compete with each other.

    With a floor, a layer that would keep less keeps its highest scores up to the floor, and the others compete for the
    rest.
    """

    divides = False

    def fit(self, model: nn.Module, prunable: Prunable = conv_and_linear) -> Global:
        """See `Scope`."""
        return self

    def choose(self, contest: Contest) -> dict[str, Tensor]:
        """See `Scope`."""
        fixed: dict[str, Tensor] = {}
        left = contest.keep
        while True:
            rest = {name: score for name, score in contest.scores.items() if name not in fixed}
            kept = {**fixed, **select_competing(rest, left, contest.limits)}
            short = [name for name in rest if _is_below(kept[name], contest.floors[name])]
            if not short:
                return {name: kept[name] for name in contest.scores}
            for name in short:
                fixed[name] = _highest(contest, name, contest.floors[name])
                left -= contest.floors[name]


@dataclass(frozen=True)
class Layer:
    """The scores of each layer compete among themselves, for a share that an allocation gives the layer."""

    divides = True

    def fit(self, model: nn.Module, prunable: Prunable = conv_and_linear) -> Layer:
        """See `Scope`."""
        return self

    def choose(self, contest: Contest) -> dict[str, Tensor]:
        """See `Scope`."""
        return {name: _highest(contest, name, share) for name, share in contest.shares().items()}


def _highest(contest: Contest, name: str, keep: int) -> Tensor:
    """The ``keep`` highest scores of one layer."""
    return select_competing({name: contest.scores[name]}, keep, contest.limits)[name]


def _is_below(kept: Tensor, floor: int) -> bool:
    return floor > 0 and int(kept.count_nonzero()) < floor
