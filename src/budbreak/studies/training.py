"""Carry out a task: train, prune and measure, in a folder that survives being killed."""

from __future__ import annotations

import contextlib
import functools
import logging
import warnings
from collections.abc import Generator
from dataclasses import replace

from torch import nn
from torch.nn import functional
from torch.optim import Optimizer

from budbreak.data import batches
from budbreak.errors import BudbreakError, CorruptFile, StoreMismatch, UncoveredWeights
from budbreak.files import FolderLock
from budbreak.iteration import Plan, iterate
from budbreak.masks import Mask
from budbreak.schedules import Dense
from budbreak.studies.compacting import compact_once
from budbreak.studies.making import (
    load_data,
    make_network,
    make_plan,
    pick_engine,
    prepare_data,
    until_of,
    until_retrained,
)
from budbreak.studies.measuring import BATCH
from budbreak.studies.notes import Notes
from budbreak.studies.retraining import retrained_folder
from budbreak.studies.taskfolder import is_complete, write_task
from budbreak.studies.tasks import Task, check_identity
from budbreak.studies.trainer import Tell, Trainer
from budbreak.studies.weights import WEIGHTS, read_state, save_weights
from budbreak.training import RateScheduler, steps_per_epoch


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
                _train(task, tell or (lambda: None))
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


def _train(task: Task, tell: Tell) -> None:
    setup = task.setup
    dataset, parts = load_data(setup.data, task.place.data_dir)
    model = make_network(setup.network, dataset, task.seed)
    engine = pick_engine(setup, model, task.place.threads)
    engine.prepare(model)
    data = prepare_data(setup, parts, engine)
    optimizer, rates, plan = _parts(task, model, steps_per_epoch(len(data.parts.train), setup.train.batch_size))
    with iterate(
        model,
        optimizer,
        plan,
        batches=batches(data.criterion, BATCH),
        loss=functional.cross_entropy,
        resets=[rates],
        seed=task.seed,
        store=task.folder,
        dense=task.needs[0].folder if task.needs else None,
        also={"task": task.identity},
    ) as levels:
        notes = Notes(task.folder, task.identity)
        trainer = Trainer(
            setup, task.seed, model, engine, data, plan, notes, tell, lambda level: until_of(setup, level)
        )
        for level in levels:
            trainer.train(level, optimizer, rates)
        save_weights(task.folder, model)
    if setup.measure.compact:
        compact_once(task.folder, task.identity, model, data.parts.train)
    for way in setup.retrain.ways:
        model.load_state_dict(read_state(task.folder / WEIGHTS), strict=False)  # without extra state
        _retrain(task, trainer, levels.mask, way)


def _retrain(task: Task, trainer: Trainer, mask: Mask, way: str) -> None:
    """Train the pruned network once more; see `RetrainSection`."""
    model, prunable = trainer.model, trainer.plan.prunable
    folder, free = retrained_folder(task.folder, way), way == "free"
    optimizer, rates, _ = _parts(
        task, model, steps_per_epoch(len(trainer.data.parts.train), task.setup.train.batch_size)
    )
    with iterate(
        model,
        optimizer,
        Plan(schedule=Dense(), prunable=prunable, rewind_to=None),
        resets=[rates],
        seed=task.seed,
        store=folder,
        also={"task": task.identity, "way": way},
        mask=Mask.dense(model, prunable) if free else mask,
    ) as levels:
        notes = Notes(folder, task.identity)
        until = until_retrained(task.setup)
        own = replace(trainer, notes=notes, until=lambda level: until, free=free)
        for level in levels:
            own.train(level, optimizer, rates)
    if task.setup.measure.compact and not free:
        compact_once(folder, task.identity, model, trainer.data.parts.train)


def _parts(task: Task, model: nn.Module, steps: int) -> tuple[Optimizer, RateScheduler, Plan]:
    """What trains and prunes the model; ``steps`` are the optimizer steps of an epoch."""
    train = task.setup.train
    optimizer = train.optimizer.build(model)
    rates = train.schedule.attach(optimizer, steps_per_epoch=steps, epochs=train.epochs)
    return optimizer, rates, make_plan(task.setup, seed=task.seed, steps=steps)
