"""Progress: a live line per worker and one for the whole on a terminal, a line per finished level elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from budbreak.cli.console import console_on, is_watched
from budbreak.cli.pace import Pace
from budbreak.results import RETRAINED, RunResult
from budbreak.studies import Event

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live
    from rich.table import Table

_WATCHED_EPOCHS = 3  # of each worker, before the pace says something
_REFRESH_SECONDS = 0.2
_ROOM = 3  # columns left free: what is typed meanwhile (^C) breaks no line
_BAR = 30


@dataclass
class _Worker:
    """What is known of a task that is being computed."""

    pace: Pace
    density: str = ""
    accuracy: str = "starting"


class Display:
    """Shows events, on the standard error; a context manager that leaves the terminal on a fresh line.

    Nothing is drawn from another thread: it is drawn anew when something is told, at most five times a second.

    Args:
        epochs: of all tasks of the run, complete or not.
        workers: tasks at a time, >= 1.
    """

    def __init__(self, *, epochs: int, workers: int) -> None:
        self.console = console_on(sys.stderr)
        self.pace = Pace(epochs, _WATCHED_EPOCHS * workers)
        self.done: dict[str, int] = {}
        self.workers: dict[str, _Worker] = {}
        self.live: Live | None = None
        self.drawn, self.told = 0.0, 0

    def __enter__(self) -> Display:
        if is_watched(self.console):
            from rich.live import Live

            self.live = Live(
                console=self.console,
                get_renderable=self._picture,
                auto_refresh=False,
                transient=True,
                redirect_stdout=sys.stdout.isatty(),
            )
            self.live.start()
            self.console.show_cursor()  # a process that is killed could not show it again
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End with where it stands, unless the last line says so."""
        if self.live is not None:
            self.live.stop()
            self.live = None
        if self._sum() != self.told:
            self._print(self._whole(time.monotonic()))

    def show(self, event: Event) -> None:
        """Take an epoch in, or the end of a level."""
        now = time.monotonic()
        self.done[event.task] = max(event.done, self.done.get(event.task, 0))
        self.pace.see(now, self._sum())
        density = f"{100 * event.density:.1f} %"
        if (worker := self.workers.get(event.task)) is not None:
            worker.pace.see(now, self.done[event.task])
            worker.density = density
            worker.accuracy = f"{100 * event.numbers.get('validation_accuracy', math.nan):.2f} %"
        if event.ended:
            kind = "test" if "test_accuracy" in event.numbers else "validation"
            task = f"{event.task} {RETRAINED[event.retraining]}" if event.retraining else event.task
            self._tell(f"{task} at {density}: {kind} {100 * event.numbers[f'{kind}_accuracy']:.2f} %", now)
        self._draw(now)

    def working(self, tasks: Mapping[str, int]) -> None:
        """Take in which tasks are being computed, as name -> epochs in all."""
        known = self.workers
        self.workers = {
            name: known.get(name) or _Worker(Pace(epochs, _WATCHED_EPOCHS, self.done.get(name, 0)))
            for name, epochs in tasks.items()
        }
        self._draw(time.monotonic())

    def progress(self, result: RunResult, done: Mapping[str, int]) -> None:
        """Count what is over, also what earlier sessions trained."""
        self.done |= {name: max(epochs, self.done.get(name, 0)) for name, epochs in done.items()}
        self.pace.done = self._sum()
        if self.pace.first is None:
            self.told = self.pace.done
        self._draw(time.monotonic())

    def _sum(self) -> int:
        return sum(self.done.values())

    def _tell(self, level: str, now: float) -> None:
        """A level is over."""
        if self.live is not None:
            self._print(level)
            return
        self.told = self._sum()
        self._print(f"{self._whole(now)} | {level}")

    def _print(self, line: str) -> None:
        self.console.print(line, soft_wrap=not is_watched(self.console))  # in a log a line is one, however long

    def _draw(self, now: float) -> None:
        if self.live is not None and now - self.drawn >= _REFRESH_SECONDS:
            self.live.refresh()
            self.drawn = now

    def _whole(self, now: float) -> str:
        left = self.pace.left(now)
        return f"{self._sum()}/{self.pace.total} epochs{f', about {left} left' if left else ''}"

    def _picture(self) -> RenderableType:
        """The lines that change."""
        from rich.console import Group
        from rich.constrain import Constrain

        now = time.monotonic()
        parts = [self._table(now)] if self.workers else []
        return Constrain(Group(*parts, self._bar(now)), self.console.width - _ROOM)

    def _table(self, now: float) -> Table:
        """A line a worker, as many as the terminal is high."""
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        table.add_column("at work", overflow="fold")
        for head, width in (("lambda", 7), ("validation", 10), ("epochs", 6), ("left", 5)):
            table.add_column(head, justify="right", no_wrap=True, min_width=width)
        most = max(1, self.console.height - 4)
        for name, worker in list(self.workers.items())[:most]:
            epochs = f"{worker.pace.done}/{worker.pace.total}"
            table.add_row(Text(name), worker.density, worker.accuracy, epochs, worker.pace.left(now))
        if len(self.workers) > most:
            table.add_row(f"and {len(self.workers) - most} more")
        return table

    def _bar(self, now: float) -> RenderableType:
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        grid = Table.grid(padding=(0, 2, 0, 0))
        text = self._whole(now) if self._sum() < self.pace.total else f"{self._whole(now)}, writing the report"
        bar = ProgressBar(total=self.pace.total, completed=self._sum(), width=_BAR)
        if self.console.width - _ROOM >= len(text) + 2 + _BAR:
            grid.add_row(bar, text)
        else:
            grid.add_row(text)
        return grid
