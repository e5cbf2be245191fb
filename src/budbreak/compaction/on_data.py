"""Units that are dead on a calibration set alone: they give one value for all of its samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from budbreak.compaction.columns import is_steady
from budbreak.compaction.trials import Trial
from budbreak.compaction.widening import look_widely
from budbreak.compaction.wiring import Wiring, without_columns
from budbreak.errors import InvalidValue
from budbreak.graph import (
    Forward,
    LayerCall,
    check_finite_outputs,
    count_samples,
    example_outputs,
    largest_difference,
    with_tensors,
)

_AT_ONCE = 256  # samples


@dataclass(frozen=True)
class OnData:
    """The calibration set on which units were found dead.

    Args:
        samples: of it.
        difference: the largest difference of an output on it; elsewhere it may be more.
    """

    samples: int
    difference: float

    def __str__(self) -> str:
        """In a line."""
        return (
            f"largest difference on the {self.samples:,d} samples on which units were found dead: {self.difference:.3g}"
        )


def pieces_of(dead_on: Any) -> list[Any]:
    """A calibration set in batches of a few hundred samples.

    Raises:
        InvalidValue: if it has no samples.
    """
    samples = count_samples(dead_on)
    return [
        with_tensors(dead_on, lambda one, index=index: one[index] if one.dim() and len(one) == samples else one)
        for index in torch.arange(samples).split(_AT_ONCE)
    ]


def look_on_data(wiring: Wiring, dense: nn.Module, pieces: Sequence[Any], forward: Forward | None) -> Wiring:
    """The wiring in which no path leads through what is the same for all samples of a calibration set.

    Args:
        wiring: of the example.
        dense: the model.
        pieces: of the calibration set.
        forward: see `compact`.

    Raises:
        InvalidValue: if the model does not take it, or makes other calls for it.
    """
    found: Mapping[int, LayerCall] = {}
    for number, piece in enumerate(pieces):
        calls = look_widely(dense, piece, forward)[0].calls
        if calls.keys() != wiring.calls.keys():
            raise InvalidValue(
                f"{type(dense).__name__} makes other calls of layers for dead_on than for the example",
                "what a unit gives is compared over all samples, call by call",
                "give inputs of the example's shape, or compact without dead_on",
            )
        found = calls if not number else {index: _both(found[index], call) for index, call in calls.items()}
    closed = without_columns(replace(wiring, calls=found, on_data=True), is_steady)
    if _is_alive(wiring) and not _is_alive(closed):
        raise InvalidValue(
            f"{type(dense).__name__} gives the same for all {sum(map(count_samples, pieces))} samples of dead_on",
            "units are dead on a calibration set that stands for what will come",
            "give more samples, and different ones",
        )
    return closed


def trials_on_data(
    model: nn.Module, pieces: Sequence[Any], forward: Forward | None, limit: float | None
) -> list[Trial]:
    """The calibration set, on which outputs are to stay as they are."""
    return [
        Trial(piece, check_finite_outputs(example_outputs(model, piece, forward)), (limit,), ", on the calibration set")
        for piece in pieces
    ]


def on_data(dense: nn.Module, smaller: nn.Module, pieces: Sequence[Any], forward: Forward | None) -> OnData:
    """Compare two models on a calibration set."""
    apart = [
        largest_difference(*(example_outputs(one, piece, forward) for one in (dense, smaller))) for piece in pieces
    ]
    return OnData(sum(map(count_samples, pieces)), max(apart))


def _is_alive(wiring: Wiring) -> bool:
    return any(bool(reached.any()) for reached in wiring.reach.classes)


def _both(one: LayerCall, two: LayerCall) -> LayerCall:
    """What entered in either of two calls; the mean is needed where it is nearly one value alone."""
    low, high = torch.minimum(one.low, two.low), torch.maximum(one.high, two.high)
    return replace(one, low=low, high=high, mean=(one.mean + two.mean) / 2)
