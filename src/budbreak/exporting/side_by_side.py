"""Networks in runtimes, measured side by side in one run: bytes, latency, and which of them is best for what."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from budbreak.compaction import sized
from budbreak.errors import BudbreakError
from budbreak.exporting.exporting import export
from budbreak.exporting.low_bits import LOW_BITS, LowBits
from budbreak.exporting.running import RUNTIMES, TORCH, Runner, eager, installed, opened
from budbreak.exporting.sparsifying import Measure
from budbreak.measuring import Contender, Meter, Timing

BATCH_SIZES = (1, 64)
DENSE, AS_IS, COMPACT = "dense", "as is", "compact"
WORDS = {
    "torch": "torch eager",
    "onnx": "ONNX Runtime",
    "openvino": "OpenVINO",
    "onnx-int8": "ONNX Runtime, int8",
    "openvino-int8": "OpenVINO, int8",
    "openvino-bf16": "OpenVINO, bfloat16",
}


@dataclass(frozen=True)
class Latency:
    """Seconds of one pass.

    Args:
        batch: samples at once.
        median: half of the passes took longer; ``low``, ``high``: quartiles.
    """

    batch: int
    median: float
    low: float
    high: float

    @classmethod
    def of(cls, batch: int, timing: Timing) -> Latency:
        """Those of what was sampled."""
        return cls(batch, timing.median, *timing.quartiles)

    def is_under(self, other: Latency) -> bool:
        """Whether it is shorter by more than both spread: the quartiles lie apart."""
        return self.high < other.low

    def __str__(self) -> str:
        """In milliseconds, with quartiles."""
        return f"{1e3 * self.median:.3g} ({1e3 * self.low:.3g} to {1e3 * self.high:.3g})"


@dataclass(frozen=True)
class Row:
    """A network in a runtime.

    Args:
        network: "dense", "as is", "compact" or another.
        runtime: one of `RUNTIMES`, or of `LOW_BITS`.
        bytes: of the files that the runtime is given; of the weights for torch.
        latencies: one for each batch size.
    """

    network: str
    runtime: str
    bytes: int
    latencies: tuple[Latency, ...]

    @property
    def name(self) -> str:
        """In words."""
        return f"{self.network} in {WORDS[self.runtime]}"

    def at(self, batch: int) -> Latency:
        """That of a batch size."""
        return next(one for one in self.latencies if one.batch == batch)


@dataclass(frozen=True)
class SideBySide:
    """What was measured in one run, in turns.

    Args:
        rows: a network in a runtime each.
        threads: of each runtime.
        notes: what was left out, in words.
    """

    rows: tuple[Row, ...]
    threads: int
    notes: tuple[str, ...] = ()

    @property
    def how(self) -> str:
        """It was measured, in words."""
        return f"wall time on the CPU, {self.threads} thread{'s' * (self.threads > 1)}, median and quartiles"

    def of(self, network: str) -> tuple[Row, ...]:
        """The rows of a network."""
        return tuple(row for row in self.rows if row.network == network)


def measure_side_by_side(
    networks: Mapping[str, nn.Module],
    example: Tensor,
    *,
    batches: Sequence[int] = BATCH_SIZES,
    meter: Measure | None = None,
    low_bits: LowBits | None = None,
) -> SideBySide:
    """Measure networks in all runtimes that are installed, in wall time, on the CPU.

    Args:
        networks: name -> network, which stays as it is; in eval mode is meant.
        example: a batch of inputs; its samples are repeated or shortened.
        batches: how many samples at once.
        meter: ``Meter(mode="wall")`` unless given.
        low_bits: to measure them in low bits, too; what is too far from the network is noted, not measured.

    Raises:
        InvalidValue, NotFinite: if a network does not take the example, or gives no finite numbers.
    """
    meter = Meter(mode="wall") if meter is None else meter
    threads = torch.get_num_threads()
    missing = [one for one in RUNTIMES if one not in installed()]
    notes = [f"not measured in {WORDS[one]}: pip install 'budbreak[{one}]'" for one in missing]
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        runners, sizes = opened_all(networks, example, Path(folder), notes, low_bits=low_bits)
        timings = {batch: timed(runners, sized(example, batch), meter) for batch in batches}
        del runners
    rows = [
        Row(*key, size, tuple(Latency.of(batch, timings[batch][key]) for batch in batches))
        for key, size in sizes.items()
    ]
    return SideBySide(tuple(rows), threads, tuple(notes))


Key = tuple[str, str]


def opened_all(
    networks: Mapping[str, nn.Module],
    example: Tensor,
    folder: Path,
    notes: list[str],
    *,
    eager_only: Collection[str] = (),
    low_bits: LowBits | None = None,
) -> tuple[dict[Key, Runner], dict[Key, int]]:
    """Network and runtime -> what runs it, and its bytes; what a runtime cannot take is noted.

    Args:
        networks: name -> network.
        example: see `export`.
        folder: for files that are opened.
        notes: to which what is left out is added.
        eager_only: networks that only torch runs.
        low_bits: to run them in low bits, too.
    """
    runners: dict[Key, Runner] = {}
    sizes: dict[Key, int] = {}
    for number, (name, model) in enumerate(networks.items()):
        for form in (TORCH,) if name in eager_only else _runtimes(low_bits):
            maker = runner_of if low_bits is None or form not in LOW_BITS else low_bits.runner_of
            try:
                runners[name, form], sizes[name, form] = maker(form, model, example, folder / f"{number}")
            except BudbreakError as error:
                notes.append(f"{name} not measured in {WORDS[form]}: {error.value}")
    return runners, sizes


def _runtimes(low_bits: LowBits | None) -> tuple[str, ...]:
    there = installed()
    more = [one for one, needs in LOW_BITS.items() if low_bits is not None and set(needs) <= {*there}]
    return (*there, *more)


def runner_of(form: str, model: nn.Module, example: Tensor, path: Path) -> tuple[Runner, int]:
    """A network in a runtime, and how many bytes it has there.

    Args:
        form: one of `RUNTIMES`.
        model: the network.
        example: see `export`.
        path: of the files, without the ending.

    Raises:
        BudbreakError: if the form cannot express it.
    """
    if form == TORCH:
        held = [*model.parameters(), *model.buffers()]
        return eager(model), sum(one.numel() * one.element_size() for one in held)
    written = export(model, path.with_suffix(".onnx" if form == "onnx" else ".xml"), to=form, example=example)
    return opened(form, written.path, torch.get_num_threads()), written.bytes


def timed(runners: Mapping[Key, Runner], batch: Tensor, meter: Measure) -> Mapping[Key, Timing]:
    """Each of them on one batch, in turns."""
    names = {" in ".join(key): key for key in runners}
    found = meter([Contender(name, lambda run=runners[key]: run(batch)) for name, key in names.items()])
    return {key: found[name] for name, key in names.items()}


def recommendation(found: SideBySide, sizes: Mapping[str, int]) -> tuple[str, ...]:
    """Which form is best for which use, in words.

    Args:
        found: what was measured.
        sizes: form -> bytes of its files.
    """
    smallest = min(sizes, key=lambda form: sizes[form])
    lines = [f"smallest file: {smallest}, {sizes[smallest]:,} bytes"]
    batches = [one.batch for one in found.rows[0].latencies] if found.rows else []
    return (*lines, *(_fastest(found, batch) for batch in batches))


def _fastest(found: SideBySide, batch: int) -> str:
    """The fastest at a batch size, beside the dense network in its fastest runtime and in the same."""
    own = [row for row in found.rows if row.network != DENSE] or list(found.rows)
    best = min(own, key=lambda row: row.at(batch).median)
    said = f"batch {batch}: {best.name}, {1e3 * best.at(batch).median:.3g} ms"
    dense = sorted(found.of(DENSE), key=lambda row: row.at(batch).median)
    if not dense:
        return said
    if not best.at(batch).is_under(dense[0].at(batch)):
        return (
            f"{said}; no gain beyond the spread over {dense[0].name}, {1e3 * dense[0].at(batch).median:.3g} ms: {_WHY}"
        )
    beside = [dense[0], *(row for row in dense[1:] if row.runtime == best.runtime)]
    ratios = [f"{row.at(batch).median / best.at(batch).median:.2f}x as fast as {row.name}" for row in beside]
    return f"{said}, {', '.join(ratios)}"


_WHY = "zeros alone buy nothing in dense kernels, compaction what whole units that it cuts are worth"
