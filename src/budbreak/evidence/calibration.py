"""The batches that a network is looked at on."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from budbreak.errors import EmptyBatches
from budbreak.evidence.weighing import Samples
from budbreak.graph import Batches, Forward, Loss, call_model, holds_samples


@dataclass(frozen=True)
class Calibration:
    """The batches, how the network and its loss are called on them, and how much each counts; see `probe`.

    What looks at the first batch alone reads it once, however many probes that are.
    """

    batches: Batches
    forward: Forward = call_model
    loss: Loss | None = None
    samples: Samples | None = None
    every: int = 1

    @functools.cached_property
    def first(self) -> list[Any]:
        """The first batch that holds samples, in a list; an empty one if there is none.

        Raises:
            EmptyBatches: if there are batches, but none holds a sample.
        """
        batch = None
        for batch in self.batches:
            if holds_samples(batch):
                return [batch]
        if batch is not None:
            raise EmptyBatches(
                "the batches hold no samples", "the network is run on one", "give batches with at least one sample"
            )
        return []


def refuse_nothing(used: int) -> None:
    """Refuse batches that were none.

    Raises:
        EmptyBatches: with what to give.
    """
    if not used:
        raise EmptyBatches(
            "the batches yielded nothing",
            "a probe needs at least one batch",
            "an iterator is exhausted after one pass: give a list or a DataLoader",
        )
