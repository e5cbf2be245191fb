"""The folder of a run: one recipe, one process at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

from budbreak.files import FolderLock, read_json, sweep, write_bytes, write_json, write_text
from budbreak.recipes import Recipe, to_toml
from budbreak.results import FILE_NAME, load_result
from budbreak.studies.chosen import PLAN
from budbreak.studies.task import Task
from budbreak.studies.weights import WEIGHTS

RECIPE, TASKS, NETWORKS = "recipe.toml", "tasks", "networks"
RUN_TASKS, RUN_TASKS_KIND = "tasks.json", "run tasks 1"


@contextlib.contextmanager
def claimed(folder: Path, recipe: Recipe) -> Generator[None, None, None]:
    """Hold a run's folder meanwhile, clean up what a killed process left half written, and write the recipe down.

    Raises:
        StoreBusy: if another living process holds it, which is not disturbed.
        StoreMismatch, CorruptFile: if it holds the results of another recipe, or damaged ones.
        CannotWrite: if the folder cannot be made.
    """
    lock = FolderLock(folder)
    lock.take()
    try:
        for place in (folder, folder / "figures", folder / NETWORKS):
            sweep(place)
        if (folder / FILE_NAME).exists():
            load_result(folder, identity=recipe.identity)
        write_text(folder / RECIPE, to_toml(recipe.plain))
        yield
    finally:
        lock.release()


def network_name(arm: str, task: Task) -> str:
    """The name of the file with the final weights of an arm under a seed."""
    return f"{arm}-seed{task.seed}.safetensors"


def drop_networks(folder: Path, keep: Set[str]) -> None:
    """Delete the weights of arms and seeds that a run does not have, or not yet: all but the files of these names.

    They are copies of what lies in the folders of tasks, and so are the activations beside them.
    """
    for path in (folder / NETWORKS).glob("*-seed*.safetensors"):
        if path.name not in keep:
            path.unlink(missing_ok=True)
            _plan_beside(path).unlink(missing_ok=True)


def save_network(folder: Path, arm: str, task: Task) -> None:
    """Put the final weights of an arm under a seed where a person looks for them, and the activations they need."""
    path = folder / NETWORKS / network_name(arm, task)
    for source, target in ((task.folder / WEIGHTS, path), (task.folder / PLAN, _plan_beside(path))):
        if source.is_file():
            data = source.read_bytes()
            if not target.exists() or target.read_bytes() != data:
                write_bytes(target, data)


def _plan_beside(path: Path) -> Path:
    return path.with_name(f"{path.stem}.{PLAN}")


def save_tasks(folder: Path, tasks: Mapping[str, Task], *, identity: str) -> None:
    """Write down which task holds which arm under which seed: "host seed 0" -> the name of its folder."""
    names = {name: task.folder.name for name, task in tasks.items()}
    write_json(folder / RUN_TASKS, {"tasks": names}, RUN_TASKS_KIND, store=identity)


@dataclass(frozen=True)
class _RunTasks:
    """What ``tasks.json`` holds."""

    tasks: Mapping[str, str]


def read_tasks(folder: Path) -> Mapping[str, str]:
    """What `save_tasks` wrote.

    Raises:
        FileNotFoundError: if there is no such file.
        CorruptFile: if it is not what was written.
    """
    return read_json(folder / RUN_TASKS, RUN_TASKS_KIND, _RunTasks).tasks
