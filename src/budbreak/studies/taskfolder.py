"""The folder of a task: what it is, whether it is complete, and the levels that are over."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from budbreak.errors import StoreMismatch
from budbreak.files import read_json, write_json
from budbreak.iteration import LevelRecord, Store, differences, read_records
from budbreak.results import (
    VALIDATION_ACCURACY,
    Counted,
    EpochResult,
    LevelResult,
    Notes,
    is_compacted,
    is_retrained,
    with_compacted,
    with_retrained,
)
from budbreak.studies.chosen import PLAN, check_plan
from budbreak.studies.prunedfile import is_pruned
from budbreak.studies.task import Task
from budbreak.studies.trialfile import is_tried, search_numbers
from budbreak.studies.weights import WEIGHTS, check_weights

_LEARNED = 1.5  # times the accuracy of the untrained network, which a dense training is to reach at least

TASK, TASK_KIND = "task.json", "task 1"


@dataclass(frozen=True)
class TaskFile:
    """What ``task.json`` holds: enough to build the network and read the data again."""

    task: str
    label: str
    seed: int
    identity: str
    needs: tuple[str, ...]
    setup: dict[str, Any]


def write_task(task: Task) -> None:
    """Write down what a folder holds, for people and for commands that look at it later."""
    if not (task.folder / TASK).exists():
        needs = [need.folder.name for need in task.needs]
        content = {"task": task.kind, "label": task.label, "seed": task.seed, "identity": task.identity}
        plain = {**content, "needs": needs, "setup": json.loads(task.plain)}
        write_json(task.folder / TASK, plain, TASK_KIND, store=task.identity)


def read_task(folder: Path) -> TaskFile:
    """What a task's folder says that it holds.

    Raises:
        FileNotFoundError: if it says nothing.
        CorruptFile: if the file is not what was written.
    """
    return read_json(folder / TASK, TASK_KIND, TaskFile)


def is_complete(task: Task) -> bool:
    """Whether all of a task is there, by its files."""
    if task.kind in ("trial", "finalist", "tuning", "tuned"):
        return is_tried(task.folder)
    if task.kind == "pruned":
        return is_pruned(task.folder)
    last = 0 if task.kind == "final" else task.setup.prune.schedule.levels
    whole = all((task.folder / name).is_file() for name in (WEIGHTS, "identity.json"))  # not one that was moved away
    whole = whole and (not task.setup.activations.replaced or (task.folder / PLAN).is_file())
    whole = whole and is_retrained(task.folder, task.setup.retrain.ways)
    whole = whole and (not task.setup.measure.compact or is_compacted(task.folder, task.setup.retrain.ways))
    return whole and any((record.level == last or record.closes) and record.last_stage for record in _records(task))


def check_complete(task: Task) -> None:
    """Refuse masks, weights and activations of a complete task that are not what it ended with.

    Raises:
        CorruptFile, StoreMismatch: with what to do about it.
    """
    store = Store(task.folder)
    store.look()
    store.check_masks(_records(task))
    check_weights(task.folder)
    if task.setup.activations.replaced:
        check_plan(task.folder)


def collect(task: Task, arm: str) -> list[LevelResult]:
    """The levels of an arm under a seed that are over; level 0 is that of the dense training that it started from.

    Raises:
        CorruptFile, StoreMismatch: if a file is not what its task wrote.
    """
    if task.kind == "final":
        return _with_final(task, arm)
    levels = _before_and(task, arm)
    return [*levels[:-1], *(_after(level, task) for level in levels[-1:])]


def _before_and(task: Task, arm: str) -> list[LevelResult]:
    """The levels of a task that prunes, after that of the dense training."""
    dense = [level for need in task.needs for level in _levels(need, arm)]
    own = [level for level in _levels(task, arm) if not dense or level.level > 0]
    return [*(replace(level, shared=True) for level in dense), *own]


def _with_final(task: Task, arm: str) -> list[LevelResult]:
    """The levels of a task whose last training has a task of its own."""
    last = task.setup.prune.schedule.levels
    finals = [_after(replace(level, level=last), task) for level in _levels(task, arm)]
    searched = [replace(level, numbers={**level.numbers, **search_numbers(task)}) for level in finals]
    return [*(level for level in _before_and(task.needs[0], arm) if level.level < last), *searched]


def _after(last: LevelResult, task: Task) -> LevelResult:
    """The last level with what was retrained and compacted after it; level 0 where no gate was reached."""
    ways = task.setup.retrain.ways
    retrained = with_retrained(last, task.folder, task.identity, ways)
    return with_compacted(retrained, task.folder, task.identity, ways) if task.setup.measure.compact else retrained


def _levels(task: Task, arm: str) -> list[LevelResult]:
    records = _records(task)
    notes = Notes(task.folder, task.identity)
    numbers = sorted({record.level for record in records if record.last_stage})
    per_level = [[record for record in records if record.level == number] for number in numbers]
    return [_level_result(stages, notes, arm, task) for stages in per_level]


def _records(task: Task) -> tuple[LevelRecord, ...]:
    """The trainings that are over, if the store in the folder is that of the task."""
    store = Store(task.folder)
    try:
        stored = store.look()
    except FileNotFoundError:
        return ()  # a store without its identity is claimed, or refused, by the iteration itself
    changed = differences(stored.get("also"), {"task": task.identity})
    if changed:
        raise StoreMismatch(
            f"{task.folder} holds the store of another task: {changed[0]}",
            f"that of {task.label} is wanted: the files of a task are its own",
            f"restore them, or delete the folder {task.folder}: this task then begins anew",
        )
    return read_records(task.folder, store.identity)


def _level_result(stages: Sequence[LevelRecord], notes: Notes, arm: str, task: Task) -> LevelResult:
    last = stages[-1]
    layers, curve = notes.layers(last.level), notes.curve(last.level)
    epochs = sum(stage.epochs for stage in stages)
    lost = epochs + len(stages) - len(curve)
    return LevelResult(
        arm=arm,
        seed=task.seed,
        level=last.level,
        kept=last.kept,
        total=last.total,
        density=last.density,
        density_all=last.density_all,
        epochs=epochs,
        steps=sum(stage.steps for stage in stages),
        seconds=sum(stage.seconds for stage in stages),
        numbers=last.metrics,
        invariants=last.invariants,
        layers=layers or (),
        curve=curve,
        notes=(*_remarks(stages, layers, lost=lost), *_not_learned(task, last.level, curve)),
        counted=None if last.counted == "weights" else Counted(last.counted_kept, last.counted_total, last.counted),
    )


def _not_learned(task: Task, level: int, curve: Sequence[EpochResult]) -> Iterator[str]:
    """A dense training that leaves the network where it was: what is pruned of it says nothing about pruning."""
    accuracies = [point.numbers.get(VALIDATION_ACCURACY.name) for point in curve]
    before, after = (accuracies[0], accuracies[-1]) if len(curve) > 1 and level == 0 else (None, None)
    if before is not None and after is not None and (not after or after < min(_LEARNED * before, 0.5)):
        shrunk = task.setup.train.penalty is not None
        fix = (
            "lower the strength of train.penalty, or the learning rate"
            if shrunk
            else "lower the learning rate, or warm up"
        )
        yield (
            f"the dense network did not learn: validation accuracy {100 * before:.1f} % before its training, "
            f"{100 * after:.1f} % after it; {fix}"
        )


def _remarks(stages: Sequence[LevelRecord], layers: object, *, lost: int) -> list[str]:
    remarks: list[str] = []
    if layers is None:
        remarks.append("notes.json of this task was lost: no layers and no curve")
    elif lost:
        remarks.append(f"notes.json of this task was lost in part: the curve lacks {lost} points")
    remarks += [stage.ending for stage in stages if stage.ending]
    short = sum(stage.shortfall for stage in stages)
    if short:
        remarks.append(f"what follows the host found {short} candidates too few: the host removed them instead")
    exchanged = sum(stage.exchanged or 0 for stage in stages)
    if exchanged:
        remarks.append(f"{exchanged} weights were exchanged, so that each class keeps a path from the input")
    return remarks
