"""The prunable weights, now and at the start of the level."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from budbreak.errors import MissingEvidence
from budbreak.evidence.evidence import ProbeContext
from budbreak.evidence.examples import drawn_like


@dataclass(frozen=True)
class Weights:
    """The prunable weights as they are: name -> tensor, detached, not copied."""

    def start(self, context: ProbeContext) -> Callable[[], Mapping[str, Tensor]]:
        """See `Probe.start`."""
        return lambda: context.weights

    def example(self, weights: Mapping[str, Tensor], generator: torch.Generator) -> Mapping[str, Tensor]:
        """See `Probe`: these weights."""
        return weights


@dataclass(frozen=True)
class StartWeights:
    """The prunable weights at the start of this level, after rewinding: name -> tensor, same shape and dtype."""

    def start(self, context: ProbeContext) -> Callable[[], Mapping[str, Tensor]]:
        """See `Probe.start`.

        Raises:
            MissingEvidence: if the session was not told the start weights.
        """
        start = context.start_weights
        if start is None:
            raise MissingEvidence(
                "the weights at the start of the level are not known here",
                "displacement is measured between the start and the end of one training",
                "prune inside bb.iterate, or look by bb.probe(..., start=<state_dict copied before the training>)",
            )
        return lambda: start

    def example(self, weights: Mapping[str, Tensor], generator: torch.Generator) -> Mapping[str, Tensor]:
        """See `Probe`."""
        return {name: drawn_like(weight, generator) for name, weight in weights.items()}
