"""The tasks that follow the last pruning, where its training comes after a search, or has other activations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from budbreak.files import digest
from budbreak.recipes import SearchSection, Setup
from budbreak.studies.task import Kind, Task
from budbreak.values import telling

_OF_TRIALS = ("sampler", "epochs", "parallel", "stop")
_OF_SCALARS = ("use", "space", "trainable", "per")


def tasks_after(pruned: Task, name: str, setup: Setup) -> tuple[Task, ...]:
    """The pruned network, trials and finalists of both searches, as far as there are any, and the last training.

    Args:
        pruned: the task that leaves the pruned network.
        name: of the arm and its seed.
        setup: of the arm.
    """
    asked = setup.activations.told()
    first = replace(pruned, needs=(pruned,))
    begun = {"pruned": pruned.identity, **({"first epoch": setup.first_epoch} if setup.first_epoch else {})}
    choices = {**begun, "space": telling(setup.activations.choices)}
    found = _search(first, name, ("trial", "finalist"), setup.activations, choices)
    after = {key: asked[key] for key in _OF_SCALARS if key in asked}
    told: dict[str, Any] = {**begun, "activations": after, "found": _identities(found)}
    if setup.tune.searches:
        told["space"] = telling(setup.tune.choices(setup.train.epochs))
    tuned = _search(replace(pruned, needs=(pruned, *found)), name, ("tuning", "tuned"), setup.tune, told)
    identity = digest({"task": "final", **told, "tuned": _identities(tuned)})
    needs = (pruned, *found, *tuned)
    return *needs, replace(pruned, kind="final", identity=identity, label=name, needs=needs)


def _identities(tasks: Sequence[Task]) -> list[str]:
    return [task.identity for task in tasks]


def _search(
    like: Task, name: str, kinds: tuple[Kind, Kind], section: SearchSection, told: dict[str, Any]
) -> tuple[Task, ...]:
    """The trials of a search, then its finalists.

    Args:
        like: a task with all that they have in common, the needs of each included.
        name: of the arm and its seed.
        kinds: of a trial, and of a finalist.
        section: what is searched.
        told: what tells this search from others of the same section.
    """
    if not section.searches:
        return ()
    trial, finalist = kinds
    asked = section.told()
    told = {**told, **{key: asked[key] for key in _OF_TRIALS if key in asked}}
    trials = list[Task]()
    for number in range(section.trials):
        seen = trials[: max(0, number + 1 - section.parallel)]
        identity = digest({"task": trial, **told, "number": number})
        label, needs = f"{name} {trial} {number}", (*like.needs, *seen)
        trials.append(replace(like, kind=trial, identity=identity, label=label, needs=needs, number=number))
    finalists = list[Task]()
    for number in range(min(section.finalists, len(trials))):
        identity = digest({"task": finalist, **told, "trials": len(trials), "number": number})
        label, needs = f"{name} {finalist} {number}", (*like.needs, *trials)
        finalists.append(replace(like, kind=finalist, identity=identity, label=label, needs=needs, number=number))
    return *trials, *finalists
