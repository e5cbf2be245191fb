"""What lies in a folder of runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from budbreak.errors import BudbreakError, MissingData
from budbreak.results import FILE_NAME, RunResult, load_result
from budbreak.studies.folder import TASKS, read_tasks


@dataclass(frozen=True)
class StoredRun:
    """One run in a folder.

    Args:
        folder: of the run.
        name: of its recipe.
        arms, seeds: that it has.
        state: "complete", "interrupted: 3 of 10 at level 2", or why it cannot be read.
        size: bytes of the run and of its tasks; tasks that runs share are counted with each of them.
    """

    folder: Path
    name: str
    arms: tuple[str, ...]
    seeds: int
    state: str
    size: int


@dataclass(frozen=True)
class Listing:
    """All runs in a folder, and the tasks that belong to none of them."""

    runs: tuple[StoredRun, ...]
    orphans: tuple[Path, ...]
    orphans_size: int


def list_runs(out: Path) -> Listing:
    """What lies in ``out``, the folder that runs and tasks are made in; reads only.

    Raises:
        MissingData: if there is no such folder.
    """
    if not out.is_dir():
        raise MissingData(f"{out} is no folder", "runs lie in the folder that --out names", "give that folder")
    folders = sorted(path.parent for path in out.glob(f"*/{FILE_NAME}"))
    tasks = {folder: _tasks_of(folder) for folder in folders}
    runs = tuple(_stored(folder, [out / TASKS / name for name in tasks[folder]]) for folder in folders)
    used = {path.name for names in tasks.values() for path in _with_needs([out / TASKS / name for name in names])}
    orphans = tuple(path for path in sorted((out / TASKS).glob("*-*")) if path.is_dir() and path.name not in used)
    return Listing(runs, orphans, sum(map(_size, orphans)))


def _stored(folder: Path, tasks: list[Path]) -> StoredRun:
    size = sum(map(_size, [folder, *_with_needs(tasks)]))
    try:
        result = load_result(folder)
    except BudbreakError as error:
        return StoredRun(folder, folder.name, (), 0, f"unreadable: {error.value}", size)
    return StoredRun(folder, result.name, result.arm_names, len(result.seeds), _state(result), size)


def _state(result: RunResult) -> str:
    if result.complete:
        return "complete"
    last = max((level.level for level in result.levels), default=0)
    over = sum(level.level == last for level in result.levels) if last else 0
    return f"interrupted: {over} of {len(result.arms) * len(result.seeds)} at level {last}"


def _tasks_of(folder: Path) -> list[str]:
    try:
        tasks = read_tasks(folder)
    except (FileNotFoundError, BudbreakError):
        return []
    return list(dict.fromkeys(tasks.values()))


def _with_needs(tasks: Sequence[Path]) -> list[Path]:
    """The folders of tasks, of what they need, of what that needs, and so on; each once."""
    found, left = dict[Path, None](), list(tasks)
    while left:
        task = left.pop()
        if task not in found:
            found[task] = None
            left += [task.parent / need for need in _needs_of(task)]
    return list(found)


def _needs_of(folder: Path) -> tuple[str, ...]:
    from budbreak.studies.taskfolder import read_task

    try:
        return read_task(folder).needs
    except (FileNotFoundError, BudbreakError):
        return ()


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
