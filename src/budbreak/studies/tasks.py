"""What has to be computed, each by its identity: dense trainings, levels of arms, trials of a search."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from budbreak.data import find
from budbreak.errors import StoreMismatch
from budbreak.evidence import observers_of
from budbreak.files import digest
from budbreak.foreign import find_callable
from budbreak.iteration import criteria_of, watching
from budbreak.live import state_digest
from budbreak.recipes import Setup
from budbreak.studies.making import make_network
from budbreak.studies.searchtasks import tasks_after
from budbreak.studies.task import Place, Task
from budbreak.values import telling

SCHEMA = 1  # a changed meaning of a field must not take old results for new ones: raise this then


def tasks_of(arm: str, setup: Setup, seeds: Iterable[int], place: Place) -> list[tuple[Task, ...]]:
    """For each seed the tasks of an arm, each after what it needs: the last one ends the arm.

    Other arms may share the dense training, the pruned network and trials.
    """
    make = _searched if setup.ends_apart else _levels
    return [make(arm, setup, seed, place) for seed in seeds]


def _searched(arm: str, setup: Setup, seed: int, place: Place) -> tuple[Task, ...]:
    """The tasks of an arm whose last training follows a search, or has other activations."""
    dense = _dense(arm, setup, seed, place) if setup.prune.schedule.levels else ()
    identity = digest({"task": "pruned", **_told_of_levels(setup, seed, dense)})
    pruned = Task("pruned", identity, f"{arm} seed {seed} pruned", seed, _json(setup), place, dense)
    return *dense, *tasks_after(pruned, f"{arm} seed {seed}", setup)


def _levels(arm: str, setup: Setup, seed: int, place: Place) -> tuple[Task, ...]:
    dense = _dense(arm, setup, seed, place)
    retrain = {"retrain": setup.retrain.told()} if setup.retrain.ways else {}
    identity = digest({"task": "levels", **_told_of_levels(setup, seed, dense), **retrain})
    return *dense, Task("levels", identity, f"{arm} seed {seed}", seed, _json(setup), place, dense)


def _dense(arm: str, setup: Setup, seed: int, place: Place) -> tuple[Task, ...]:
    """The dense training that the levels start from; none where a fresh network is pruned."""
    if not setup.prune.train_dense:
        return ()
    dense_setup = dense_of(setup)
    identity = digest({"task": "dense", **_told(dense_setup, seed)})
    return (Task("dense", identity, f"dense of {arm} seed {seed}", seed, _json(dense_setup), place),)


def _told_of_levels(setup: Setup, seed: int, dense: Sequence[Task]) -> dict[str, Any]:
    """What tells the levels of an arm from others."""
    return {"dense": dense[0].identity, "prune": setup.prune.told()} if dense else _told(setup, seed)


def check_identity(task: Task) -> None:
    """Refuse to compute a task where its result would be another one than that of its identity.

    Raises:
        StoreMismatch: if the code of the user's own that this process has imported is not that of the process that
            named the task: it was edited meanwhile, or differs from machine to machine.
    """
    (tasks,) = tasks_of(task.label, task.setup, [task.seed], task.place)
    found = {(other.kind, other.number): other.identity for other in tasks}
    if task.identity != found[task.kind, task.number]:
        raise StoreMismatch(
            f"{task.label}: its classes, or its network, are not what they were when the run began",
            "a result belongs to the code that computed it: a file of yours was edited, or differs on this machine",
            "run the same command again: what is complete with the code that is there now stays",
        )


def dense_of(setup: Setup) -> Setup:
    """The part of a setup that decides the dense training: what is prunable and the rewind point belong to it.

    So do the criteria that have it watched.
    """
    criterion, then = watching(setup.prune.criterion, setup.prune.then)
    kept = {name: getattr(setup.prune, name) for name in ("exclude", "rewind", "rewind_epoch")}
    kept |= {"criterion": criterion, "then": then}
    dense = type(setup.prune).model_validate({"schedule": "dense"})
    later = {name: type(getattr(setup, name)).model_validate({}) for name in ("activations", "tune", "retrain")}
    measure = setup.measure.model_copy(update={"compact": False})
    return setup.model_copy(update={"prune": dense.model_copy(update=kept), "measure": measure, **later})


def distinct(tasks: Sequence[Task]) -> list[Task]:
    """The first task of each identity, or the first whose network is compacted, too, which makes all of both.

    The arms of a seed have their dense training in common.
    """
    firsts: dict[str, Task] = {}
    for task in tasks:
        known = firsts.setdefault(task.identity, task)
        if task.setup.measure.compact and not known.setup.measure.compact:
            firsts[task.identity] = task
    return list(firsts.values())


def _told(setup: Setup, seed: int) -> dict[str, Any]:
    """What tells a training that begins with a fresh network from others."""
    dense = setup.prune.schedule.levels == 0
    prune = _told_of_dense(setup) if dense else setup.prune.told()
    network = {**setup.network.told(), "init": setup.network.initialisation, **_factory(setup, seed)}
    return {
        "schema": SCHEMA,
        "seed": seed,
        "data": setup.data.told(),
        "network": network,
        "train": setup.train.told(),
        "prune": prune,
        "measure": {name: value for name, value in setup.measure.told().items() if name != "compact"},
    }


def _told_of_dense(setup: Setup) -> dict[str, Any]:
    """Of what prunes later, a dense training is told by what watches it, whichever criterion reads that."""
    needs = (need for criterion in criteria_of(setup.prune.criterion, setup.prune.then) for need in criterion.needs)
    observers = sorted(observers_of(needs), key=repr)
    watched = {"watched": [telling(one) for one in dict.fromkeys(observers)]} if observers else {}
    later = ("schedule", "criterion", "then")
    return {key: value for key, value in setup.prune.told().items() if key not in later} | watched


def _factory(setup: Setup, seed: int) -> dict[str, Any]:
    """What tells the network of a user's factory from another one that the same name may build tomorrow."""
    if ":" not in setup.network.name:
        return {}
    model = make_network(setup.network, find(setup.data.name), seed)
    modules = {name: f"{type(module).__name__}({module.extra_repr()})" for name, module in model.named_modules()}
    factory = telling(find_callable(setup.network.name, what="a factory"))
    return {"factory": factory, "modules": modules, "first values": state_digest(model.state_dict())[:16]}


def _json(setup: Setup) -> str:
    return json.dumps(setup.plain(), sort_keys=True)
