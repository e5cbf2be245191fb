"""How large and by which clock a benchmark is run, and what every benchmark is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

import torch
from torch import nn

from benchmarks.findings import Findings, Stored
from budbreak.measuring import Clock, Meter, Mode
from budbreak.training import Device, Engine, choose_engine

Size = Literal["smoke", "quick", "full"]
_T = TypeVar("_T")


@dataclass(frozen=True)
class Settings:
    """How to run a benchmark.

    Args:
        size: "smoke" for tests of the benchmark itself, "quick" for a look, "full" for what is stored.
        mode: "cpu" time or "wall" time; on a GPU always wall.
        threads: of torch; CPU time is for one.
        device: "cpu" or "cuda".
    """

    size: Size = "full"
    mode: Mode = "cpu"
    threads: int = 1
    device: Device = "cpu"

    def pick(self, smoke: _T, quick: _T, full: _T) -> _T:
        """The value for this size."""
        return {"smoke": smoke, "quick": quick, "full": full}[self.size]

    def engine(self, model: nn.Module) -> Engine:
        """The engine that budbreak chooses for a model here."""
        return choose_engine(model, threads=self.threads, device=self.device)

    def meter(self, *, smoke: int = 2, quick: int = 5, full: int = 11) -> Meter:
        """A meter with so many rounds for each size."""
        synchronise = torch.cuda.synchronize if self.device == "cuda" else _nothing
        patience = self.pick(0.0, 1.0, 2.0)
        shortest = self.pick(0.0, 0.02, 0.04)
        rounds = self.pick(smoke, quick, full)
        return Meter(rounds, self.mode, patience=patience, shortest=shortest, synchronise=synchronise)


class Benchmark(Protocol):
    """A benchmark: a frozen value that measures when it is called."""

    @property
    def name(self) -> str:
        """In the command and the file."""
        ...

    @property
    def about(self) -> str:
        """What it measures, against what."""
        ...

    def __call__(self, settings: Settings, /) -> Findings:
        """Check that the contenders agree, then measure them."""
        ...


def run(benchmark: Benchmark, settings: Settings, clock: Clock | None = None) -> Stored:
    """Run one benchmark; torch's threads and generator are as before afterwards."""
    clock = clock or Clock(cpu=_cpu_with_children)
    threads, start = torch.get_num_threads(), (clock.busy(), clock.cpu(), clock.wall())
    torch.set_num_threads(settings.threads)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            findings = benchmark(settings)
    finally:
        torch.set_num_threads(threads)
    busy, cpu, wall = (now() - then for now, then in zip((clock.busy, clock.cpu, clock.wall), start, strict=True))
    others = max(0.0, busy - cpu) / (wall * clock.cores)
    return Stored(
        benchmark.name, benchmark.about, findings,
        settings.size, settings.mode, settings.threads, settings.device, round(others, 3),
    )  # fmt: skip


def _cpu_with_children() -> float:
    """CPU seconds of this process and of those it started and saw end."""
    return sum(os.times()[:4])


def _nothing() -> None:
    """A CPU is always done when it returns."""
