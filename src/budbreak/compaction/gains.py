"""What a smaller model saves: parameters, bytes, multiply-accumulates, and measured time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from budbreak.checks import check_count, check_model
from budbreak.graph import (
    Forward,
    ModelGraph,
    call_example,
    count_samples,
    observing,
    outputs_of,
    to_device,
    trace,
    with_tensors,
)
from budbreak.masks import unwrap
from budbreak.measuring import Contender, Meter, Mode


@dataclass(frozen=True)
class Cost:
    """What a model holds, and computes for one batch.

    Args:
        parameters: how many numbers it learns.
        bytes: of its parameters and buffers.
        macs: multiply-accumulates of the example.
    """

    parameters: int
    bytes: int
    macs: int


@dataclass(frozen=True)
class Latency:
    """The time of one forward pass, side by side.

    Args:
        batch: samples.
        dense, compact: seconds; median.
        speedup: how many times as long the dense one takes, by neighbouring samples; ``low``, ``high``: quartiles.
    """

    batch: int
    dense: float
    compact: float
    speedup: float
    low: float
    high: float


@dataclass(frozen=True)
class Gains:
    """What compaction bought.

    Args:
        before, after: of the dense and the compact model.
        latencies: for each batch size.
        mode: of the clock: "wall" or "cpu" time; ``threads``: of torch.
    """

    before: Cost
    after: Cost
    latencies: tuple[Latency, ...]
    mode: Mode
    threads: int

    def __str__(self) -> str:
        """A table."""
        rows = [("", "dense", "compact", "dense / compact")]
        for name, before, after in zip(*_named(self.before, self.after), strict=True):
            rows.append((name, f"{before:,d}", f"{after:,d}", f"{before / after:.2f}" if after else "-"))
        for one in self.latencies:
            ratio = f"{one.speedup:.2f} ({one.low:.2f} to {one.high:.2f})"
            rows.append((f"ms, batch {one.batch}", f"{one.dense * 1e3:.3f}", f"{one.compact * 1e3:.3f}", ratio))
        wide = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = [f"{row[0]:{wide[0]}}  {row[1]:>{wide[1]}}  {row[2]:>{wide[2]}}  {row[3]}".rstrip() for row in rows]
        return "\n".join([*lines, f"{self.mode} time, {self.threads} thread{'s' * (self.threads > 1)}, eval mode"])


def cost_of(model: nn.Module, graph: ModelGraph) -> Cost:
    """What a model holds, and computes in the pass of which this is the graph."""
    parameters = list(unwrap(model).parameters())
    held = sum(tensor.numel() * tensor.element_size() for tensor in [*parameters, *unwrap(model).buffers()])
    return Cost(sum(parameter.numel() for parameter in parameters), held, sum(graph.macs()))


def measure_gains(
    dense: nn.Module,
    compact: nn.Module,
    example: Any,
    *,
    forward: Forward | None = None,
    batches: Sequence[int] = (1, 64),
    meter: Meter | None = None,
) -> Gains:
    """Measure what compaction bought: both models in turns, in eval mode, on batches made of the example's samples.

    Args:
        dense: the model that was.
        compact: the smaller one; wrappers are taken off for counting, not for measuring.
        example: see `compact`. Tensors whose first dimension counts the samples are repeated or shortened.
        forward: see `compact`.
        batches: how many samples at once.
        meter: how to measure; ``Meter(mode="wall")``, elapsed time, unless given.

    Raises:
        InvalidValue: for models or batches that are none.
    """
    for name, model in {"dense": dense, "compact": compact}.items():
        check_model(model, name)
    for batch in batches:
        check_count("batches", batch)
    meter = Meter(mode="wall") if meter is None else meter
    latencies = [_latency(meter, (dense, compact), sized(example, batch), forward, batch) for batch in batches]
    before, after = (cost_of(model, trace(model, example, forward)) for model in (dense, compact))
    return Gains(before, after, tuple(latencies), meter.mode, torch.get_num_threads())


def sized(example: Any, batch: int) -> Any:
    """An example of another number of samples: its own, over and over."""
    samples = count_samples(example)

    def change(tensor: Tensor) -> Tensor:
        if not tensor.dim() or len(tensor) != samples:
            return tensor
        return tensor[torch.arange(batch, device=tensor.device) % samples].contiguous()

    return with_tensors(example, change)


def _latency(
    meter: Meter, models: tuple[nn.Module, nn.Module], batch: Any, forward: Forward | None, samples: int
) -> Latency:
    device = next((parameter.device for parameter in models[0].parameters()), torch.device("cpu"))
    batch = to_device(batch, device)
    runs = [_run(model, batch, forward) for model in models]
    with observing(models[0], device, None), observing(models[1], device, None), torch.no_grad():
        timings = meter([Contender(name, run) for name, run in zip(("dense", "compact"), runs, strict=True)])
    dense, compact = timings["dense"], timings["compact"]
    return Latency(samples, dense.median, compact.median, *dense.over(compact))


def _run(model: nn.Module, batch: Any, forward: Forward | None) -> Callable[[], object]:
    def run() -> object:
        return call_example(model, batch) if forward is None else outputs_of(forward, model, batch)

    return run


def _named(*costs: Cost) -> tuple[list[str], list[int], list[int]]:
    before, after = costs
    names = ["parameters", "MACs of the example", "bytes"]
    return names, [before.parameters, before.macs, before.bytes], [after.parameters, after.macs, after.bytes]
