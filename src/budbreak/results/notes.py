"""What a task measures beside the records of its store: one small file, rewritten whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from budbreak.errors import CorruptFile
from budbreak.files import read_json, write_json
from budbreak.results.result import EpochResult, LayerResult

KIND = "notes 2"
NOTES = "notes.json"


@dataclass(frozen=True)
class NotedEpoch:
    """One evaluation: ``epoch`` counts within the training, 0 is before it."""

    level: int
    stage: int
    epoch: int
    density: float
    result: EpochResult


@dataclass(frozen=True)
class NotedEnd:
    """The end of a training: its numbers, and its layers."""

    level: int
    stage: int
    density: float
    numbers: Mapping[str, float]
    layers: tuple[LayerResult, ...]


@dataclass(frozen=True)
class NotesFile:
    """What ``notes.json`` holds."""

    epochs: tuple[NotedEpoch, ...] = ()
    ends: tuple[NotedEnd, ...] = ()


class Notes:
    """The epochs and ends of one task's trainings, in ``notes.json`` of its folder.

    An epoch that is measured again, because a killed task repeats it, replaces the old one.

    Args:
        folder: of the task.
        identity: of the task, which the file must carry.

    Raises:
        CorruptFile, StoreMismatch: if the file is not what this task wrote.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self.path, self.identity = folder / NOTES, identity
        stored = read_notes(folder, identity)
        self.epochs: dict[tuple[int, int, int], NotedEpoch] = {}
        self.ends: dict[tuple[int, int], NotedEnd] = {}
        self._plain: dict[tuple[int, ...], dict[str, Any]] = {}  # of both: made once, as each is written often
        for noted in stored.epochs:
            self._keep_epoch(noted)
        for noted in stored.ends:
            self._keep_end(noted)

    def add_epoch(self, noted: NotedEpoch) -> None:
        """Keep what was measured after an epoch."""
        self._keep_epoch(noted)
        self._write()

    def add_end(self, noted: NotedEnd) -> None:
        """Keep what was measured at the end of a training."""
        self._keep_end(noted)
        self._write()

    def _keep_epoch(self, noted: NotedEpoch) -> None:
        key = noted.level, noted.stage, noted.epoch
        self.epochs[key], self._plain[key] = noted, asdict(noted)

    def _keep_end(self, noted: NotedEnd) -> None:
        key = noted.level, noted.stage
        self.ends[key], self._plain[key] = noted, asdict(noted)

    def check(self, level: int, stage: int, epochs: int) -> None:
        """Refuse to go on with a training whose first ``epochs`` were measured, but are not here any more.

        Raises:
            CorruptFile: with what to do about it.
        """
        lost = [epoch for epoch in range(epochs + 1) if (level, stage, epoch) not in self.epochs]
        if lost:
            raise CorruptFile(
                f"{self.path} lacks epoch {lost[0]} of level {level}, which is over",
                "what was measured after each epoch is kept there; it cannot be measured again",
                _remedy(self.path.parent),
            )

    def last_epoch(self, level: int, stage: int, epochs: int) -> EpochResult:
        """The last of a training's ``epochs``."""
        self.check(level, stage, epochs)
        return self.epochs[level, stage, epochs].result

    def curve(self, level: int) -> tuple[EpochResult, ...]:
        """The epochs of a level, over all its stages."""
        return tuple(self.epochs[key].result for key in sorted(self.epochs) if key[0] == level)

    def layers(self, level: int) -> tuple[LayerResult, ...] | None:
        """The layers at the end of a level; None if they were not noted."""
        stages = [key for key in sorted(self.ends) if key[0] == level]
        return self.ends[stages[-1]].layers if stages else None

    def _write(self) -> None:
        epochs, ends = ([self._plain[key] for key in noted] for noted in (self.epochs, self.ends))
        write_json(self.path, {"epochs": epochs, "ends": ends}, KIND, store=self.identity)


def read_notes(folder: Path, identity: str) -> NotesFile:
    """What a task has noted so far; nothing where there is no file.

    Raises:
        CorruptFile, StoreMismatch: if the file is not what this task wrote.
    """
    try:
        return read_json(folder / NOTES, KIND, NotesFile, stores={identity}, remedy=_remedy(folder))
    except FileNotFoundError:
        return NotesFile()


def _remedy(folder: Path) -> str:
    return f"restore it from a copy, or delete the folder {folder}: this task then begins anew"
