"""Peers measured side by side: interleaved samples, medians and quartiles, disturbed samples thrown away."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from budbreak.errors import InvalidValue

Mode = Literal["cpu", "wall"]


def machine_busy() -> float:
    """CPU seconds that all processes, interrupts and other guests took since boot; 0 where the kernel does not say."""
    try:
        line = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0]
    except OSError:
        return 0.0
    user, nice, system, _idle, _waiting, interrupt, soft, steal = map(int, line.split()[1:9])
    return (user + nice + system + interrupt + soft + steal) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Clock:
    """Where time comes from; another one in tests.

    Args:
        cpu: CPU seconds of this process, over all its threads.
        wall: seconds.
        busy: CPU seconds that the whole machine was busy.
        cores: of the machine.
    """

    cpu: Callable[[], float] = time.process_time
    wall: Callable[[], float] = time.perf_counter
    busy: Callable[[], float] = machine_busy
    cores: int = os.cpu_count() or 1


@dataclass(frozen=True)
class Contender:
    """One way to do the work.

    Args:
        name: in tables.
        run: does the work once.
        prepare: called before each sample, not timed; then a sample is a single run.
        most: samples at most, for what takes many seconds; it is not warmed up either.
    """

    name: str
    run: Callable[[], object]
    prepare: Callable[[], object] | None = None
    most: int | None = None


@dataclass(frozen=True)
class Sample:
    """Seconds of one run, and the share of the time [0, 1] that others took from it."""

    seconds: float
    lost: float


@dataclass(frozen=True)
class Timing:
    """What was kept of the samples of one contender.

    Args:
        seconds: of one run, sample by sample.
        discarded: samples thrown away because others used the machine.
        disturbed: samples that were kept although others used the machine, for want of better ones.
    """

    seconds: tuple[float, ...]
    discarded: int = 0
    disturbed: int = 0

    @property
    def median(self) -> float:
        """Half of the samples took longer."""
        return statistics.median(self.seconds)

    @property
    def quartiles(self) -> tuple[float, float]:
        """A quarter of the samples lies below the first, a quarter above the second."""
        return quartiles(self.seconds)

    def over(self, other: Timing) -> tuple[float, float, float]:
        """How many times as long as ``other``: median and quartiles of the ratios of neighbouring samples.

        >>> Timing((2.0, 6.0)).over(Timing((1.0, 2.0)))
        (2.5, 2.25, 2.75)
        """
        ratios = [mine / theirs for mine, theirs in zip(self.seconds, other.seconds, strict=False)]
        return (statistics.median(ratios), *quartiles(ratios))


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """First and third quartile, linear between neighbours.

    >>> quartiles([1.0, 2.0, 3.0, 4.0, 5.0])
    (2.0, 4.0)
    """
    if len(values) == 1:
        return values[0], values[0]
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return first, third


@dataclass(frozen=True)
class Meter:
    """Measures contenders in turns, so that what slows the machine for a while slows them all.

    A sample repeats short work until ``shortest`` is reached. It counts as disturbed where others took more than
    ``tolerance`` of its time: in CPU time, where this process did not run (elapsed minus CPU time); in wall time,
    where other processes kept the machine busy. A disturbed sample is taken again, up to ``patience`` times as
    many samples as wanted; what is missing then is filled with the least disturbed, and counted.

    Args:
        rounds: samples of each contender.
        mode: "cpu": CPU time of this process (use one thread); "wall": elapsed time.
        tolerance: share of the time that others may take.
        patience: additional samples at most, as a multiple of ``rounds``.
        shortest: seconds of a sample at least.
        clock: where time comes from.
        synchronise: waits for the device, before each look at the clock.
    """

    rounds: int = 9
    mode: Mode = "cpu"
    tolerance: float = 0.05
    patience: float = 2.0
    shortest: float = 0.03
    clock: Clock = Clock()
    synchronise: Callable[[], object] = lambda: None

    def __call__(self, contenders: Sequence[Contender]) -> dict[str, Timing]:
        """Name -> timing.

        Raises:
            InvalidValue: if two contenders have the same name.
        """
        names = [contender.name for contender in contenders]
        if len(set(names)) < len(names):
            raise InvalidValue(f"contenders are named {names}", "names tell them apart")
        repeats = {contender.name: self._repeats(contender) for contender in contenders}
        samples: dict[str, list[Sample]] = {name: [] for name in names}
        while waiting := [entry for entry in contenders if self._wants_more(entry, samples[entry.name])]:
            for contender in waiting:
                samples[contender.name].append(self._sample(contender, repeats[contender.name]))
        return {
            contender.name: self._timing(samples[contender.name], self._wanted(contender)) for contender in contenders
        }

    def _wanted(self, contender: Contender) -> int:
        return self.rounds if contender.most is None else min(self.rounds, contender.most)

    def _wants_more(self, contender: Contender, samples: Sequence[Sample]) -> bool:
        wanted = self._wanted(contender)
        if contender.most is not None:
            return len(samples) < wanted
        clean = sum(sample.lost <= self.tolerance for sample in samples)
        return clean < wanted and len(samples) < wanted * (1 + self.patience)

    def _repeats(self, contender: Contender) -> int:
        """Runs in one sample; the trial warms up as well."""
        if contender.most is not None:
            return 1
        first = self._sample(contender, 1)
        if contender.prepare is not None or first.seconds >= self.shortest:
            return 1
        again = min(self._sample(contender, 1).seconds for _ in range(3))
        return max(1, math.ceil(self.shortest / max(again, 1e-7)))

    def _sample(self, contender: Contender, repeats: int) -> Sample:
        if contender.prepare is not None:
            contender.prepare()
        self.synchronise()
        cpu, wall, busy = self.clock.cpu(), self.clock.wall(), self.clock.busy()
        for _ in range(repeats):
            contender.run()
        self.synchronise()
        cpu, wall = self.clock.cpu() - cpu, self.clock.wall() - wall
        if self.mode == "cpu":
            return Sample(cpu / repeats, max(0.0, 1 - cpu / wall))
        others = self.clock.busy() - busy - cpu
        return Sample(wall / repeats, max(0.0, others / (wall * self.clock.cores)))

    def _timing(self, samples: Sequence[Sample], wanted: int) -> Timing:
        # clean ones first, as they came; then the least disturbed
        order = sorted(range(len(samples)), key=lambda index: max(samples[index].lost, self.tolerance))[:wanted]
        kept = [samples[index] for index in sorted(order)]
        disturbed = sum(sample.lost > self.tolerance for sample in kept)
        return Timing(tuple(sample.seconds for sample in kept), len(samples) - len(kept), disturbed)
