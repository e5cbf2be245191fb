"""The fastest of several networks in several runtimes that is still good enough."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from budbreak.checks import check_count, check_fraction
from budbreak.compaction import Compacted, sized
from budbreak.data import Images
from budbreak.errors import InvalidValue
from budbreak.exporting.candidates import SPARSE_ROWS, Candidates, candidates_of
from budbreak.exporting.cards import Section
from budbreak.exporting.low_bits import LowBits
from budbreak.exporting.running import RUNTIMES, Runner, accuracy_of, eager, installed
from budbreak.exporting.side_by_side import WORDS, Latency, opened_all, timed
from budbreak.exporting.sparsifying import Measure
from budbreak.graph import check_finite_outputs, example_outputs
from budbreak.measuring import Meter

_EVEN = 1e-9  # accuracies are shares of counts: their differences round
Score = Callable[[Runner], float]
"""How good what a runner gives is; higher is better."""


@dataclass(frozen=True)
class Candidate:
    """A network in a runtime, as it was measured.

    Args:
        network: its name; ``runtime``: one of `RUNTIMES`, or of `LOW_BITS`.
        bytes: of the files that the runtime is given; of the weights for torch.
        latency: of one pass.
        accuracy: on the images, in that runtime.
        on_front: whether no other one is at least as good in bytes, latency and accuracy, and better in one.
    """

    network: str
    runtime: str
    bytes: int
    latency: Latency
    accuracy: float
    on_front: bool = False

    @property
    def name(self) -> str:
        """In words."""
        return f"{self.network} in {WORDS[self.runtime]}"

    @property
    def form(self) -> str:
        """In which it leaves: sparse rows packed; they are made again where it is loaded."""
        return "packed" if self.network == SPARSE_ROWS else self.runtime.removesuffix("-bf16")

    def plain(self) -> dict[str, Any]:
        """As a row of a card."""
        return {
            "network": self.network,
            "runtime": self.runtime,
            "bytes": self.bytes,
            "batch": self.latency.batch,
            "ms, median": 1e3 * self.latency.median,
            "accuracy": self.accuracy,
            "on the front": self.on_front,
        }

    def over(self, other: Candidate) -> bool:
        """Whether it is at least as good in everything, and better in something."""
        mine = (self.bytes, self.latency.median, -self.accuracy)
        theirs = (other.bytes, other.latency.median, -other.accuracy)
        return mine != theirs and all(one <= two for one, two in zip(mine, theirs, strict=True))


@dataclass(frozen=True, eq=False)
class Fastest:
    """What `choose_fastest` measured, and which of it is the fastest that is good enough.

    Args:
        tried: the networks.
        candidates: all that were measured, the fastest first.
        dense: the accuracy that ``max_drop`` may be lost of.
        threads: of each runtime.
        notes: what was left out, in words.
    """

    tried: Candidates = field(repr=False)
    candidates: tuple[Candidate, ...]
    dense: float
    max_drop: float
    threads: int
    notes: tuple[str, ...] = ()

    @property
    def floor(self) -> float:
        """Accuracy that is to be held."""
        return self.dense - self.max_drop

    @property
    def best(self) -> Candidate:
        """The fastest that holds the floor.

        Raises:
            InvalidValue: if none does: with the best that was found.
        """
        holding = [one for one in self.candidates if one.accuracy >= self.floor - _EVEN]
        if holding:
            return holding[0]
        nearest = max(self.candidates, key=lambda one: (one.accuracy, -one.latency.median))
        raise InvalidValue(
            f"no candidate holds an accuracy of {self.floor:.4f}; the best found is {nearest.name}, "
            f"{nearest.accuracy:.4f}, {1e3 * nearest.latency.median:.3g} ms",
            f"at most {self.max_drop:g} of the dense accuracy, {self.dense:.4f}, may be lost",
            f"allow more: --max-drop {math.ceil(1e3 * (self.dense - nearest.accuracy) - 1e-6) / 1e3:g}, "
            "or take a level that is less sparse",
        )

    @property
    def model(self) -> nn.Module | Compacted:
        """What is written of the best."""
        return self.tried.leaving(self.best.network)

    def __str__(self) -> str:
        """In a line."""
        one = self.best
        accuracy = f"accuracy {one.accuracy:.4f}"
        more = {
            SPARSE_ROWS: "; sparse rows are made where it is loaded: budbreak.exporting.sparsify(model, batch)",
            "openvino-bf16": "; OpenVINO is to be told INFERENCE_PRECISION_HINT=bf16",
        }
        return (
            f"fastest at batch {one.latency.batch} that holds {self.floor:.4f}: {one.name}, "
            f"{1e3 * one.latency.median:.3g} ms, {accuracy}{more.get(one.network, more.get(one.runtime, ''))}"
        )

    @property
    def how(self) -> str:
        """It was measured, in words."""
        return (
            f"wall time on the CPU, {self.threads} thread{'s' * (self.threads > 1)}; * is beaten by none in all three"
        )

    def sections(self, part: str) -> dict[str, Section]:
        """Of a card.

        Args:
            part: of the data that the accuracies are of.
        """
        told = {"chosen": str(self), "accuracies": f"of the {part} part", "dense accuracy": self.dense}
        return {
            "choice": {**told, "floor": self.floor, "how": self.how, "left out": list(self.notes)},
            "candidates": [one.plain() for one in self.candidates],
        }


def choose_fastest(
    model: nn.Module,
    images: Images | Score,
    *,
    dense: nn.Module | None = None,
    example: Tensor,
    batch: int = 1,
    max_drop: float = 0.005,
    meter: Measure | None = None,
    low_bits: LowBits | None = None,
) -> Fastest:
    """Measure a network in several forms, and choose the fastest that is good enough.

    Args:
        model: whose pruned weights are zeros; which stays as it is.
        images: for the accuracies, the validation part of a data set; or, where quality is something else, what gives
            that for a runner (a batch -> the first output), a number that takes the place of the accuracy.
        dense: whose accuracy is the one that ``max_drop`` may be lost of; the model's own unless given.
        example: a batch of inputs, with which files are verified.
        batch: samples at once, of the latency.
        max_drop: a share, in [0, 1).
        meter: ``Meter(mode="wall")`` unless given.
        low_bits: to try them in low bits, too; ``max_drop`` says what may be lost, so that no tolerance needs to.

    Raises:
        InvalidValue, NotFinite: if it does not take the example, or gives no finite numbers.
    """
    check_count("batch", batch)
    check_fraction("max_drop", max_drop)
    meter = Meter(mode="wall") if meter is None else meter
    for one in (model, *([] if dense is None else [dense])):
        check_finite_outputs(example_outputs(one, example))
    score = _score_by(images)
    standard = score(eager(model if dense is None else dense))
    tried = candidates_of(model, example, batch=batch, meter=meter)
    if low_bits is not None:
        low_bits = replace(low_bits, tolerance=math.inf)
    tries = _Tries(score, example, sized(example, batch), meter, low_bits)
    measured, notes = tries.measured(tried.networks)
    missing = [
        f"not tried in {WORDS[one]}: pip install 'budbreak[{one}]'" for one in RUNTIMES if one not in installed()
    ]
    whole = (*missing, *tried.notes, *notes)
    return Fastest(tried, measured, standard, max_drop, torch.get_num_threads(), whole)


@dataclass(frozen=True, eq=False)
class _Tries:
    """How networks are measured."""

    score: Score
    example: Tensor
    batch: Tensor
    meter: Measure
    low_bits: LowBits | None

    def measured(self, networks: Mapping[str, nn.Module]) -> tuple[tuple[Candidate, ...], list[str]]:
        """Each in each runtime, and what was left out."""
        notes: list[str] = []
        with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            runners, sizes = opened_all(
                networks, self.example, Path(folder), notes, eager_only=[SPARSE_ROWS], low_bits=self.low_bits
            )
            accuracies = {key: self.score(run) for key, run in runners.items()}
            timings = timed(runners, self.batch, self.meter)
            del runners
        size = len(self.batch)
        rows = [Candidate(*key, sizes[key], Latency.of(size, timings[key]), accuracies[key]) for key in sizes]
        return _by_speed(rows), notes


def _score_by(images: Images | Score) -> Score:
    return (lambda run: accuracy_of(run, images)) if isinstance(images, Images) else images


def _by_speed(rows: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """The fastest first; those on the front say so."""
    ordered = sorted(rows, key=lambda one: one.latency.median)
    return tuple(replace(one, on_front=not any(other.over(one) for other in rows)) for one in ordered)
