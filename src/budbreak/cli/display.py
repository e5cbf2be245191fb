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


class Display:
    """Shows events; a context manager that leaves the terminal on a fresh line.

    Args:
        tasks: of the run, complete or not.
        epochs: of all of them.
    """

    def __init__(self, *, tasks: int, epochs: int) -> None:
        self.tasks, self.epochs = tasks, epochs
        self.terminal = sys.stderr.isatty()
        self.done: dict[str, int] = {}
        self.first: dict[str, int] = {}
        self.level = ""
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
        self.done[event.task] = max(event.done, self.done.get(event.task, 0))
        if event.ended:
            test = event.numbers["test_accuracy"]
            self.level = f"{event.task} level {event.level} ({event.density:.1%}): test {test:.2%}"
        self._print()

    def progress(self, result: RunResult, done: Mapping[str, int]) -> None:
        """Count what is over, also what earlier sessions trained."""
        for name, epochs in done.items():
            self.first.setdefault(name, epochs)
            self.done[name] = max(epochs, self.done.get(name, 0))
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
        remaining = f", about {duration((now - self.start) / here * left)} left" if here > 0 and left > 0 else ""
        return f"{done}/{self.epochs} epochs{remaining}{f' | {self.level}' if self.level else ''}"
