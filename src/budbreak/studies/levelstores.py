"""Which store has the weights of a level of a task: that of the task, or one of those that it needed."""

from __future__ import annotations

from pathlib import Path

from budbreak.errors import MissingData
from budbreak.iteration import Checkpoint, LevelWeights, Store, mask_of_level, read_level
from budbreak.masks import Mask
from budbreak.studies.taskfolder import read_task


def store_of_level(folder: Path, level: int) -> tuple[Path, int]:
    """The store that has a level of a task, and the number that it has there.

    Level 0 of a task that prunes is that of the dense training that it started from, if there was one; a last training
    that has a task of its own is level 0 of its store.
    """
    try:
        task = read_task(folder)
    except FileNotFoundError:
        return folder, level
    needs = [folder.parent / need for need in task.needs]
    if task.task == "final" and level == _levels_of(needs[0]):
        return folder, 0
    return store_of_level(needs[0], level) if needs and (level == 0 or task.task == "final") else (folder, level)


def weights_of_level(folder: Path, number: int) -> tuple[LevelWeights, Mask, Store]:
    """What a store has of a level, by the number that it has there.

    Raises:
        MissingData: if there is no store, or it has not kept that level; says which it has.
        CorruptFile, StoreMismatch, CannotRead: if a file cannot be used.
    """
    store = Store(folder)
    try:
        store.look()
    except FileNotFoundError:
        raise MissingData(f"{folder} holds no store", "a level lies in one", "give the folder of a run") from None
    found, _ = read_level(store, number)
    return found, mask_of_level(store, found), store


def kept_levels(folder: Path) -> tuple[int, ...]:
    """The levels of a task, or of the store of an iteration, whose weights are kept, from the first."""
    try:
        task = read_task(folder)
    except FileNotFoundError:
        return _kept_in(folder)
    needs = [folder.parent / need for need in task.needs]
    if task.task == "final":
        return (*kept_levels(needs[0]), *(_levels_of(needs[0]) for _ in _kept_in(folder)))
    return tuple(sorted({*(level for need in needs for level in _kept_in(need)), *_kept_in(folder)}))


def level_of(folder: Path, checkpoint: Checkpoint) -> int:
    """The level of a task at which its newest checkpoint stands."""
    try:
        task = read_task(folder)
    except FileNotFoundError:
        return checkpoint.position.level
    final = task.task == "final" and task.needs
    return _levels_of(folder.parent / task.needs[0]) if final else checkpoint.position.level


def _kept_in(folder: Path) -> tuple[int, ...]:
    store = Store(folder)
    try:
        store.look()
    except FileNotFoundError:
        return ()
    stored = store.load_checkpoint()
    over = stored is not None and stored[0].position.ended and stored[0].records[-1].last_stage
    last = [stored[0].position.level] if stored is not None and over else []
    return tuple(sorted({*store.levels_kept(), *last}))


def _levels_of(pruned: Path) -> int:
    """The level at which a task stopped that leaves its last training to another one."""
    store = Store(pruned)
    store.look()
    stood = store.load_checkpoint()
    over = [record.level for record in stood[0].records if record.last_stage] if stood is not None else []
    return max(over, default=-1) + 1
