"""The trainings of an iteration as its user sees them: a context manager, a loop, and its turns."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from types import TracebackType

from torch.optim import Optimizer

from budbreak.checks import check_count, check_function, check_optimizer
from budbreak.errors import InvalidValue, NotFinite
from budbreak.iteration.course import Course
from budbreak.iteration.ending import EndingRule
from budbreak.iteration.levelrecord import LevelRecord
from budbreak.iteration.state import upcoming
from budbreak.iteration.step import Step
from budbreak.iteration.stopping import Until
from budbreak.live import Resettable, check_resettable, optimizers_of, unwrap_optimizer
from budbreak.masks import Mask


class Level:
    """One training of one level: weights are pruned, rewound and held when the loop body gets it.

    Attributes:
        number: the level; 0 is dense.
        stage: which of the level's trainings: 0, or 1 and on where stages of the plan train again (AP pro).
        last_stage: whether the level ends with this training.
        start_step: the optimizer step that this training starts from: that of ``rewind_to``, 0 in level 0.
    """

    def __init__(self, course: Course) -> None:
        here, plan = course.state.here, course.setup.plan
        rewound = plan.rewind_to.count if here.level > 0 and isinstance(plan.rewind_to, Step) else 0
        self._course, self._mask = course, course.state.mask
        self.number, self.stage, self.start_step = here.level, here.stage, rewound
        self.last_stage = here.stage + 1 == plan.trainings_of(here.level)
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
        return self._course.state.records

    @property
    def epochs_done(self) -> int:
        """How many of the training's epochs are over."""
        return self._course.state.here.epochs

    def attach(self, optimizers: Optimizer | Sequence[Optimizer], resets: Sequence[Resettable] = ()) -> None:
        """Let optimizers that were made for this training hold the mask, where `iterate` was given None.

        For a Trainer, which makes its own in each fit. Once in each training, before its first step and before
        `epochs`. They and ``resets`` begin anew in each training, so each is a new object each time; in a training
        that goes on from its middle they take the state that they had there, bit for bit.

        Args:
            optimizers: one, or several, that together hold the prunable weights.
            resets: what else was made for this training and changes in it: see `iterate`.

        Raises:
            InvalidValue: if `iterate` was given an optimizer, or this training one; for an object that an earlier one
                has had; for optimizers that differ from those of the training before in more than their learning rates.
            ForeignParameter: if they lack a prunable weight, or hold one that is not the model's.
            InvariantBroken: if pruned weights have moved before.
        """
        check_optimizer(optimizers)
        check_resettable(resets)
        self._course.check_running(self.number, self.stage, "attach()")
        self._course.attach(tuple(map(unwrap_optimizer, optimizers_of(optimizers))), tuple(resets))

    def epochs(self, count: int, *, checkpoint_every: int = 1, until: Until | None = None) -> Iterator[int]:
        """The epochs 0 .. count - 1 that are still to do, with a checkpoint after every ``checkpoint_every``-th.

        A resumed level goes on after the last checkpoint, with every generator where it was then. The last epoch, be it
        that in which `stop` was called or for which ``until`` was true, is stored in any case.

        Args:
            count: how many there are at most.
            checkpoint_every: after so many epochs each a checkpoint is written.
            until: called after each epoch with the numbers that were recorded in it (on any rank):
                ``until=lambda numbers: numbers["accuracy"] > 0.9`` ends the training after the first epoch of which
                this is true. What remembers more than an epoch is an object in ``resets``, so that a resumed level ends
                at the same one; or an `EndingRule`, such as `AccuracyGates` and `EarlyStop`, which looks at all epochs.

        Raises:
            InvalidValue: if it is called twice, or with another ``count`` than before the level was killed; if no
                optimizer is there; if ``until`` looks at a number that the epoch has not recorded; at the end, if an
                optimizer made no step.
            NotFinite: if a prunable weight is NaN or infinite after an epoch; that epoch is not stored.
        """
        check_count("count", count)
        check_count("checkpoint_every", checkpoint_every)
        if isinstance(until, EndingRule):
            until.check(self._course.setup.plan.levels)
        elif until is not None:
            check_function("until", until, 'lambda numbers: numbers["accuracy"] > 0.9')
        self._course.check_running(self.number, self.stage, f"epochs({count})")
        if self._given:
            raise InvalidValue(
                f"epochs({count}), the second time in level {self.number}",
                "a level's epochs are counted from 0 to the number that is given once",
                "give them all in one call",
            )
        self._course.plan_epochs(count)
        self._given = True
        return self._count_epochs(checkpoint_every, until)

    def _count_epochs(self, checkpoint_every: int, until: Until | None) -> Iterator[int]:
        self._in_epochs, course = True, self._course
        try:
            epoch = course.go_on()
            while epoch < course.last_epoch:
                yield epoch
                epoch += 1
                course.epoch_done(epoch, checkpoint=epoch % checkpoint_every == 0, until=until)
        finally:
            self._in_epochs = False

    def stop(self) -> None:
        """End this training after the epoch that runs; call it within the loop over `epochs`.

        That epoch is counted and stored, so a resumed run ends at the same one. Of several ranks, one that stops stops
        all.

        Raises:
            InvalidValue: outside of the epochs.
        """
        self._course.check_running(self.number, self.stage, "stop()")
        if not self._in_epochs:
            raise InvalidValue(
                f"stop() outside the epochs of level {self.number}",
                "it ends a training after the epoch that runs, in the loop over level.epochs(...)",
                "call it there; a loop of another kind is left by break",
            )
        self._course.stop()

    def record(self, **metrics: float) -> None:
        """Keep measured numbers with this level, e.g. ``level.record(accuracy=0.98)``.

        Raises:
            InvalidValue: if a value is no number, or the level is over.
            NotFinite: if it is NaN or infinite.
        """
        checked = {name: _number(name, value) for name, value in metrics.items()}
        self._course.check_running(self.number, self.stage, "record()")
        self._course.note(checked, in_epochs=self._in_epochs)


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


class Levels:
    """The trainings of an iteration; see `iterate`. A context manager, and an iterator of `Level`."""

    def __init__(self, course: Course) -> None:
        self._course = course

    @property
    def history(self) -> tuple[LevelRecord, ...]:
        """The records of all trainings that are over, also of those that an earlier session ran."""
        return self._course.state.records

    @property
    def resumed(self) -> str:
        """Where a store's earlier session, or the dense store, had come to, in words; empty where nothing was."""
        return self._course.resumed

    @property
    def ending(self) -> str:
        """What was not reached in the end, by a rule that ends trainings; empty where nothing is amiss."""
        return self.history[-1].ending if self.history else ""

    @property
    def mask(self) -> Mask:
        """What stays now."""
        return self._course.state.mask

    def release(self) -> None:
        """Let go of the last mask, which ``keep_holding=True`` goes on holding after the ``with``."""
        self._course.release()

    def __enter__(self) -> Levels:
        """Take the store, go back to where it stands, and start to hold."""
        self._course.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish a level that was left by ``break`` once it was over; then stop holding, unless asked to go on."""
        try:
            if kind is None and self._course.handed is not None and self._course.is_done:
                self._course.end()
        finally:
            self._course.leave()

    def __iter__(self) -> Iterator[Level]:
        """The trainings that are still to do.

        A training that is left by ``break`` counts once it is over: all its epochs are done, it was stopped, or
        something was recorded outside its epochs and no step followed. It is finished when the next one is asked for,
        or at the end of the ``with``. One that is not over is not counted; a store has its epochs.

        Raises:
            InvalidValue: after a training that was left in its middle: its weights are no start.
        """
        course = self._course
        if not course.entered:
            raise InvalidValue(
                "the levels were not entered",
                "they hold weights at zero between the start and the end of a with",
                "write: with bb.iterate(...) as levels:",
            )
        self._close_what_was_left()
        while upcoming(course.state, course.setup.plan) is not None:
            if course.state.running:
                course.again()
            else:
                course.begin()
            course.handed = course.state.here
            yield Level(course)
            course.end()

    def _close_what_was_left(self) -> None:
        handed, here = self._course.handed, self._course.state.position
        if handed is None or here is None:
            return
        if self._course.is_done:
            self._course.end()
        elif (handed.steps, handed.epochs) != (here.steps, here.epochs):
            raise InvalidValue(
                f"level {here.level} was left after {here.steps - here.first_step} steps",
                "a training that is not over cannot begin again: its weights are no longer those of its start",
                "leave the with and call iterate again: with a store it goes on from the last epoch that is kept",
            )
