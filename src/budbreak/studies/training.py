"""Carry out a task: train, prune and measure, in a folder that survives being killed."""

from __future__ import annotations

import contextlib
import functools
import logging
import warnings
from collections.abc import Callable, Generator
from dataclasses import replace

from torch.nn import functional

from budbreak.data import batches
from budbreak.errors import BudbreakError, CorruptFile, StoreMismatch, UncoveredWeights
from budbreak.files import FolderLock
from budbreak.iteration import Level, Levels, iterate
from budbreak.masks import Mask
from budbreak.results import Notes, compact_once, retrained_folder
from budbreak.studies.bench import Bench
from budbreak.studies.making import until_of, until_retrained
from budbreak.studies.measuring import BATCH
from budbreak.studies.prunedfile import save_pruned
from budbreak.studies.prunednetwork import train_once
from budbreak.studies.searching import CARRIED_OUT
from budbreak.studies.task import Task
from budbreak.studies.taskfolder import is_complete, write_task
from budbreak.studies.tasks import check_identity
from budbreak.studies.trainer import Tell, Trainer
from budbreak.studies.weights import WEIGHTS, read_state, save_weights


def carry_out_task(task: Task, tell: Tell | None = None) -> None:
    """Compute what is left of a task; its folder then holds everything that was measured.

    Another process that computes the same task is waited for, and its result taken.

    Args:
        task: what to compute; what it needs is complete.
        tell: called in this process whenever something was noted.

    Raises:
        StoreMismatch: if what this process would compute is not what the task was named for.
    """
    lock = FolderLock(task.folder, "task.lock")  # beside the lock of its store, which `iterate` takes
    lock.take(wait=True)
    try:
        if not is_complete(task):
            check_identity(task)
            write_task(task)
            with warnings.catch_warnings(), _quiet_iteration(), _way_out(task):
                warnings.simplefilter("ignore", UncoveredWeights)  # the preview has said it, once for all tasks
                _carry_out(task, tell or (lambda: None))
    finally:
        lock.release()


@contextlib.contextmanager
def _quiet_iteration() -> Generator[None, None, None]:
    """The display says where a task stands; what else is run in this process has its log."""
    log = logging.getLogger("budbreak.iteration")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


@contextlib.contextmanager
def _way_out(task: Task) -> Generator[None, None, None]:
    """Say with every file that cannot be used what always helps: a task can be computed again."""
    try:
        yield
    except StoreMismatch as error:
        raise StoreMismatch(error.value, error.rule, f"restore it from a copy, or {_anew(task, error)}") from error
    except CorruptFile as error:
        last = _anew(task, error)
        raise CorruptFile(
            error.value, error.rule, error.fix if last in error.fix else f"{error.fix}; or {last}"
        ) from error


def _anew(task: Task, error: BudbreakError) -> str:
    """The folder to delete: that of the dense training, if the error names a file of it."""
    folder = next((need.folder for need in task.needs if str(need.folder) in error.value), task.folder)
    return f"delete the folder {folder}: this task then begins anew"


def _carry_out(task: Task, tell: Tell) -> None:
    if task.kind in ("dense", "levels"):
        _train(task, tell)
    elif task.kind == "pruned":
        _prune(task, tell)
    else:
        CARRIED_OUT[task.kind](task, tell)


def _train(task: Task, tell: Tell) -> None:
    bench, setup = Bench.of(task), task.setup
    with _levels(task, bench, tell) as (levels, trainer, train):
        for level in levels:
            train(level)
        save_weights(task.folder, bench.model)
    if setup.measure.compact:
        compact_once(task.folder, task.identity, bench.model, bench.data.parts.train)
    for way in setup.retrain.ways:
        bench.model.load_state_dict(read_state(task.folder / WEIGHTS), strict=False)  # without extra state
        _retrain(task, bench, trainer, levels.mask, way)


def _prune(task: Task, tell: Tell) -> None:
    """All but the last training; what that one starts from is kept, or what is there where a rule ends before it."""
    bench, last = Bench.of(task), task.setup.prune.schedule.levels
    with _levels(task, bench, tell) as (levels, _, train):
        for level in levels:
            if level.number == last and level.last_stage:
                break
            train(level)
        save_pruned(task.folder, bench.model, levels.mask, identity=task.identity)


@contextlib.contextmanager
def _levels(
    task: Task, bench: Bench, tell: Tell
) -> Generator[tuple[Levels, Trainer, Callable[[Level], None]], None, None]:
    """The trainings of a task that prunes, and what carries each of them out."""
    setup, plan = task.setup, bench.plan(task.setup, task.seed)
    optimizer, rates = bench.equipment(bench.model, setup)
    with iterate(
        bench.model,
        optimizer,
        plan,
        batches=batches(bench.data.criterion, BATCH),
        loss=functional.cross_entropy,
        resets=[rates],
        seed=task.seed,
        store=task.folder,
        dense=task.needs[0].folder if task.needs else None,
        also={"task": task.identity},
        keep="all",
    ) as levels:
        notes, until = Notes(task.folder, task.identity), functools.partial(until_of, setup)
        trainer = Trainer(setup, task.seed, bench.model, bench.engine, bench.data, plan, notes, tell, until)
        yield levels, trainer, lambda level: trainer.train(level, optimizer, rates)


def _retrain(task: Task, bench: Bench, trainer: Trainer, mask: Mask, way: str) -> None:
    """Train the pruned network once more; see `RetrainSection`."""
    folder, free, until = retrained_folder(task.folder, way), way == "free", until_retrained(task.setup)
    own = replace(trainer, notes=Notes(folder, task.identity), until=lambda level: until, free=free)
    start = Mask.dense(bench.model, trainer.plan.prunable) if free else mask
    train_once(own, bench, task.setup, start, folder, also={"task": task.identity, "way": way})
    if task.setup.measure.compact and not free:
        compact_once(folder, task.identity, bench.model, bench.data.parts.train)
