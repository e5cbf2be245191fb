"""Dead connections first: what lies on no path from input to output goes before anything that a host would remove."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from budbreak.checks import check_criterion
from budbreak.criteria import ALL, Criterion, Magnitude
from budbreak.evidence import Evidence, Graph, Need, Weights, check_not_handed_out
from budbreak.iteration import CRITERIA
from budbreak.masks import Mask, Scope, Score, Scores, ScoreSlice


@dataclass(frozen=True)
class DeadFirst:
    """Score living weights that lie on no path below all others, which keep the scores of a host.

    score[i] = -inf where w[i] is not 0 and lies on no path of such weights from an input to an output, else that of the
    host. Such a weight computes nothing that anybody sees: kept, it is a weight less for the rest. Paths are those of
    `budbreak.graph.ModelGraph.reachable`.

    What a removal cuts off goes with the next one. The authors repeat removal and search until all that is left is on a
    path. For single weights: a unit is no worse for one dead connection.

    Args:
        host: any criterion.

    Source: Kim et al. 2021 (all-alive pruning), ICLR submission rx19UMFbC9u.
    """

    host: Criterion = field(default=Magnitude(), metadata={"family": lambda: CRITERIA})

    def __post_init__(self) -> None:
        check_criterion(self.host, ALL)

    @property
    def needs(self) -> tuple[Need, ...]:
        """What the host needs, and the graph."""
        return tuple(dict.fromkeys((*self.host.needs, Weights(), Graph())))

    @property
    def rounds(self) -> int:
        """The host's."""
        return getattr(self.host, "rounds", 1)

    @property
    def at_initialization(self) -> bool:
        """The host's."""
        return getattr(self.host, "at_initialization", False)

    @property
    def scope(self) -> Scope | None:
        """The host's, None where it has none: globally."""
        return getattr(self.host, "scope", None)

    def replicate(self, seed: int) -> DeadFirst:
        """The same for another replicate: a host that draws, draws otherwise; see `Criterion`."""
        draws: Any = getattr(self.host, "replicate", None)
        return self if draws is None else replace(self, host=draws(seed))

    def __call__(self, evidence: Evidence) -> Scores:
        """Scores: name -> float [shape of the weight]; those of the host, or -inf.

        Raises:
            MissingEvidence: without what it needs.
            Unreached: if what a weight computes goes on as numbers, behind which no path can be followed.
        """
        scores, graph = self.host(evidence), evidence[Graph()]
        living = Mask({name: (weight != 0).cpu() for name, weight in evidence[Weights()].items()})
        check_not_handed_out(graph, living)
        connected = graph.reachable(living).connected
        return Scores({name: _below(score, living[name] & ~connected[name]) for name, score in scores.items()})


def _below(score: Score, dead: Tensor) -> Score:
    def open_slices() -> ScoreSlice:
        read, flat = score.open(), dead.reshape(-1)

        def slices(lo: int, hi: int) -> Tensor:
            values = read(lo, hi)
            return torch.where(flat[lo:hi].to(values.device), -math.inf, values)

        return slices

    return Score(score.shape, open_slices)
