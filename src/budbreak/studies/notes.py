"""What a job measures beside the records of its store: one small file, rewritten whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from budbreak.errors import CorruptFile, StoreMismatch
from budbreak.files import digest, read_json, write_json
from budbreak.iteration import LevelRecord, Store, differences, read_records
from budbreak.studies.result import EpochResult, LayerResult, LevelResult

KIND = "notes 1"


@dataclass(frozen=True)
class NotedEpoch:
    """One evaluation: ``epoch`` counts within the training, 0 is before it."""

    level: int
    stage: int
    epoch: int
    result: EpochResult


@dataclass(frozen=True)
class NotedLayers:
    """The layers at the end of a level."""

    level: int
    layers: tuple[LayerResult, ...]


@dataclass(frozen=True)
class NotesFile:
    """What ``notes.json`` holds."""

    epochs: tuple[NotedEpoch, ...] = ()
    layers: tuple[NotedLayers, ...] = ()


class Notes:
    """The epochs and layers of one job, in ``notes.json`` of its folder.

    An epoch that is measured again, because a killed run repeats it, replaces the old one.

    Args:
        folder: of the job.
        identity: of the job, which the file must carry.

    Raises:
        CorruptFile, StoreMismatch: if the file is not what this job wrote.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self.path, self.identity = folder / "notes.json", identity
        try:
            found = read_json(self.path, KIND, NotesFile, stores={identity}, remedy=self._remedy)
        except FileNotFoundError:
            found = NotesFile()
        self.epochs = {(one.level, one.stage, one.epoch): one.result for one in found.epochs}
        self.layers = {one.level: one.layers for one in found.layers}

    def add_epoch(self, level: int, stage: int, epoch: int, result: EpochResult) -> None:
        """Keep what was measured after an epoch."""
        self.epochs[level, stage, epoch] = result
        self._write()

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
                self._remedy,
            )

    def last_epoch(self, level: int, stage: int, epochs: int) -> EpochResult:
        """The last of a training's ``epochs``."""
        self.check(level, stage, epochs)
        return self.epochs[level, stage, epochs]

    def set_layers(self, level: int, layers: Sequence[LayerResult]) -> None:
        """Keep the layers as they are at the end of a level."""
        self.layers[level] = tuple(layers)
        self._write()

    def curve(self, level: int) -> tuple[EpochResult, ...]:
        """The epochs of a level, over all its stages."""
        return tuple(self.epochs[key] for key in sorted(self.epochs) if key[0] == level)

    @property
    def _remedy(self) -> str:
        return f"restore it from a copy, or delete the folder {self.path.parent}: this job then begins anew"

    def _write(self) -> None:
        epochs = tuple(NotedEpoch(*key, result) for key, result in self.epochs.items())
        layers = tuple(NotedLayers(level, found) for level, found in self.layers.items())
        write_json(self.path, asdict(NotesFile(epochs, layers)), KIND, store=self.identity)


@dataclass(frozen=True)
class Origin:
    """Where levels come from.

    Args:
        recipe: the identity of the recipe.
        arm, seed: of the job.
        epochs: level -> epochs of each of its trainings.
    """

    recipe: str
    arm: str
    seed: int
    epochs: Callable[[int], int]

    @property
    def about(self) -> dict[str, Any]:
        """What the store of the job has in its identity, as ``also``."""
        return {"recipe": self.recipe, "arm": self.arm, "seed": self.seed}

    @property
    def identity(self) -> str:
        """Digest of recipe, arm and seed: the notes of the job carry it."""
        return digest(self.about)


def collect(folder: Path, origin: Origin) -> list[LevelResult]:
    """The levels of a job that are over, from the files in its folder.

    Raises:
        CorruptFile, StoreMismatch: if a file is not what this job wrote.
    """
    records = _records(folder, origin)
    notes = Notes(folder, origin.identity)
    levels = sorted({record.level for record in records if record.last_stage})
    return [_level_result([r for r in records if r.level == level], notes, origin) for level in levels]


def check_masks(folder: Path, origin: Origin) -> None:
    """Refuse masks of a job's levels that are not what its records say.

    Raises:
        CorruptFile, StoreMismatch: with what to do about it.
    """
    store = Store(folder)
    records = _records(folder, origin)
    if records:
        store.look()
        store.check_masks(records)


def _records(folder: Path, origin: Origin) -> tuple[LevelRecord, ...]:
    """The trainings that are over, if the store in the folder is that of the job."""
    store = Store(folder)
    try:
        found = store.look()
    except FileNotFoundError:
        return ()  # a store without its identity is claimed, or refused, by the iteration itself
    changed = differences(found.get("also"), origin.about)
    if changed:
        raise StoreMismatch(
            f"{folder} holds the store of another job: {changed[0]}",
            f"that of {origin.arm} under seed {origin.seed} is wanted: the files of a job are its own",
            f"restore them, or delete the folder {folder}: this job then begins anew",
        )
    return read_records(folder, store.identity)


def _level_result(stages: Sequence[LevelRecord], notes: Notes, origin: Origin) -> LevelResult:
    last, epochs = stages[-1], origin.epochs(stages[-1].level)
    layers, curve = notes.layers.get(last.level), notes.curve(last.level)
    return LevelResult(
        arm=origin.arm,
        seed=origin.seed,
        level=last.level,
        kept=last.kept,
        total=last.total,
        density=last.density,
        density_all=last.density_all,
        epochs=len(stages) * epochs,
        steps=sum(stage.steps for stage in stages),
        seconds=sum(stage.seconds for stage in stages),
        metrics=last.metrics,
        invariants=last.invariants,
        layers=layers or (),
        curve=curve,
        notes=tuple(_remarks(stages, layers, lost=len(stages) * (epochs + 1) - len(curve))),
    )


def _remarks(stages: Sequence[LevelRecord], layers: object, *, lost: int) -> list[str]:
    remarks: list[str] = []
    if layers is None:
        remarks.append("notes.json of this job was lost: no layers and no curve")
    elif lost:
        remarks.append(f"notes.json of this job was lost in part: the curve lacks {lost} points")
    short = sum(stage.shortfall for stage in stages)
    if short:
        remarks.append(f"follow-ups found {short} candidates too few: the host removed them instead")
    return remarks
