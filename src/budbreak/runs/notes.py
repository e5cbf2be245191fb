"""What a job measures beside the records of its store: one small file, rewritten whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from budbreak.iteration import LevelRecord
from budbreak.runs.result import EpochResult, LayerResult, LevelResult
from budbreak.storage import read_json, write_json


class Notes:
    """The epochs and layers of one job, in ``notes.json`` of its folder.

    An epoch that is measured again, because a killed run repeats it, replaces the old one.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notes.json"
        body: dict[str, Any] = read_json(self.path) if self.path.exists() else {}
        self.epochs: dict[str, dict[str, Any]] = body.get("epochs", {})
        self.layers: dict[str, list[dict[str, Any]]] = body.get("layers", {})

    def add_epoch(self, level: int, stage: int, epoch: int, result: EpochResult) -> None:
        """Keep what was measured after an epoch."""
        self.epochs[_key(level, stage, epoch)] = asdict(result)
        self._write()

    def last_epoch(self, level: int, stage: int) -> EpochResult:
        """The newest epoch of a training."""
        keys = [key for key in self.epochs if key.startswith(f"{level}/{stage}/")]
        return EpochResult(**self.epochs[max(keys, key=_order)])

    def set_layers(self, level: int, layers: Sequence[LayerResult]) -> None:
        """Keep the layers as they are at the end of a level."""
        self.layers[str(level)] = [asdict(layer) for layer in layers]
        self._write()

    def curve(self, level: int) -> tuple[EpochResult, ...]:
        """The epochs of a level, over all its stages."""
        keys = sorted((key for key in self.epochs if key.startswith(f"{level}/")), key=_order)
        return tuple(EpochResult(**self.epochs[key]) for key in keys)

    def _write(self) -> None:
        write_json(self.path, {"epochs": self.epochs, "layers": self.layers})


def collect(folder: Path, *, arm: str, seed: int) -> list[LevelResult]:
    """The levels of a job that are over, from the files in its folder."""
    path = folder / "records.json"
    if not path.exists():
        return []
    records = [_record(body) for body in read_json(path)["records"]]
    notes = Notes(folder)
    levels = sorted({record.level for record in records if record.last_stage})
    return [_level_result([r for r in records if r.level == level], notes, arm, seed) for level in levels]


def _level_result(stages: Sequence[LevelRecord], notes: Notes, arm: str, seed: int) -> LevelResult:
    last = stages[-1]
    layers = notes.layers.get(str(last.level))
    remarks = [] if layers is not None else ["notes.json of this job was lost: no layers and no curve"]
    short = sum(stage.shortfall for stage in stages)
    if short:
        remarks.append(f"follow-ups found {short} candidates too few: the host removed them instead")
    curve = notes.curve(last.level)
    return LevelResult(
        arm=arm,
        seed=seed,
        level=last.level,
        kept=last.kept,
        total=last.total,
        density=last.density,
        density_all=last.density_all,
        epochs=sum(1 for epoch in curve if epoch.loss is not None),
        steps=sum(stage.steps for stage in stages),
        seconds=sum(stage.seconds for stage in stages),
        metrics=last.metrics,
        invariants=last.invariants,
        layers=tuple(LayerResult(**layer) for layer in layers or ()),
        curve=curve,
        notes=tuple(remarks),
    )


def _record(body: dict[str, Any]) -> LevelRecord:
    for name in ("follow_ups_removed", "spared"):
        body[name] = tuple(body[name])
    return LevelRecord(**body)


def _key(level: int, stage: int, epoch: int) -> str:
    return f"{level}/{stage}/{epoch}"


def _order(key: str) -> tuple[int, ...]:
    return tuple(int(part) for part in key.split("/"))
