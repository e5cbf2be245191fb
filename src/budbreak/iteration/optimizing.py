"""What trains a live network: optimizers that are given for all levels, or attached to one training after the other."""

from __future__ import annotations

import warnings
import weakref
from pathlib import Path
from typing import Any

from torch.optim import Optimizer

from budbreak.errors import InvalidValue
from budbreak.iteration.attaching import (
    check_fit,
    check_resets,
    check_same_as_before,
    describe_attached,
    references,
)
from budbreak.iteration.checkpoint import fitting
from budbreak.iteration.engaged import Engaged, Held, Listeners
from budbreak.iteration.identity import Setup
from budbreak.iteration.rates import Rates, check_first_step, rates_of
from budbreak.iteration.rewindpoint import RewindPoint
from budbreak.iteration.state import Position
from budbreak.iteration.step import Step
from budbreak.live import Resettable, TrainingState, apply_mask, check_zeros, mask_averages
from budbreak.masks import Mask


class Optimizers:
    """The optimizers of an iteration: they hold the mask, their steps are heard, their learning rates watched.

    Args:
        setup: with those that are given, if any are.
        stored: whether the iteration has a store.
        listeners: whom to tell of steps.
        parameters: the prunable ones.
    """

    def __init__(self, setup: Setup, listeners: Listeners, parameters: Held, *, stored: bool) -> None:
        self._setup, self._listeners, self._parameters, self._stored = setup, listeners, parameters, stored
        # where nothing returns and nothing is stored, a schedule may go on as it likes
        self._watched = stored or setup.plan.rewind_to is not None
        self._engaged = Engaged(setup, setup.optimizers, (), watched=self._watched) if setup.optimizers else None
        self._inside = False
        self._own_scheduler: str | None = None
        self._waiting: tuple[TrainingState, Path] | None = None
        self._used: list[weakref.ref[Any]] = []

    @property
    def now(self) -> tuple[Optimizer, ...]:
        """Those that train the model now: given, or attached to this training, if any are."""
        return () if self._engaged is None else self._engaged.optimizers

    # --- the mask that they hold --------------------------------------------------------------------------------

    def hold(self, mask: Mask) -> None:
        """Hold a mask, and hear steps."""
        self._inside = True
        if self._engaged is None:
            apply_mask(self._setup.model, mask)
        else:
            self._engaged.start(mask, self._parameters, self._listeners)

    def hold_instead(self, mask: Mask) -> None:
        """Hold another mask; what was attached to the training before is let go.

        Raises:
            InvalidValue: if the levels were left.
        """
        if not self._inside:
            raise InvalidValue(
                "the levels were left",
                "they end with their with: afterwards nothing is held or recorded",
                "move this into the with",
            )
        if self._engaged is not None and not self._setup.optimizers:
            self._used += references((*self._engaged.optimizers, *self._engaged.resets))
        self.detach()
        if self._engaged is None:
            apply_mask(self._setup.model, mask)
        else:
            self._engaged.update(mask)

    def release(self) -> None:
        """Stop holding."""
        if self._engaged is not None:
            self._engaged.release()

    def leave(self) -> None:
        """Hear no more steps."""
        self._inside = False
        if self._engaged is not None:
            self._engaged.leave()

    # --- those that are made in each training ---------------------------------------------------------------------

    def attach(
        self, optimizers: tuple[Optimizer, ...], resets: tuple[Resettable, ...], here: Position, mask: Mask
    ) -> dict[str, Any]:
        """Let these train the model in the training that runs; if it was stopped in its middle, put their state back.

        Returns:
            What they are; see `describe_attached`.

        Raises:
            InvalidValue, ForeignParameter, InvariantBroken, CorruptFile: if they cannot be attached here.
        """
        self._check_attachable(optimizers, resets, f"level {here.level}")
        described = describe_attached(self._setup, optimizers, resets)
        if here.attached is not None:
            goes_on = self._waiting is not None
            check_same_as_before(described, here.attached, f"level {here.level}", goes_on=goes_on)
        check_zeros(self._setup.model, mask)  # else something has trained before, unseen
        engaged = Engaged(self._setup, optimizers, resets, watched=self._stored)
        engaged.start(mask, self._parameters, self._listeners)
        self._engaged = engaged
        mask_averages(resets, self._setup.model, mask)
        if self._waiting is not None:
            training, path = self._waiting
            with fitting(path):
                training.restore(optimizers, resets)
        return described

    def _check_attachable(self, optimizers: tuple[Optimizer, ...], resets: tuple[Resettable, ...], where: str) -> None:
        value = f"attach() in {where}"
        if self._setup.optimizers:
            rule = "an optimizer that is given to iterate trains all levels, and returns at each of them"
            raise InvalidValue(value, rule, "leave it out; or write iterate(model, None, plan, ...)")
        if self._engaged is not None:
            rule = "a training has the optimizers that were attached to it first"
            raise InvalidValue(f"{value}, for the second time", rule, "attach all of them in one call")
        used = [item for reference in self._used if (item := reference()) is not None]
        again = next((item for item in (*optimizers, *resets) if any(item is other for other in used)), None)
        if again is not None:
            raise InvalidValue(
                f"{value} of the {type(again).__name__} that an earlier training has had",
                "what is attached begins anew with each training",
                "make it anew in the body of the loop; what goes on from level to level is given to iterate",
            )
        check_fit(self._setup, optimizers, (*self._setup.resets, *resets))
        check_resets(self._setup, resets)

    def detach(self) -> None:
        """Let go of what was attached, if anything was."""
        if self._engaged is not None and not self._setup.optimizers:
            self._engaged.leave()
            self._engaged.release()
            self._engaged = None

    def state(self) -> TrainingState | None:
        """That of what is attached, copied; None where nothing is."""
        if self._engaged is None or self._setup.optimizers:
            return None
        return TrainingState.of(self._engaged.optimizers, self._engaged.resets)

    def wait_for(self, training: TrainingState | None, path: Path | None = None) -> None:
        """A training goes on from its middle: what is attached to it takes this state, which lies in ``path``."""
        self._waiting = None if training is None or path is None else (training, path)

    @property
    def goes_on(self) -> bool:
        """Whether what is attached to this training takes a stored state."""
        return self._waiting is not None

    # --- their learning rates -------------------------------------------------------------------------------------

    def check_schedulers(self) -> None:
        """Refuse a scheduler that would run on from level to level; see `RateWatch.enter`."""
        if self._engaged is not None:
            self._engaged.enter()

    def expect_schedulers(self, level: int) -> None:
        """A training begins: the schedulers that are here now were made for another one."""
        if self._engaged is not None and level > 0:
            self._engaged.begin()

    def check_rates(self, here: Position, point: RewindPoint | None) -> Rates | None:
        """Refuse a step whose learning rate has run on; the rates, if they are the first of all.

        A training's first step has the learning rate of level 0's first one, or of the rewind point. What is attached
        anew to a network that was rewound to a later step may begin with the rate of that step, which nobody knows.
        """
        if self._engaged is None or not self._watched:
            return None
        where = f"level {here.level}"
        self._engaged.before_step(where)
        if not here.untouched:
            return None
        now, given = self._engaged.rates(), self._setup.optimizers
        if here.first_rates is None:
            return now
        if point is not None and given:
            check_first_step(now, [here.first_rates, rates_of(point.get()[1].groups(given))], where)
        elif point is not None and point.step == Step.start():
            check_first_step(now, [here.first_rates], where)
        return None

    def has_own_scheduler(self, here: Position) -> bool:
        """Whether a kill must send this training back to its beginning: its scheduler's state is in no checkpoint."""
        if self._engaged is None or not self._watched:
            return False
        if here.epochs == 1:  # once in a training: looking for schedulers takes 10 ms
            self._own_scheduler = self._engaged.scheduler_made()
            if self._own_scheduler is not None and here.level == 0:
                given = "make it before iterate and give" if self._setup.optimizers else "attach it as well:"
                warnings.warn(
                    f"a {self._own_scheduler} is made in each level: it is in no checkpoint, so a level that is killed "
                    f"begins again. To go on in its middle, {given} resets=[scheduler].",
                    stacklevel=6,
                )
        return self._own_scheduler is not None
