"""What came of one trial of a search, in a small file of its task's folder."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from budbreak.diagnostics import Quantity
from budbreak.files import read_json, write_json
from budbreak.search import History, Trial
from budbreak.studies.task import Kind, Task

SEARCH = (
    Quantity("search_trials", "trials of the search", "count", "", "without those that were known."),
    Quantity("search_epochs", "epochs of the search", "count", "lower"),
    Quantity("search_seconds", "time of the search", "seconds", "lower", "of all trainings; differs from run to run."),
    Quantity("search_accuracy", "validation accuracy of the chosen one", "share", "higher", "in the search."),
)
"""What a search cost, and promised."""
_NAMES = {quantity.name for quantity in SEARCH}
_FILE, _KIND = "trial.json", "task trial 1"
_STEPS: tuple[Kind, ...] = ("tuned", "tuning", "finalist", "trial")  # the best of the first that there are goes on


@dataclass(frozen=True)
class _TrialFile:
    """What the file holds: None where the sampler had stopped, or there was no candidate."""

    trial: Trial | None


def write_trial(task: Task, trial: Trial | None) -> None:
    """Write what came of a trial: with it the task is complete."""
    write_json(task.folder / _FILE, {"trial": None if trial is None else asdict(trial)}, _KIND, store=task.identity)


def is_tried(folder: Path) -> bool:
    """Whether a trial is over."""
    return (folder / _FILE).is_file()


def read_trial(task: Task) -> Trial | None:
    """What came of a trial; None where the sampler had stopped, or there was no candidate.

    Raises:
        FileNotFoundError: if it is not over.
        CorruptFile, StoreMismatch: if the file is not what the task wrote.
    """
    remedy = f"restore it from a copy, or delete the folder {task.folder}: this trial then begins anew"
    return read_json(task.folder / _FILE, _KIND, _TrialFile, stores={task.identity}, remedy=remedy).trial


def read_history(trials: tuple[Task, ...]) -> History:
    """The trials that are over, in order, up to where the sampler stopped.

    Raises:
        FileNotFoundError, CorruptFile, StoreMismatch: see `read_trial`.
    """
    found = [read_trial(task) for task in trials]
    return History(tuple(trial for trial in found if trial is not None))


def search_numbers(task: Task) -> dict[str, float]:
    """What the searches before a last training cost: see `SEARCH`.

    Nothing where there was none, or a trial was deleted that is not computed again yet.
    """
    needed = task.needed("trial", "finalist", "tuning", "tuned")
    if not all(is_tried(need.folder) for need in needed):
        return {}
    found = [read_trial(need) for need in needed]
    tried = [trial for trial in found if trial is not None and trial.same_as is None]
    if not tried:
        return {}
    promised = next(best for kind in _STEPS if (best := _best(task, kind)) is not None)
    costs = len(tried), sum(trial.epochs or 0 for trial in tried), sum(trial.seconds for trial in tried), promised
    return {quantity.name: float(number) for quantity, number in zip(SEARCH, costs, strict=True)}


def is_search(name: str) -> bool:
    """Whether a quantity of this name is one of `SEARCH`: each arm has one number, and no curve."""
    return name in _NAMES


def _best(task: Task, kind: Kind) -> float | None:
    """The score of the best of tasks of a kind: of one that was stopped only where no other has a score."""
    history = read_history(task.needed(kind))
    return None if history.best is None else history[history.best].score
