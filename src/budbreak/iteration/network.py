"""The live network of an iteration: nothing else touches its model, optimizer and ``resets``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from budbreak.errors import InvalidValue
from budbreak.evidence import Observer, States, Watch
from budbreak.iteration.checkpoint import NO_REWIND_POINT, Checkpoint, RewindPoint, check_dtypes, check_names, fitting
from budbreak.iteration.generators import (
    derive_seed,
    generator_states,
    restore_generators,
    seed_everything,
    seed_training,
)
from budbreak.iteration.identity import Setup
from budbreak.iteration.rates import RateWatch, check_first_step, rates_of
from budbreak.iteration.state import Position, State
from budbreak.iteration.step import Step
from budbreak.live import (
    Hold,
    Snapshot,
    TrainingState,
    extra_states,
    hold,
    load_state,
    mask_averages,
    model_state,
    rewind,
    steppers,
)
from budbreak.masks import Mask, prunable_parameters


@dataclass(frozen=True)
class _Begun:
    """What user code may have changed by the time its training begins."""

    generators: dict[str, Any]
    own_generators: list[Tensor]
    observers: States


class LiveNetwork:
    """Model, optimizer and ``resets``: held at a mask, observed, rewound, copied and put back.

    Args:
        setup: what the user gave.
        stored: whether the iteration has a store.
        is_running: whether a training has begun and is not over.

    Attributes:
        point: what later levels rewind to; None where nothing returns.
        start_weights: the prunable weights at the start of this training.
    """

    def __init__(self, setup: Setup, *, stored: bool, is_running: Callable[[], bool]) -> None:
        rewind_to = setup.plan.rewind_to
        step = rewind_to if isinstance(rewind_to, Step) else Step.start()
        self.setup, self.point = setup, None if rewind_to is None else RewindPoint(step)
        self.start_weights: Mapping[str, Tensor] = {}
        # where nothing returns and nothing is stored, a schedule may go on as it likes
        self._watch = None if self.point is None and not stored else RateWatch(setup.optimizer, setup.resets)
        self._own_generators = [item for item in setup.resets if isinstance(item, torch.Generator)]
        parameters = prunable_parameters(setup.model, setup.plan.prunable)
        self._observers = Watch(setup.model, parameters, setup.plan.observers, is_on=is_running)
        self._begun_with: _Begun | None = None
        self._own_scheduler: str | None = None
        self._hold: Hold | None = None
        self._hooks: list[RemovableHandle] = []

    def check_schedulers(self) -> None:
        """Refuse a scheduler that would run on from level to level; see `RateWatch.enter`."""
        if self._watch is not None:
            self._watch.enter()

    def hold(self, mask: Mask, *, before_step: Callable[[], None], after_step: Callable[[], None]) -> None:
        """Keep pruned weights at zero from now on, watch, and call back around each step of the optimizer."""
        self._hold = hold(self.setup.model, self.setup.optimizer, mask, mask_grads=self.setup.mask_grads)
        inner = steppers(self.setup.optimizer)[-1]  # which steps, however one that wraps it is called
        self._observers.__enter__()

        def before(stepping: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            before_step()
            self._observers.step(stepping, has_closure=len(args) > 1 or bool(kwargs))

        self._hooks.append(inner.register_step_pre_hook(before))
        self._hooks.append(inner.register_step_post_hook(lambda *_: after_step()))

    def hold_instead(self, mask: Mask) -> None:
        """Hold another mask.

        Raises:
            InvalidValue: if nothing is held any more.
        """
        if self._hold is None:
            raise InvalidValue(
                "the levels were left",
                "they end with their with: afterwards nothing is held or recorded",
                "move this into the with",
            )
        self._hold.update(mask)

    def release(self) -> None:
        """Stop holding."""
        if self._hold is not None:
            self._hold.release()
            self._hold = None

    def leave(self) -> None:
        """Remove the hooks on steps and passes."""
        self._observers.__exit__()
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def start(self) -> None:
        """Before level 0: what is zero or pruned already; and the rewind point, if that is initialization."""
        if self.setup.mask is None:
            self._warn_of_zeros()
        else:
            mask_averages(self.setup.resets, self.setup.model, self.setup.mask)
        if self.point is not None:
            self.point.after_step(0, self.setup.model)

    def _warn_of_zeros(self) -> None:
        """Say that exact zeros at the start are taken as alive."""
        zeros = Mask.from_zeros(self.setup.model, self.setup.plan.prunable)
        if zeros.kept < zeros.total:
            warnings.warn(
                f"{zeros.total - zeros.kept} of {zeros.total} prunable weights are exactly 0 at the start; they are "
                "taken as alive. To go on from a sparse model, give mask=Mask.from_zeros(model).",
                stacklevel=6,
            )

    def seed_probe(self, level: int, stage: int) -> None:
        """Seed what evidence is drawn with before a training."""
        seed_everything(derive_seed(self.setup.seed, level, stage, "probe"), self._own_generators)

    def rewind(self, mask: Mask) -> str | None:
        """Go back to the rewind point, as far as the plan says, and hold the mask; the hash of rewound weights."""
        setup, digest = self.setup, None
        to_step = isinstance(setup.plan.rewind_to, Step)
        if self.point is not None:
            snapshot, training = self.point.get()
            wanted = snapshot if to_step else Snapshot.of(setup.model)
            training.restore(setup.optimizer, setup.resets)  # before: an average may hold the model itself
            digest = rewind(setup.model, wanted, mask)
        self.hold_instead(mask)
        mask_averages(setup.resets, setup.model, mask)
        return digest if to_step else None

    def seed_training(self, level: int, stage: int) -> None:
        """Seed everything random for a training, begin to watch it, and keep the weights that it starts from."""
        rank = self.setup.processes.rank
        seed_training(self.setup.seed, level, stage, rank=rank, generators=self._own_generators)
        self._observers.begin()
        self._begun_with = self._where_it_begins(generator_states())
        self.start_weights = {name: weight.clone() for name, weight in self._prunable().items()}

    def expect_schedulers(self, level: int) -> None:
        """A training begins: the schedulers that are here now were made for another one."""
        if self._watch is not None and level > 0:
            self._watch.begin()

    def _prunable(self) -> dict[str, Tensor]:
        parameters = prunable_parameters(self.setup.model, self.setup.plan.prunable)
        return {name: parameter.detach() for name, parameter in parameters.items()}

    def settle(self) -> bool:
        """Complete the rewind point once its step is done; whether it has been completed just now."""
        if self.point is None:
            return False
        complete = self.point.complete
        self.point.settle(self.setup.optimizer, self.setup.resets)
        return self.point.complete and not complete

    def check_rates(self, here: Position) -> list[dict[str, Any]] | None:
        """Refuse a step whose learning rate has run on; the rates, if they are the first of all.

        A training's first step has the learning rate of level 0's first one, or of the rewind point.
        """
        if self._watch is None:
            return None
        where = f"level {here.level}"
        self._watch.before_step(where)
        if here.steps != here.first_step:
            return None
        now = rates_of(self.setup.optimizer.param_groups)
        if here.first_rates is None:
            return now
        if self.point is not None:
            check_first_step(now, [here.first_rates, rates_of(self.point.get()[1].groups)], where)
        return None

    def after_step(self, here: Position) -> None:
        """Copy the model if this step is the one to rewind to."""
        if self.point is not None and here.level == 0:
            self.point.after_step(here.steps, self.setup.model)

    def has_own_scheduler(self, here: Position) -> bool:
        """Whether a kill must send this training back to its beginning: its scheduler's state is in no checkpoint."""
        if self._watch is None:
            return False
        if here.epochs == 1:  # once in a training: looking for schedulers takes 10 ms
            self._own_scheduler = self._watch.made_since()
            if self._own_scheduler is not None and here.level == 0:
                warnings.warn(
                    f"a {self._own_scheduler} is made in each level: it is in no checkpoint, so a level that is killed "
                    "begins again. To go on in its middle, make it before iterate and give resets=[scheduler].",
                    stacklevel=5,
                )
        return self._own_scheduler is not None

    def copy(self, state: State) -> Checkpoint:
        """All that is needed to go on from here."""
        model = self.setup.model
        return Checkpoint(
            position=state.here,
            mask=state.mask,
            records=state.records,
            model=model_state(model),
            extra=extra_states(model),
            start_weights=self.start_weights,
            training=TrainingState.of(self.setup.optimizer, self.setup.resets),
            generators=generator_states(),
            observers=self._observers.states(),
        )

    def put_back(self, checkpoint: Checkpoint, path: Path) -> None:
        """Go on from a checkpoint, which lies in ``path``.

        Raises:
            CorruptFile: if it does not fit.
        """
        setup = self.setup
        with fitting(path):
            check_dtypes(checkpoint.model, setup.model, path)
            check_names("mask", checkpoint.mask, setup.first_mask, path)
            check_names("extra state", checkpoint.extra, extra_states(setup.model), path)
            devices = {name: tensor.device for name, tensor in model_state(setup.model).items()}
            self.start_weights = {name: tensor.to(devices[name]) for name, tensor in checkpoint.start_weights.items()}
            load_state(setup.model, checkpoint.model, extra=checkpoint.extra)
            self.hold_instead(checkpoint.mask)
            checkpoint.training.restore(setup.optimizer, setup.resets)  # after it, which clears optimizer state
            check_names("observers", checkpoint.observers, self._observers.states(), path)
            self._observers.load(checkpoint.observers)
            self._begun_with = self._where_it_begins(checkpoint.generators)
            self.restore_generators()

    def try_rewind_point(self, path: Path) -> None:
        """Put the rewind point in to see that it fits: not after the hours of a level.

        Raises:
            CorruptFile: if it does not.
        """
        if self.point is None or not self.point.complete:
            return
        setup, (snapshot, training) = self.setup, self.point.get()
        with fitting(path, NO_REWIND_POINT):
            check_dtypes(snapshot.state, setup.model, path, NO_REWIND_POINT)
            load_state(setup.model, snapshot.state, extra=snapshot.extra)
            training.restore(setup.optimizer, setup.resets)

    def restore_generators(self) -> None:
        """Put all generators where the training, or the checkpoint, had them, and forget what was watched since.

        User code may have drawn and run the model since.
        """
        if self._begun_with is not None:
            restore_generators(self._begun_with.generators)
            for own, state in zip(self._own_generators, self._begun_with.own_generators, strict=True):
                own.set_state(state)
            self._observers.load(self._begun_with.observers)

    def forget_generators(self) -> None:
        """The training draws from them now."""
        self._begun_with = None

    def _where_it_begins(self, generators: dict[str, Any]) -> _Begun:
        own = [generator.get_state() for generator in self._own_generators]
        return _Begun(generators, own, self._observers.copies())

    def watched(self, observer: Observer[object]) -> object:
        """What an observer has seen; of several processes, all ask together."""
        return self._observers.result(observer, self.setup.processes)
