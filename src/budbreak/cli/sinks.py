"""Send what a run measures to the user's own tracker, by one callable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from budbreak.cli.console import complain
from budbreak.foreign import described, find_callable
from budbreak.studies import Event

Sink = Callable[[Event], None]
Log = Callable[..., object]


def open_sink(name: str | None) -> Sink:
    """A sink that calls ``package.module:callable`` with one flat dict an epoch; nothing without a name.

    The dict holds task, level, epoch (within the level's training, from 1), epochs_done (over all trainings of the
    task), epochs_total, density, retraining ("masked", "free", or "") and every number measured. A callable that
    raises costs its entry and a line, not the run.

    Raises:
        InvalidValue, UnknownName: if the name is not of that form, or cannot be found or imported.
    """
    if name is None:
        return lambda event: None
    return _Guarded(name, find_callable(name, what="--log"))


def entry(event: Event) -> dict[str, Any]:
    """The flat dict of an event."""
    return {
        **event.numbers,
        "task": event.task,
        "level": event.level,
        "epoch": event.epoch,
        "epochs_done": event.done,
        "epochs_total": event.total,
        "density": event.density,
        "retraining": event.retraining,
    }


class _Guarded:
    """Calls the user's callable; says once that it raises."""

    def __init__(self, name: str, log: Log) -> None:
        self.name, self.log = name, log
        self.said = False

    def __call__(self, event: Event) -> None:
        try:
            self.log(entry(event))
        except (Exception, SystemExit) as error:
            if not self.said:
                self.said = True
                value = f"--log {self.name} raised {described(error)}"
                complain("warning", value, "the run goes on, and this is said once")
