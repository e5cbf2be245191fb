"""What was searched before a last training, and chosen: read from the folders of tasks that are over."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

from budbreak.activations import ActivationPlan
from budbreak.errors import MissingData
from budbreak.search import Trial
from budbreak.studies.chosen import PLAN
from budbreak.studies.searching import chosen_setup
from budbreak.studies.task import Kind, Place, Task
from budbreak.studies.taskfolder import read_task
from budbreak.studies.trialfile import read_trial

_TRIALS: tuple[Kind, ...] = ("trial", "finalist", "tuning", "tuned")


@dataclass(frozen=True)
class Searched:
    """What a last training had that others before it decided.

    Args:
        plan: the activations, with which it began; None where the network kept its own.
        train: ``[train]``, every field spelt out, with the hyper-parameters that were found.
        trials: kind -> the trials of that search, in order, up to where the sampler stopped: "trial" and "finalist"
            for activations, "tuning" and "tuned" for hyper-parameters; no kind of which there is no trial.
    """

    plan: ActivationPlan | None
    train: Mapping[str, Any]
    trials: Mapping[Kind, tuple[Trial, ...]]


def read_searched(folder: Path) -> Searched:
    """What was searched and chosen for the last training in the folder of a task, which is over.

    The folders of the tasks that it needed lie beside it.

    Raises:
        MissingData: if a folder is not there, or a trial not over.
        CorruptFile, StoreMismatch: if a file is not what was written.
        NotFinite: if all trials diverged.
    """
    try:
        needs = tuple(_task(folder.parent / name) for name in read_task(folder).needs)
        task = _task(folder, needs)
        return Searched(_plan(folder), chosen_setup(task).plain()["train"], dict(_searches(task)))
    except FileNotFoundError as error:
        raise MissingData(
            f"no file {error.filename}",
            "what was searched before a last training lies in the folders of its tasks, beside its own",
            "read it where it was computed, or copy the whole folder of tasks",
        ) from None


def _searches(task: Task) -> Iterator[tuple[Kind, tuple[Trial, ...]]]:
    for kind in _TRIALS:
        tried = tuple(trial for trial in map(read_trial, task.needed(kind)) if trial is not None)
        if tried:
            yield kind, tried


def _task(folder: Path, needs: tuple[Task, ...] = ()) -> Task:
    """The task of a folder; nothing more of what it needs than is given."""
    stored, place = read_task(folder), Place(folder.parent, None, None)
    assert stored.task in get_args(Kind)
    plain = json.dumps(stored.setup)
    return Task(cast("Kind", stored.task), stored.identity, stored.label, stored.seed, plain, place, needs)


def _plan(folder: Path) -> ActivationPlan | None:
    try:
        return ActivationPlan.load(folder / PLAN)
    except MissingData:
        return None
