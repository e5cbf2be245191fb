"""Train one level after the other, and measure: what the tasks have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from torch import nn
from torch.optim import Optimizer

from budbreak.data import Images
from budbreak.diagnostics import Measurement
from budbreak.iteration import EndingRule, Level, Plan
from budbreak.lowrank import Shrinking
from budbreak.masks import Mask
from budbreak.recipes import WATCHED, Setup
from budbreak.results import TRAIN_ACCURACY, VALIDATION_LOSS, EpochResult, NotedEnd, NotedEpoch, Notes
from budbreak.studies.making import Data, epochs_of, watched_numbers
from budbreak.studies.measuring import layer_results, measure
from budbreak.studies.spectra import Moment, note_spectra, notes_spectra
from budbreak.training import Engine, RateScheduler, evaluate, train_epoch

Tell = Callable[[], object]


@dataclass(frozen=True)
class Trainer:
    """Trains and measures one level after the other.

    Args:
        setup: by which it is trained and measured; ``seed``: of the task.
        until: level -> what may end its trainings early.
        free: whether weights that were pruned are trained again: what is zero is then looked up, not in the mask.
        tested: whether the test set is looked at, at the end of each training.
    """

    setup: Setup
    seed: int
    model: nn.Module
    engine: Engine
    data: Data
    plan: Plan
    notes: Notes
    tell: Tell
    until: Callable[[int], EndingRule | None]
    free: bool = False
    tested: bool = True

    @property
    def watched(self) -> tuple[str, ...]:
        """What a rule or a criterion looks at: see `watched_numbers`."""
        return watched_numbers(self.setup)

    def train(self, level: Level, optimizer: Optimizer, rates: RateScheduler) -> None:
        """Carry out what is left of a training: measured before, after its epochs as asked for, and at its end."""
        setup, until = self.setup, self.until(level.number)
        if not level.epochs_done:
            self._note(level, 0, {})
        shrinking = self._shrinking(level, optimizer)
        for epoch in level.epochs(epochs_of(setup, level.number), until=until):
            self.notes.check(level.number, level.stage, epoch)
            done = train_epoch(
                self.model,
                optimizer,
                self.data.parts.train,
                engine=self.engine,
                batch_size=setup.train.batch_size,
                augment=setup.data.augment,
                after_step=rates.after_step if shrinking is None else _in_turn(shrinking.after_step, rates.after_step),
                steps=setup.prune.steps if level.number else 0,
                accuracy=TRAIN_ACCURACY.name in self.watched,
            )
            if shrinking is not None:
                shrinking.finish()
            own = {} if done.accuracy is None else {TRAIN_ACCURACY.name: done.accuracy}
            numbers = self._note(level, epoch + 1, {"train_loss": done.loss, **own})
            level.record(**{name: numbers[name] for name in WATCHED if name in numbers})
            rates.after_epoch(numbers["validation_accuracy"], train_loss=done.loss)
        self._end(level)

    def _shrinking(self, level: Level, optimizer: Optimizer) -> Shrinking | None:
        train = self.setup.train
        if train.penalty is None:
            return None
        mask, prunable = None if self.free else level.mask, self.plan.prunable
        return Shrinking(train.penalty, self.model, optimizer, every=train.penalty_every, mask=mask, prunable=prunable)

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
        every = self.setup.measure.every
        last = epoch == epochs_of(self.setup, level.number)
        return epoch == 0 or (not last and every > 0 and epoch % every == 0)

    def _end(self, level: Level) -> None:
        """Measure at the end of a training; the test set is looked at here only, and decides nothing."""
        epochs = level.epochs_done
        last = self.notes.last_epoch(level.number, level.stage, epochs)
        measured = self._measure(level)
        self._note_spectra(level, "end", measured)
        result = replace(last, numbers={**last.numbers, **measured.numbers})
        self.notes.add_epoch(NotedEpoch(level.number, level.stage, epochs, level.density, result))
        test = {"test_accuracy": self._accuracy(self.data.parts.test)} if self.tested else {}
        numbers = {**test, **result.numbers}
        level.record(**numbers)
        layers = layer_results(self._mask(level), measured.layers)
        self.notes.add_end(NotedEnd(level.number, level.stage, level.density, numbers, layers))
        self.tell()

    def _note_spectra(self, level: Level, moment: Moment, measured: Measurement) -> None:
        if notes_spectra(self.setup, self.seed):
            note_spectra(self.notes.path.parent, self.notes.identity, level.number, moment, measured)

    def _measure(self, level: Level, *, fresh: bool = False) -> Measurement:
        diagnostics = self.setup.measure.diagnostics
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


def _in_turn(first: Callable[[], None], second: Callable[[], None]) -> Callable[[], None]:
    def both() -> None:
        first()
        second()

    return both
