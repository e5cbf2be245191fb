"""The trainings of an iteration as its user sees them: a context manager, a loop, and its turns."""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import TracebackType
from typing import Protocol

from budbreak.checks import check_count
from budbreak.errors import InvalidValue, NotFinite
from budbreak.iteration.course import Course
from budbreak.iteration.identity import identity, start_identity
from budbreak.iteration.invariants import check_finite, mask_digest
from budbreak.iteration.ranks import check_same_iteration, met
from budbreak.iteration.state import LevelRecord, Position
from budbreak.masks import Mask


class Session(Protocol):
    """What a level asks of the iteration behind it."""

    @property
    def mask(self) -> Mask: ...  # noqa: D102
    @property
    def history(self) -> tuple[LevelRecord, ...]: ...  # noqa: D102
    def check_running(self, level: int, stage: int, what: str) -> None: ...  # noqa: D102
    def plan_epochs(self, count: int) -> None: ...  # noqa: D102
    def go_on(self) -> int: ...  # noqa: D102
    def epoch_done(self, epochs: int, *, checkpoint: bool) -> None: ...  # noqa: D102
    def note(self, metrics: dict[str, float], *, in_epochs: bool) -> None: ...  # noqa: D102


class Level:
    """One training of one level: weights are pruned, rewound and held when the loop body gets it.

    Attributes:
        number: the level; 0 is dense.
        stage: 0, or 1 and on where a follow-up retrains within the level (AP pro).
        last_stage: whether the level ends with this training.
        start_step: the optimizer step that this training starts from: that of ``rewind_to``, 0 in level 0.
    """

    def __init__(self, session: Session, number: int, stage: int, *, last_stage: bool, start_step: int) -> None:
        self._session, self._mask = session, session.mask
        self.number, self.stage, self.last_stage, self.start_step = number, stage, last_stage, start_step
        self._given = self._in_epochs = False

    def __repr__(self) -> str:
        return f"Level({self.number}, stage {self.stage}, density {self.density:.4f})"

    @property
    def mask(self) -> Mask:
        """What stays in this level."""
        return self._mask

    @property
    def density(self) -> float:
        """Kept / prunable."""
        return self.mask.density

    @property
    def sparsity(self) -> float:
        """Pruned / prunable."""
        return self.mask.sparsity

    @property
    def history(self) -> tuple[LevelRecord, ...]:
        """The records of all trainings that are over, also of those that an earlier session ran."""
        return self._session.history

    def epochs(self, count: int, *, checkpoint_every: int = 1) -> Iterator[int]:
        """The epochs 0 .. count - 1 that are still to do, with a checkpoint after every ``checkpoint_every``-th.

        A resumed level goes on after the last checkpoint, with every generator where it was then.

        Raises:
            InvalidValue: if it is called twice, or with another ``count`` than before the level was killed; at the
                end, if the optimizer that `iterate` was given made no step.
            NotFinite: if a prunable weight is NaN or infinite after an epoch; that epoch is not stored.
        """
        check_count("count", count)
        check_count("checkpoint_every", checkpoint_every)
        self._session.check_running(self.number, self.stage, f"epochs({count})")
        if self._given:
            raise InvalidValue(
                f"epochs({count}), the second time in level {self.number}",
                "a level's epochs are counted from 0 to the number that is given once",
                "give them all in one call",
            )
        self._session.plan_epochs(count)
        self._given = True
        return self._count_epochs(count, checkpoint_every)

    def _count_epochs(self, count: int, checkpoint_every: int) -> Iterator[int]:
        self._in_epochs = True
        try:
            for epoch in range(self._session.go_on(), count):
                yield epoch
                last = epoch + 1 == count
                self._session.epoch_done(epoch + 1, checkpoint=last or (epoch + 1) % checkpoint_every == 0)
        finally:
            self._in_epochs = False

    def record(self, **metrics: float) -> None:
        """Keep measured numbers with this level, e.g. ``level.record(accuracy=0.98)``.

        Raises:
            InvalidValue: if a value is no number, or the level is over.
            NotFinite: if it is NaN or infinite.
        """
        checked = {name: _number(name, value) for name, value in metrics.items()}
        self._session.check_running(self.number, self.stage, "record()")
        self._session.note(checked, in_epochs=self._in_epochs)


def _number(name: str, value: object) -> float:
    try:
        number = float(value)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError):
        raise InvalidValue(f"record({name}={value!r})", "a metric is a number", f"give {name}=float(...)") from None
    if not math.isfinite(number):
        raise NotFinite(
            f"record({name}={number})", "a metric is finite", "the training diverged: lower the learning rate"
        )
    return number


class Levels(Course):
    """The trainings of an iteration; see `iterate`. A context manager, and an iterator of `Level`."""

    @property
    def history(self) -> tuple[LevelRecord, ...]:
        """The records of all trainings that are over, also of those that an earlier session ran."""
        return self._records

    @property
    def resumed(self) -> str:
        """Where a store's earlier session, or the dense store, had come to, in words; empty where nothing was."""
        return self._resumed

    @property
    def mask(self) -> Mask:
        """What stays now."""
        return self._mask

    def release(self) -> None:
        """Let go of the last mask, which ``keep_holding=True`` goes on holding after the ``with``."""
        if self._hold is not None:
            self._hold.release()
            self._hold = None

    def __enter__(self) -> Levels:
        """Take the store, go back to where it stands, and start to hold."""
        live = self._live
        with live.processes.agreeing("entering the levels"):
            if self._watch is not None:
                self._watch.enter()
            alive = None if self._given is None else mask_digest(self._given)
            about = identity(live.model, live.optimizer, live.plan, live.seed, live.resets)
            about = {**about, "mask": alive, "prunable": list(self._mask), "processes": live.processes.size}
            check_same_iteration(live, {**about, "stored": self._store is not None})
            start = {} if self._store is None else start_identity(live, self._also)
        self._identity = {**about, **start}
        if self._store is not None:
            self._store.open(self._identity)
        try:
            with live.processes.agreeing("the start"):
                self._start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self._entered = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish a level that was left by ``break`` once it was over; then stop holding, unless asked to go on."""
        try:
            if kind is None and self._handed is not None and self._is_over(self._here):
                self._finish()
        finally:
            self._leave()

    def _leave(self) -> None:
        """Remove the hooks, let the store go."""
        self._entered = False
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        if not self._keep_holding:
            self.release()
        if self._store is not None:
            self._store.close()

    def __iter__(self) -> Iterator[Level]:
        """The trainings that are still to do.

        A training that is left by ``break`` counts once it is over: all its epochs are done, or something was
        recorded outside its epochs and no step followed. It is finished when the next one is asked for, or at the
        end of the ``with``. One that is not over is not counted; a store has its epochs.

        Raises:
            InvalidValue: after a training that was left in its middle: its weights are no start.
        """
        if not self._entered:
            raise InvalidValue(
                "the levels were not entered",
                "they hold weights at zero between the start and the end of a with",
                "write: with bb.iterate(...) as levels:",
            )
        self._close_what_was_left()
        while (where := self._next()) is not None:
            level, stage = where
            if self._position is None or self._position.ended:
                with self._live.processes.agreeing(f"the beginning of level {level}, stage {stage}"):
                    self._begin(level, stage)
            else:
                self._restore_generators()
            self._handed = self._here
            yield Level(self, level, stage, last_stage=self._is_last(level, stage), start_step=self._start_step(level))
            self._finish()

    def _is_over(self, here: Position) -> bool:
        # one rank may record what the others do not: epochs alone are the same on all
        return here.over if self._live.processes.size == 1 else not here.ended and here.epochs == here.planned

    def _close_what_was_left(self) -> None:
        handed, here = self._handed, self._position
        if handed is None or here is None:
            return
        if self._is_over(here):
            self._finish()
        elif (handed.steps, handed.epochs) != (here.steps, here.epochs):
            raise InvalidValue(
                f"level {here.level} was left after {here.steps - here.first_step} steps",
                "a training that is not over cannot begin again: its weights are no longer those of its start",
                "leave the with and call iterate again: with a store it goes on from the last epoch that is kept",
            )

    # --- what a level asks ---------------------------------------------------------------------------------

    def check_running(self, level: int, stage: int, what: str) -> None:
        """Refuse what comes when a training is over."""
        if not self._entered or self._handed is None or (self._here.level, self._here.stage) != (level, stage):
            raise InvalidValue(
                f"{what} in level {level}, which is over",
                "a level's record is written when the loop goes on, or at the end of the with",
                "do it in the loop body, before the next level",
            )

    def plan_epochs(self, count: int) -> None:
        """Keep how many epochs this training has; refuse another number than the store has."""
        here = self._here
        if here.planned not in (None, count):
            raise InvalidValue(
                f"epochs({count}), but this level was begun with epochs({here.planned}) and has done {here.epochs}",
                "a resumed level has as many epochs as it had",
                f"write epochs({here.planned}), or give another store",
            )
        self._move(planned=count)

    def go_on(self) -> int:
        """The epochs that this training has done; its generators are where they were then."""
        if self._here.epochs:  # else the body has drawn since, as it did without the interruption
            self._restore_generators()
        self._generators = None
        return self._here.epochs

    def epoch_done(self, epochs: int, *, checkpoint: bool) -> None:
        """Count an epoch, and store it if asked."""
        with self._live.processes.agreeing(f"the end of epoch {epochs - 1} of level {self._here.level}"):
            check_finite(self._live.model)
            self._settle()
            self._move(epochs=epochs)
            self._check_trained()
            self._position = met(self._live, self._here, "an epoch")
            if checkpoint and not self._begins_again(epochs):
                self._save()

    def _check_trained(self) -> None:
        here = self._here
        if here.epochs == here.planned and here.steps == here.first_step:
            raise InvalidValue(
                f"level {here.level}: {here.epochs} epochs without a step of the {type(self._live.optimizer).__name__}",
                "the optimizer that was given to iterate trains the weights; what another one does is not seen",
                "call its step(), and make neither model nor optimizer anew in the loop",
            )

    def note(self, metrics: dict[str, float], *, in_epochs: bool) -> None:
        """Keep metrics for the record of this training; outside its epochs, they say that it is over."""
        here = self._here
        self._move(metrics={**(here.metrics or {}), **metrics}, noted=here.noted if in_epochs else here.steps)
