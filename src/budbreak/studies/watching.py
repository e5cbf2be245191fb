"""What running tasks have noted since the last look: progress is read from their files, wherever they are computed."""

from __future__ import annotations

import os
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from budbreak.errors import BudbreakError
from budbreak.studies.notes import NOTES, NotesFile, read_notes
from budbreak.studies.task import Task


@dataclass(frozen=True)
class Event:
    """An epoch is over, or a level.

    Args:
        task: its name.
        done, total: epochs of the task.
        level, epoch: where it stands; ``density`` of that level.
        numbers: train_loss, validation_accuracy and what was measured; test_accuracy at the end of a level.
        ended: whether a training of the level is over.
    """

    task: str
    done: int
    total: int
    level: int
    epoch: int
    density: float
    numbers: Mapping[str, float]
    ended: bool = False


Report = Callable[[Event], None]


class Watch:
    """Looks at the notes of some tasks; what lies there at the first look was noted by earlier sessions.

    Args:
        tasks: that may be running, in this process or elsewhere.
        report: called with each `Event` since the last look.
    """

    def __init__(self, tasks: Sequence[Task], report: Report) -> None:
        self._tasks, self._report = {task.identity: task for task in tasks}, report
        self._stamps: dict[str, tuple[int, int]] = {}
        self._seen: dict[str, set[tuple[object, ...]]] = {}
        for task in tasks:
            self._seen[task.identity] = {key for key, _ in _events(task, self._read(task) or NotesFile())}

    def done(self) -> Mapping[str, int]:
        """Task name -> epochs that are over."""
        return {
            task.name: sum(key[0] == "epoch" for key in self._seen[identity]) for identity, task in self._tasks.items()
        }

    def look(self) -> None:
        """Report what is new."""
        for task in self._tasks.values():
            notes = self._read(task)
            for key, event in _events(task, notes) if notes is not None else ():
                if key not in self._seen[task.identity]:
                    self._seen[task.identity].add(key)
                    self._report(event)

    def _read(self, task: Task) -> NotesFile | None:
        """The notes of a task, if they have changed. One that cannot be read is the task's own error to tell."""
        try:
            status = os.stat(task.folder / NOTES)
            stamp = status.st_mtime_ns, status.st_size
            if self._stamps.get(task.identity) == stamp:
                return None
            notes = read_notes(task.folder, task.identity)
        except (OSError, BudbreakError):
            return None
        self._stamps[task.identity] = stamp
        return notes


def _events(task: Task, notes: NotesFile) -> Iterator[tuple[tuple[object, ...], Event]]:
    """Each with what tells it from the others."""
    total, places = task.epochs, sorted((one.level, one.stage, one.epoch) for one in notes.epochs if one.epoch > 0)
    for noted in notes.epochs:
        if noted.epoch > 0:
            place = noted.level, noted.stage, noted.epoch
            done = bisect_right(places, place)
            density, numbers = noted.density, noted.result.numbers
            yield ("epoch", *place), Event(task.name, done, total, noted.level, noted.epoch, density, numbers)
    for end in notes.ends:
        done = bisect_right(places, (end.level, end.stage, sys.maxsize))
        epochs = done - bisect_left(places, (end.level, end.stage, 0))
        key = ("end", end.level, end.stage)
        yield key, Event(task.name, done, total, end.level, epochs, end.density, end.numbers, ended=True)
