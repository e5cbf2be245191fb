"""Progress on the terminal: one line that changes, or a line now and then where there is no terminal."""

from __future__ import annotations

import shutil
import sys
import time
from types import TracebackType

from budbreak.cli.folding import folded
from budbreak.studies import Event, RunResult

_QUIET_SECONDS = 20.0  # between lines where output is not a terminal


class Display:
    """Shows events; a context manager that leaves the terminal on a fresh line."""

    def __init__(self, *, jobs: int, epochs: int, levels: int) -> None:
        self.jobs, self.epochs, self.levels = jobs, epochs, levels
        self.terminal = sys.stderr.isatty()
        self.done: dict[str, int] = {}
        self.first: dict[str, int] = {}
        self.level = ""
        self.finished = 0
        self.start = time.monotonic()
        self.last = 0.0

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the changing line."""
        if self.terminal:
            print(file=sys.stderr)

    def show(self, event: Event) -> None:
        """Take an epoch in."""
        self.first.setdefault(event.job, event.done - 1)
        self.done[event.job] = event.done
        if "test_accuracy" in event.metrics:
            dnr = f", DNR {event.metrics['dnr_total']:.1%}" if "dnr_total" in event.metrics else ""
            test = event.metrics["test_accuracy"]
            self.level = f"{event.job} level {event.level} ({event.density:.1%}): test {test:.2%}{dnr}"
        self._print()

    def job_done(self, result: RunResult) -> None:
        """Count what is complete, also what earlier sessions ran."""
        epochs: dict[str, int] = {}
        for level in result.levels:
            name = f"{level.arm}-seed{level.seed}"
            epochs[name] = epochs.get(name, 0) + level.epochs
        for name, count in epochs.items():
            self.first.setdefault(name, count)
            self.done.setdefault(name, count)
        self.finished = sum(level.level == self.levels for level in result.levels)
        self._print(force=True)

    def _print(self, *, force: bool = False) -> None:
        now = time.monotonic()
        if not force and now - self.last < (0.1 if self.terminal else _QUIET_SECONDS):
            return
        self.last = now
        line = self._line(now)
        if self.terminal:
            width = shutil.get_terminal_size().columns - 1
            print("\r" + line[:width].ljust(width), end="", file=sys.stderr, flush=True)
        else:
            print(folded(line), file=sys.stderr, flush=True)

    def _line(self, now: float) -> str:
        done = sum(self.done.values())
        here, left = done - sum(self.first.values()), self.epochs - done
        remaining = f", about {_duration((now - self.start) / here * left)} left" if here and left else ""
        return f"{done}/{self.epochs} epochs{remaining} | {self.finished}/{self.jobs} jobs | {self.level}"


def _duration(seconds: float) -> str:
    """Text such as 45 s, 12 min, 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
