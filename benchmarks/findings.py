"""What a benchmark found: tables, goals met or missed, and the same as a file."""

from __future__ import annotations

import datetime
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from budbreak.files import read_json, write_json
from budbreak.measuring import Timing
from budbreak.training import environment

KIND = "benchmark 1"


@dataclass(frozen=True)
class Row:
    """One contender.

    Args:
        name: of the contender.
        seconds, low, high: median and quartiles of one run.
        ratio, ratio_low, ratio_high: how many times as long as the reference; median and quartiles.
        samples, discarded, disturbed: see `Timing`.
        extra_mib: peak memory beyond the inputs; None where it was not measured.
    """

    name: str
    seconds: float
    low: float
    high: float
    ratio: float
    ratio_low: float
    ratio_high: float
    samples: int
    discarded: int
    disturbed: int
    extra_mib: float | None = None


@dataclass(frozen=True)
class Table:
    """Contenders at the same work; ratios are to the row ``reference``."""

    title: str
    reference: str
    rows: tuple[Row, ...]

    def row(self, name: str) -> Row:
        """The row of one contender."""
        return next(row for row in self.rows if row.name == name)


def table(
    title: str, reference: str, timings: Mapping[str, Timing], extra_mib: Mapping[str, float] | None = None
) -> Table:
    """A table from what the meter gave."""
    memory, base = extra_mib or {}, timings[reference]
    rows = [
        Row(
            name, timing.median, *timing.quartiles, *timing.over(base),
            len(timing.seconds), timing.discarded, timing.disturbed, memory.get(name),
        )
        for name, timing in timings.items()
    ]  # fmt: skip
    return Table(title, reference, tuple(rows))


@dataclass(frozen=True)
class Goal:
    """What was aimed at, and what came out.

    Args:
        aim: in words, with the bound.
        value: measured.
        bound: of the value.
        at_least: whether more is better; otherwise less.
        noise: what the same work against itself deviates from 1, in this run.
        not_judged: why the goal does not hold here; empty where it does.
        unit: of the value, as it stands behind the number.
    """

    aim: str
    value: float
    bound: float
    at_least: bool = True
    noise: float = 0.0
    not_judged: str = ""
    unit: str = "x"

    @property
    def verdict(self) -> str:
        """In words.

        >>> Goal("at most 1.10", 1.13, 1.10, at_least=False, noise=0.04).verdict
        'met within the noise of 0.04'
        """
        missing = self.bound - self.value if self.at_least else self.value - self.bound
        if missing <= 0:
            return "met"
        if self.not_judged:
            return f"not reached; not judged here: {self.not_judged}"
        return f"met within the noise of {self.noise:.2f}" if missing <= self.noise else "missed"


@dataclass(frozen=True)
class Findings:
    """The result of one benchmark.

    Args:
        tables: what was measured.
        goals: what was aimed at.
        checks: what was found equal before anything was timed, in words.
        remarks: what a reader must know to judge the numbers.
    """

    tables: tuple[Table, ...]
    goals: tuple[Goal, ...] = ()
    checks: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stored:
    """Findings with where and when they were found, as they stand in a file.

    Args:
        name: of the benchmark.
        about: what it measures.
        findings: what was found.
        size, mode, threads, device: how it was measured.
        others: share of the machine that other processes used meanwhile, in [0, 1].
        date, commit, environment: when, on what code, where.
    """

    name: str
    about: str
    findings: Findings
    size: str
    mode: str
    threads: int
    device: str
    others: float
    date: str = field(default_factory=lambda: datetime.datetime.now(datetime.UTC).date().isoformat())
    commit: str = field(default_factory=lambda: current_commit())
    environment: Mapping[str, Any] = field(default_factory=environment)

    @property
    def unusual(self) -> list[str]:
        """How this was measured, where it differs from the full size in CPU time of one thread."""
        wall = [f"wall {self.threads} threads"] if self.mode == "wall" else []
        return [self.size] * (self.size != "full") + wall + [self.device] * (self.device != "cpu")

    def write(self, folder: Path) -> Path:
        """Write ``NAME.json``, with what is unusual about it in the file's name; returns the path."""
        path = folder / f"{'-'.join([self.name, *self.unusual])}.json".replace(" ", "-")
        write_json(path, asdict(self), KIND)
        return path


def read_stored(path: Path) -> Stored:
    """Read what `Stored.write` wrote.

    Raises:
        CorruptFile: if the file is not what was written.
    """
    return read_json(path, KIND, Stored)


def read_all(folder: Path, order: Sequence[str]) -> list[Stored]:
    """Every result in a folder, by ``order`` of names."""
    stored = [read_stored(path) for path in sorted(folder.glob("*.json"))]
    return sorted(stored, key=lambda result: order.index(result.name) if result.name in order else len(order))


def current_commit() -> str:
    """The commit of the code, "-changed" where files differ from it; "" outside a checkout."""
    here = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--abbrev=10", "--dirty=-changed", "--exclude=*"],
            cwd=here, capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def hardware(environment: Mapping[str, Any]) -> str:
    """One line on the machine."""
    telling = [name for name in ("avx2", "avx512_bf16", "amx_bf16") if name in environment["capabilities"]]
    gpus = f"; {', '.join(environment['cuda'])}" if environment["cuda"] else ""
    cores = f"{environment['cores']} cores, {', '.join(telling) or platform.machine()}"
    return f"{environment['processor']} ({cores}){gpus}; torch {environment['torch']}, numpy {environment['numpy']}"
