"""What has to be computed, each by its identity: dense trainings, levels of arms, trials of a search."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from budbreak.data import find
from budbreak.errors import StoreMismatch
from budbreak.evidence import observers_of
from budbreak.files import digest
from budbreak.foreign import find_callable
from budbreak.iteration import criteria_of, watching
from budbreak.live import state_digest
from budbreak.studies.making import epochs_before, epochs_in_all, epochs_pruning, make_network
from budbreak.studies.sections import Setup, make_setup
from budbreak.values import telling

SCHEMA = 1  # a changed meaning of a field must not take old results for new ones: raise this then
Kind = Literal["dense", "levels", "pruned", "trial", "finalist", "final"]
_OF_TRIALS = ("space", "sampler", "epochs", "parallel")


@dataclass(frozen=True)
class Place:
    """Where tasks are computed; no part of their identity.

    Args:
        root: the folder that holds the folders of all tasks.
        data_dir: where the data sets are; None for those that come with a package.
        threads: of torch, in each process.
        imports: folders in which classes and factories of the user's own are looked for.
    """

    root: Path
    data_dir: Path | None
    threads: int | None
    imports: tuple[str, ...] = ()


@dataclass(frozen=True)
class Task:
    """Some trainings.

    ``dense`` is a training from scratch, ``levels`` prune what it gave, or a fresh network. Where another network is
    trained in the end than was pruned, there are, for ``levels``: ``pruned``, all but the last training; ``trial``, a
    candidate of a search; ``finalist``, one of the best, trained in full; and ``final``, the last training.

    Small and plain, so that it travels to other processes and machines; its result lies in its folder.

    Args:
        identity: digest of all that decides the result, 64 hexadecimal digits.
        label: what it is called, e.g. "host seed 0"; a dense training by the first arm that it was made for.
        seed: of everything random in it.
        plain: the setup's plain form, as JSON.
        needs: the dense training that the levels start from, none where a fresh network is pruned; of what comes after
            pruning the ``pruned`` task, and then all trials and finalists that are looked at, in order.
        number: of a trial, or a finalist, from 0.
    """

    kind: Kind
    identity: str
    label: str
    seed: int
    plain: str
    place: Place
    needs: tuple[Task, ...] = ()
    number: int = 0

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.label

    @property
    def folder(self) -> Path:
        """Where its result lies."""
        return self.place.root / f"{self.kind}-{self.identity[:16]}"

    @functools.cached_property
    def setup(self) -> Setup:
        """What it trains and prunes; imports classes of the user's own."""
        for folder in self.place.imports:
            if folder not in sys.path:
                sys.path.append(folder)  # last, so that it hides no library
        return make_setup(json.loads(self.plain))

    @property
    def epochs(self) -> int:
        """Epochs of all its trainings, at most, without those of what it needs."""
        if self.kind == "trial":
            return self.setup.activations.epochs
        if self.kind in ("finalist", "final"):
            return self.setup.train.epochs
        dense = epochs_before(self.setup, 1) if self.needs else 0
        return (epochs_pruning if self.kind == "pruned" else epochs_in_all)(self.setup) - dense

    @property
    def ends_arm(self) -> bool:
        """Whether an arm has its result from this task, under its seed."""
        return self.kind in ("levels", "final")

    def __getstate__(self) -> dict[str, Any]:
        """Without the setup, which is read again where the task arrives."""
        return {key: value for key, value in self.__dict__.items() if key != "setup"}


def tasks_of(arm: str, setup: Setup, seeds: Iterable[int], place: Place) -> list[tuple[Task, ...]]:
    """For each seed the tasks of an arm, each after what it needs: the last one ends the arm.

    Other arms may share the dense training, the pruned network and trials.
    """
    make = _searched if setup.activations.replaced else _levels
    return [make(arm, setup, seed, place) for seed in seeds]


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


def _searched(arm: str, setup: Setup, seed: int, place: Place) -> tuple[Task, ...]:
    """The tasks of an arm whose activations are searched, or put in, after the last pruning."""
    dense = _dense(arm, setup, seed, place) if setup.prune.schedule.levels else ()
    name, plain, asked = f"{arm} seed {seed}", _json(setup), setup.activations.told()
    identity = digest({"task": "pruned", **_told_of_levels(setup, seed, dense)})
    pruned = Task("pruned", identity, f"{name} pruned", seed, plain, place, dense)
    told = {"pruned": identity, **{key: asked[key] for key in _OF_TRIALS if key in asked}}
    trials, finalists = list[Task](), list[Task]()
    for number in range(setup.activations.trials if setup.activations.space else 0):
        seen = trials[: max(0, number + 1 - setup.activations.parallel)]
        identity = digest({"task": "trial", **told, "number": number})
        trials.append(Task("trial", identity, f"{name} trial {number}", seed, plain, place, (pruned, *seen), number))
    for number in range(setup.activations.finalists if trials else 0):
        identity = digest({"task": "finalist", **told, "trials": len(trials), "number": number})
        label = f"{name} finalist {number}"
        finalists.append(Task("finalist", identity, label, seed, plain, place, (pruned, *trials), number))
    needs = (pruned, *trials, *finalists)
    identity = digest({"task": "final", "pruned": pruned.identity, "activations": asked})
    return *dense, *needs, Task("final", identity, name, seed, plain, place, needs)


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
    later = {name: type(getattr(setup, name)).model_validate({}) for name in ("activations", "retrain")}
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
