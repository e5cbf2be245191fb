"""Progress on the terminal: one line that changes, or a line now and then where there is no terminal."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Mapping
from types import TracebackType

from budbreak.cli.folding import folded
from budbreak.studies import Event, RunResult, duration

_QUIET_SECONDS = 20.0  # between lines where output is not a terminal
_WATCHED_SECONDS = 5.0  # before these, and some epochs of each worker, the pace says nothing
_WATCHED_EPOCHS = 3


class Display:
    """Shows events; a context manager that leaves the terminal on a fresh line.

    Args:
        epochs: of all tasks of the run, complete or not.
        workers: tasks at a time, >= 1.
    """

    def __init__(self, *, epochs: int, workers: int) -> None:
        self.epochs, self.workers = epochs, workers
        self.terminal = sys.stderr.isatty()
        self.done: dict[str, int] = {}
        self.level = ""
        self.first: tuple[float, int] | None = None  # when an epoch ended first, and how many were done by then
        self.last, self.printed = 0.0, ""

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End with where it stands."""
        if self.done:
            self._print(force=True)
        if self.terminal and self.printed:
            print(file=sys.stderr)

    def show(self, event: Event) -> None:
        """Take an epoch in."""
        self.done[event.task] = max(event.done, self.done.get(event.task, 0))
        self.first = self.first or (time.monotonic(), sum(self.done.values()))
        if event.ended:
            test = event.numbers["test_accuracy"]
            self.level = f"{event.task} at {event.density:.1%}: test {test:.2%}".replace("%", " %")
        self._print()

    def progress(self, result: RunResult, done: Mapping[str, int]) -> None:
        """Count what is over, also what earlier sessions trained."""
        self.done |= {name: max(epochs, self.done.get(name, 0)) for name, epochs in done.items()}
        self._print()

    def _print(self, *, force: bool = False) -> None:
        now = time.monotonic()
        if not force and now - self.last < (0.1 if self.terminal else _QUIET_SECONDS):
            return
        line = self._line(now)
        if line != self.printed:
            self._write(line)
        self.last, self.printed = now, line

    def _write(self, line: str) -> None:
        if self.terminal:
            width = shutil.get_terminal_size().columns - 1
            print("\r" + line[:width].ljust(width), end="", file=sys.stderr, flush=True)
        else:
            print(folded(line), file=sys.stderr, flush=True)

    def _line(self, now: float) -> str:
        done = sum(self.done.values())
        return f"{done}/{self.epochs} epochs{self._remaining(now, done)}{f' | {self.level}' if self.level else ''}"

    def _remaining(self, now: float, done: int) -> str:
        """How long it will take, once enough was seen: processes that start, and resumed epochs, are no pace."""
        if self.first is None or done >= self.epochs:
            return ""
        seconds, epochs = now - self.first[0], done - self.first[1]
        if seconds < _WATCHED_SECONDS or epochs < _WATCHED_EPOCHS * self.workers:
            return ""
        return f", about {duration(seconds / epochs * (self.epochs - done))} left"
