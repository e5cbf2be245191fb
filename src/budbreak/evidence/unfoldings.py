"""How the prunable weights are read as matrices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from budbreak.evidence.evidence import ProbeContext
from budbreak.masks import Unfolding, unfolding_of


@dataclass(frozen=True)
class Unfoldings:
    """Weight name -> how it is read as matrices, by the kind of its layer; nothing is run."""

    def start(self, context: ProbeContext) -> Callable[[], Mapping[str, Unfolding]]:
        """See `Probe.start`."""
        return lambda: {name: unfolding_of(context.layers[name], weight) for name, weight in context.weights.items()}

    def example(self, weights: Mapping[str, Tensor], generator: torch.Generator) -> Mapping[str, Unfolding]:
        """What it might have seen of layers without groups."""
        return {name: Unfolding() for name in weights}
