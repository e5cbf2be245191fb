"""What running tasks have noted since the last look: progress is read from their files, wherever they are computed."""

from __future__ import annotations

import os
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from budbreak.errors import BudbreakError
from budbreak.results import NOTES, NotesFile, read_notes, retrained_folder
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
        retraining: "masked" or "free" where the network of the last level is trained once more; else empty.
    """

    task: str
    done: int
    total: int
    level: int
    epoch: int
    density: float
    numbers: Mapping[str, float]
    ended: bool = False
    retraining: str = ""


Report = Callable[[Event], None]


class Watch:
    """Looks at the notes of some tasks; what lies there at the first look was noted by earlier sessions.

    Args:
        tasks: that may be running, in this process or elsewhere.
        report: called with each `Event` since the last look.
    """

    def __init__(self, tasks: Sequence[Task], report: Report) -> None:
        self._tasks, self._report = {task.identity: task for task in tasks}, report
        self._stamps: dict[Path, tuple[int, int]] = {}
        self._seen: dict[str, set[_Place]] = {task.identity: set() for task in tasks}
        for task in tasks:
            for _ in self._new(task):
                pass

    def done(self) -> Mapping[str, int]:
        """Task name -> epochs that are over."""
        return {task.name: self._epochs(identity) for identity, task in self._tasks.items()}

    def look(self) -> None:
        """Report what is new."""
        for task in self._tasks.values():
            for event in self._new(task):
                self._report(event)

    def _new(self, task: Task) -> Iterator[Event]:
        """What was noted since the last look."""
        seen = self._seen[task.identity]
        for place, event in self._events(task):
            if place not in seen:
                seen.add(place)
                yield event

    def _epochs(self, identity: str) -> int:
        return sum(not place.ends for place in self._seen[identity])

    def _events(self, task: Task) -> Iterator[tuple[_Place, Event]]:
        if (notes := self._read(task.folder, task.identity)) is not None:
            yield from _events(task, notes)
        for way in task.setup.retrain.ways:
            notes = self._read(retrained_folder(task.folder, way), task.identity)
            if notes is not None:
                earlier = [one for one in self._seen[task.identity] if one.way != way and not one.ends]
                level = max((one.level for one in earlier), default=0)
                for place, event in _events(task, notes, way):
                    yield place, replace(event, done=event.done + len(earlier), level=level)

    def _read(self, folder: Path, identity: str) -> NotesFile | None:
        """The notes of a training, if they have changed. One that cannot be read is the task's own error to tell."""
        try:
            status = os.stat(folder / NOTES)
            stamp = status.st_mtime_ns, status.st_size
            if self._stamps.get(folder) == stamp:
                return None
            notes = read_notes(folder, identity)
        except (OSError, BudbreakError):
            return None
        self._stamps[folder] = stamp
        return notes


@dataclass(frozen=True)
class _Place:
    """What tells an event of a task from its others: an epoch, or the end of a training."""

    way: str
    level: int
    stage: int
    epoch: int = 0
    ends: bool = False


def _events(task: Task, notes: NotesFile, way: str = "") -> Iterator[tuple[_Place, Event]]:
    total, places = task.epochs, sorted((one.level, one.stage, one.epoch) for one in notes.epochs if one.epoch > 0)
    for noted in notes.epochs:
        if noted.epoch > 0:
            place = noted.level, noted.stage, noted.epoch
            done = bisect_right(places, place)
            event = Event(task.name, done, total, noted.level, noted.epoch, noted.density, noted.result.numbers)
            yield _Place(way, *place), replace(event, retraining=way)
    for end in notes.ends:
        done = bisect_right(places, (end.level, end.stage, sys.maxsize))
        epochs = done - bisect_left(places, (end.level, end.stage, 0))
        event = Event(task.name, done, total, end.level, epochs, end.density, end.numbers, ended=True, retraining=way)
        yield _Place(way, end.level, end.stage, ends=True), event
