"""Carry out a task: train, prune and measure, in a folder that survives being killed."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace

from torch import nn
from torch.nn import functional
from torch.optim import Optimizer

from budbreak.data import Images, batches
from budbreak.diagnostics import Measurement
from budbreak.errors import BudbreakError, CorruptFile, StoreMismatch, UncoveredWeights
from budbreak.files import FolderLock
from budbreak.iteration import EndingRule, Level, Plan, iterate
from budbreak.masks import Mask
from budbreak.schedules import Dense
from budbreak.studies.compacting import compact_once
from budbreak.studies.making import (
    Data,
    epochs_of,
    load_data,
    make_network,
    make_plan,
    pick_engine,
    prepare_data,
    until_of,
    until_retrained,
    watched_numbers,
)
from budbreak.studies.measuring import BATCH, layer_results, measure
from budbreak.studies.notes import NotedEnd, NotedEpoch, Notes
from budbreak.studies.result import TRAIN_ACCURACY, VALIDATION_LOSS, EpochResult
from budbreak.studies.retraining import retrained_folder
from budbreak.studies.sections import WATCHED
from budbreak.studies.spectra import Moment, note_spectra, notes_spectra
from budbreak.studies.taskfolder import is_complete, write_task
from budbreak.studies.tasks import Task, check_identity
from budbreak.studies.weights import WEIGHTS, read_state, save_weights
from budbreak.training import Engine, RateScheduler, evaluate, steps_per_epoch, train_epoch

Tell = Callable[[], object]


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
        trainer = _Trainer(task, model, engine, data, plan, notes, tell, lambda level: until_of(setup, level))
        for level in levels:
            trainer.train(level, optimizer, rates)
        save_weights(task.folder, model)
    if setup.measure.compact:
        compact_once(task.folder, task.identity, model, data.parts.train)
    for way in setup.retrain.ways:
        model.load_state_dict(read_state(task.folder / WEIGHTS), strict=False)  # without extra state
        _retrain(trainer, levels.mask, way)


def _retrain(trainer: _Trainer, mask: Mask, way: str) -> None:
    """Train the pruned network once more; see `RetrainSection`."""
    task, model, prunable = trainer.task, trainer.model, trainer.plan.prunable
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


@dataclass(frozen=True)
class _Trainer:
    """Trains and measures one level after the other.

    Args:
        until: level -> what may end its trainings early.
        free: whether weights that were pruned are trained again: what is zero is then looked up, not in the mask.
    """

    task: Task
    model: nn.Module
    engine: Engine
    data: Data
    plan: Plan
    notes: Notes
    tell: Tell
    until: Callable[[int], EndingRule | None]
    free: bool = False

    @property
    def watched(self) -> tuple[str, ...]:
        """What a rule or a criterion looks at: see `watched_numbers`."""
        return watched_numbers(self.task.setup)

    def train(self, level: Level, optimizer: Optimizer, rates: RateScheduler) -> None:
        setup, until = self.task.setup, self.until(level.number)
        if not level.epochs_done:
            self._note(level, 0, {})
        for epoch in level.epochs(epochs_of(setup, level.number), until=until):
            self.notes.check(level.number, level.stage, epoch)
            done = train_epoch(
                self.model,
                optimizer,
                self.data.parts.train,
                engine=self.engine,
                batch_size=setup.train.batch_size,
                augment=setup.data.augment,
                after_step=rates.after_step,
                steps=setup.prune.steps if level.number else 0,
                accuracy=TRAIN_ACCURACY.name in self.watched,
            )
            own = {} if done.accuracy is None else {TRAIN_ACCURACY.name: done.accuracy}
            numbers = self._note(level, epoch + 1, {"train_loss": done.loss, **own})
            level.record(**{name: numbers[name] for name in WATCHED if name in numbers})
            rates.after_epoch(numbers["validation_accuracy"], train_loss=done.loss)
        self._end(level)

    def _note(self, level: Level, epoch: int, numbers: Mapping[str, float]) -> Mapping[str, float]:
        """Measure after an epoch (0: before the first), and keep it."""
        seen = evaluate(self.model, self.data.parts.validation, engine=self.engine)
        loss = {VALIDATION_LOSS.name: seen.loss} if VALIDATION_LOSS.name in self.watched else {}
        measured = {**numbers, "validation_accuracy": seen.accuracy, **loss}
        before = sum(record.epochs for record in level.history if record.level == level.number)
        if self._is_measured(level, epoch):
            found = self._measure(level, fresh=epoch == 0)
            measured |= found.numbers
            if epoch == 0 and level.stage == 0:
                self._note_spectra(level, "start", found)
        result = EpochResult(before + epoch, measured)
        self.notes.add_epoch(NotedEpoch(level.number, level.stage, epoch, level.density, result))
        self.tell()
        return measured

    def _is_measured(self, level: Level, epoch: int) -> bool:
        """The last epoch is measured at the end, with the layers."""
        every = self.task.setup.measure.every
        last = epoch == epochs_of(self.task.setup, level.number)
        return epoch == 0 or (not last and every > 0 and epoch % every == 0)

    def _end(self, level: Level) -> None:
        """Measure at the end of a training; the test set is looked at here only, and decides nothing."""
        epochs = level.epochs_done
        last = self.notes.last_epoch(level.number, level.stage, epochs)
        measured = self._measure(level)
        self._note_spectra(level, "end", measured)
        result = replace(last, numbers={**last.numbers, **measured.numbers})
        self.notes.add_epoch(NotedEpoch(level.number, level.stage, epochs, level.density, result))
        numbers = {"test_accuracy": self._accuracy(self.data.parts.test), **result.numbers}
        level.record(**numbers)
        layers = layer_results(self._mask(level), measured.layers)
        self.notes.add_end(NotedEnd(level.number, level.stage, level.density, numbers, layers))
        self.tell()

    def _note_spectra(self, level: Level, moment: Moment, measured: Measurement) -> None:
        if notes_spectra(self.task.setup, self.task.seed):
            note_spectra(self.notes.path.parent, self.task.identity, level.number, moment, measured)

    def _measure(self, level: Level, *, fresh: bool = False) -> Measurement:
        diagnostics = self.task.setup.measure.diagnostics
        return measure(
            diagnostics,
            self.model,
            self.data.measured,
            mask=self._mask(level),
            prunable=self.plan.prunable,
            fresh=fresh,
        )

    def _mask(self, level: Level) -> Mask:
        return Mask.from_zeros(self.model, self.plan.prunable) if self.free else level.mask

    def _accuracy(self, images: Images) -> float:
        return evaluate(self.model, images, engine=self.engine).accuracy
