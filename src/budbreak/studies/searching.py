"""Carry out what follows the last pruning where activations are searched, or put in: trials, and the last training."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from budbreak.activations import ActivationPlan
from budbreak.errors import NotFinite
from budbreak.iteration import Plan, iterate
from budbreak.live import replace_activations
from budbreak.masks import Mask
from budbreak.schedules import Dense
from budbreak.search import Candidate, History, SearchResult, SearchSpace, Trial
from budbreak.studies.bench import Bench
from budbreak.studies.chosen import PLAN, write_curves
from budbreak.studies.compacting import compact_once
from budbreak.studies.making import until_retrained
from budbreak.studies.notes import Notes
from budbreak.studies.prunedfile import load_pruned
from budbreak.studies.result import VALIDATION_ACCURACY
from budbreak.studies.sections import Setup
from budbreak.studies.tasks import Task
from budbreak.studies.trainer import Tell, Trainer
from budbreak.studies.trialfile import read_history, read_trial, write_trial
from budbreak.studies.weights import save_weights

_KEPT = ("task.json", "notes.json", "trial.json", "task.lock")  # of the folder of a trial that is over


def train_once(
    trainer: Trainer, bench: Bench, setup: Setup, mask: Mask, folder: Path, *, also: Mapping[str, object]
) -> None:
    """Train a network under a mask once, by ``[train]`` from its first step, in a store that survives being killed.

    Args:
        trainer: of the network.
        bench: it is prepared on.
        setup: decides the optimizer and its schedule, which may be made for more epochs than the trainer trains.
        mask: what is alive; all that is pruned stays zero.
        folder: of the store.
        also: what tells this training from others.
    """
    optimizer, rates = bench.equipment(trainer.model, setup)
    with iterate(
        trainer.model,
        optimizer,
        Plan(schedule=Dense(), prunable=trainer.plan.prunable, rewind_to=None),
        resets=[rates],
        seed=trainer.seed,
        store=folder,
        also=also,
        mask=mask,
    ) as levels:
        for level in levels:
            trainer.train(level, optimizer, rates)


@dataclass(frozen=True)
class _Pruned:
    """The network that was pruned, and what it is trained by."""

    task: Task
    bench: Bench
    mask: Mask
    space: SearchSpace

    @classmethod
    def of(cls, task: Task) -> _Pruned:
        bench, pruned = Bench.of(task), task.needs[0]
        mask = load_pruned(pruned.folder, bench.model, identity=pruned.identity)
        return cls(task, bench, mask, space_of(task.setup, bench.model, bench.example))

    def train(self, plan: ActivationPlan, setup: Setup, tell: Tell, *, final: bool) -> Mapping[str, float]:
        """Train a copy with the activations of a plan; the numbers at its end, the test accuracy if it is ``final``.

        ``setup`` may have fewer epochs than ``[train]``, whose beginning the training then is.
        """
        task, bench = self.task, self.bench
        model = replace_activations(bench.model, plan, example=bench.example)
        bench.engine.prepare(model)
        notes, until = Notes(task.folder, task.identity), until_retrained(setup) if final else None
        of_plan = bench.plan(task.setup, task.seed)
        trainer = Trainer(
            setup, task.seed, model, bench.engine, bench.data, of_plan, notes, tell, lambda level: until, tested=final
        )
        train_once(trainer, bench, task.setup, self.mask, task.folder, also={"task": task.identity})
        if final:
            _keep_final(task, model, plan, bench)
        (end,) = notes.ends.values()
        return end.numbers


def _keep_final(task: Task, model: nn.Module, plan: ActivationPlan, bench: Bench) -> None:
    plan.save(task.folder / PLAN)
    write_curves(task.folder, model, plan)
    save_weights(task.folder, model)
    if task.setup.measure.compact:
        compact_once(task.folder, task.identity, model, bench.data.parts.train)


def space_of(setup: Setup, model: nn.Module, example: Any) -> SearchSpace:
    """What each site of a network may have by ``[activations]``: one activation where nothing is searched.

    Raises:
        NoSites, InvalidValue: see `SearchSpace.of`.
    """
    asked = setup.activations
    given = () if asked.use is None else (asked.use,)
    return SearchSpace.of(model, asked.choices or given, example=example)


def _try(task: Task, tell: Tell) -> None:
    """A trial: what the sampler proposes after those that are over."""
    pruned, seen = _Pruned.of(task), task.needs[1:]
    history = read_history(seen)
    stopped = len(history) < len(seen)
    candidate = (
        None if stopped else task.setup.activations.sampler.propose(pruned.space, history, task.seed, task.number)
    )
    if candidate is None:
        write_trial(task, None)
        return
    first = history.first_of(candidate)
    if first is not None:
        write_trial(task, replace(history[first], seconds=0.0, epochs=0.0, same_as=first))
        return
    _score(pruned, candidate, task.setup.activations.epochs, tell)


def _try_finalist(task: Task, tell: Tell) -> None:
    """One of the best, trained for as long as the last training takes."""
    trials = tuple(need for need in task.needs if need.kind == "trial")
    pruned, history = _Pruned.of(task), read_history(trials)
    best = SearchResult(pruned.space, history).ranked
    if task.number >= len(best):
        write_trial(task, None)
    else:
        _score(pruned, best[task.number], task.setup.train.epochs, tell)


def _score(pruned: _Pruned, candidate: Candidate, epochs: int, tell: Tell) -> None:
    """Train a candidate, and keep its validation accuracy at the end; one that diverges has none."""
    task, begin = pruned.task, time.perf_counter()
    score, note = None, ""
    try:
        numbers = pruned.train(pruned.space.plan(candidate), _shortened(task.setup, epochs), tell, final=False)
        score = numbers[VALIDATION_ACCURACY.name]
    except (NotFinite, FloatingPointError, OverflowError) as error:
        note = f"{type(error).__name__}: {' '.join(str(error).split())}"
    seconds = time.perf_counter() - begin
    write_trial(task, Trial(candidate=candidate, score=score, seconds=seconds, epochs=float(epochs), note=note))
    _drop_store(task.folder)


def _shortened(setup: Setup, epochs: int) -> Setup:
    """A setup of so many epochs, in which nothing is measured but the accuracy."""
    measure = setup.measure.model_copy(update={"diagnostics": (), "compact": False})
    return setup.model_copy(
        update={"train": setup.train.model_copy(update={"epochs": epochs, "until": None}), "measure": measure}
    )


def _drop_store(folder: Path) -> None:
    """The weights of a trial that is over: nobody reads them again."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in _KEPT:
            path.unlink()


def _finish(task: Task, tell: Tell) -> None:
    """The last training, with the best activations."""
    pruned = _Pruned.of(task)
    pruned.train(chosen_plan(pruned.space, task), task.setup, tell, final=True)


def chosen_plan(space: SearchSpace, task: Task) -> ActivationPlan:
    """The activations of the last training: of the best finalist, else of the best trial, else the given ones.

    Raises:
        NotFinite: if all trials diverged.
    """
    asked = task.setup.activations
    plan = _winner(space, task.needs) if asked.choices else space.plan((0,) * len(space))
    return plan.trained(True, per=asked.per) if asked.trainable else plan


def _winner(space: SearchSpace, needs: Sequence[Task]) -> ActivationPlan:
    finalists = [read_trial(need) for need in needs if need.kind == "finalist"]
    scored = History(tuple(trial for trial in finalists if trial is not None and trial.score is not None))
    trials = read_history(tuple(need for need in needs if need.kind == "trial"))
    return SearchResult(space, scored or trials).plan


CARRIED_OUT: Mapping[str, Callable[[Task, Tell], None]] = {
    "trial": _try,
    "finalist": _try_finalist,
    "final": _finish,
}
"""The kind of a task -> what carries it out."""
