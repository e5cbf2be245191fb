"""The live network of an iteration: nothing else touches its model, optimizer and ``resets``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from budbreak.evidence import Observer, States, Watch
from budbreak.iteration.checkpoint import Checkpoint, check_dtypes, check_names, fitting
from budbreak.iteration.engaged import Held, Listeners
from budbreak.iteration.generators import (
    derive_seed,
    generator_states,
    restore_generators,
    seed_everything,
    seed_generators,
    seed_training,
)
from budbreak.iteration.identity import Setup
from budbreak.iteration.optimizing import Optimizers
from budbreak.iteration.rates import Rates
from budbreak.iteration.rewindpoint import NO_REWIND_POINT, RewindPoint
from budbreak.iteration.state import Position, State
from budbreak.iteration.step import Step
from budbreak.live import (
    Resettable,
    Snapshot,
    TrainingState,
    extra_states,
    load_state,
    mask_averages,
    model_state,
    rewind,
)
from budbreak.masks import Mask, prunable_parameters


@dataclass(frozen=True)
class Calls:
    """How a network asks and tells the course of its iteration.

    Args:
        is_running: whether a training has begun and is not over.
        before_step: an optimizer is about to step.
        after_step: so many-th of the optimizers has made a step.
        recorded: what was recorded last by a name, if anything was.
    """

    is_running: Callable[[], bool]
    before_step: Callable[[], None]
    after_step: Callable[[int], None]
    recorded: Callable[[str], float | None]


@dataclass(frozen=True)
class _Begun:
    """What user code may have changed by the time its training begins."""

    generators: dict[str, Any]
    own_generators: list[tuple[torch.Generator, Tensor]]
    observers: States


class LiveNetwork:
    """Model, optimizers and ``resets``: held at a mask, observed, rewound, copied and put back.

    Args:
        setup: what the user gave.
        calls: how it asks and tells the course of the iteration.
        stored: whether the iteration has a store.

    Attributes:
        point: what later levels rewind to; None where nothing returns.
        start_weights: the prunable weights at the start of this training.
    """

    def __init__(self, setup: Setup, calls: Calls, *, stored: bool) -> None:
        rewind_to = setup.plan.rewind_to
        step = rewind_to if isinstance(rewind_to, Step) else Step.start()
        self.setup, self.point = setup, None if rewind_to is None else RewindPoint(step)
        self.start_weights: Mapping[str, Tensor] = {}
        self._own_generators = [item for item in setup.resets if isinstance(item, torch.Generator)]
        parameters = prunable_parameters(setup.model, setup.plan.prunable)
        self._observers = Watch(
            setup.model, parameters, setup.plan.observers, is_on=calls.is_running, recorded=calls.recorded
        )
        self._calls = calls
        self._optimizers = Optimizers(setup, Listeners(self._before, calls.after_step), parameters, stored=stored)
        self._begun_with: _Begun | None = None

    @property
    def optimizers(self) -> tuple[Optimizer, ...]:
        """Those that train the model now: given, or attached to this training, if any are."""
        return self._optimizers.now

    def check_schedulers(self) -> None:
        """Refuse a scheduler that would run on from level to level; see `RateWatch.enter`."""
        self._optimizers.check_schedulers()

    def hold(self, mask: Mask) -> None:
        """Keep pruned weights at zero from now on, watch, and call back around each step of an optimizer."""
        self._optimizers.hold(mask)
        self._observers.__enter__()

    def _before(self, stepping: Optimizer, held: Held, has_closure: bool) -> None:
        self._calls.before_step()
        self._observers.step(stepping, has_closure=has_closure, held=held)

    def release(self) -> None:
        """Stop holding."""
        self._optimizers.release()

    def leave(self) -> None:
        """Remove the hooks on steps and passes."""
        self._observers.__exit__()
        self._optimizers.leave()

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
            training.restore(setup.optimizers, setup.resets)  # before: an average may hold the model itself
            digest = rewind(setup.model, wanted, mask)
        self._optimizers.hold_instead(mask)
        mask_averages(setup.resets, setup.model, mask)
        return digest if to_step else None

    def seed_training(self, level: int, stage: int) -> None:
        """Seed everything random for a training, begin to watch it, and keep the weights that it starts from."""
        rank = self.setup.processes.rank
        seed_training(self.setup.seed, level, stage, rank=rank, generators=self._own_generators)
        self._optimizers.wait_for(None)
        self._observers.begin()
        self._begun_with = self._where_it_begins(generator_states())
        self.start_weights = {name: weight.clone() for name, weight in self._prunable().items()}

    def expect_schedulers(self, level: int) -> None:
        """A training begins: the schedulers that are here now were made for another one."""
        self._optimizers.expect_schedulers(level)

    def attach(self, optimizers: tuple[Optimizer, ...], resets: tuple[Resettable, ...], state: State) -> dict[str, Any]:
        """Let these train the model now; generators among ``resets`` are seeded for it. See `Optimizers.attach`."""
        here, own = state.here, [item for item in resets if isinstance(item, torch.Generator)]
        described = self._optimizers.attach(optimizers, resets, here, state.mask)
        if not self._optimizers.goes_on:
            seed = derive_seed(self.setup.seed, here.level, here.stage, "train")
            seed_generators(seed, own, first=len(self._own_generators))
        if self._begun_with is not None:
            states = [(generator, generator.get_state()) for generator in own]
            begun = self._begun_with
            self._begun_with = replace(begun, own_generators=[*begun.own_generators, *states])
        return described

    def again(self) -> None:
        """A training that has begun is handed out once more: as it was then, and with nothing attached."""
        self.restore_generators()
        self._optimizers.detach()
        if self._begun_with is not None:
            own = self._begun_with.own_generators[: len(self._own_generators)]
            self._begun_with = replace(self._begun_with, own_generators=own)

    @property
    def has_moved(self) -> bool:
        """Whether a prunable weight is another one than at the start of this training."""
        now = self._prunable()
        return any(not torch.equal(now[name], start.to(now[name])) for name, start in self.start_weights.items())

    def _prunable(self) -> dict[str, Tensor]:
        parameters = prunable_parameters(self.setup.model, self.setup.plan.prunable)
        return {name: parameter.detach() for name, parameter in parameters.items()}

    def settle(self) -> bool:
        """Complete the rewind point once its step is done; whether it has been completed just now."""
        if self.point is None:
            return False
        complete = self.point.complete
        self.point.settle(self.setup.optimizers, self.setup.resets)
        return self.point.complete and not complete

    def check_rates(self, here: Position) -> Rates | None:
        """See `Optimizers.check_rates`."""
        return self._optimizers.check_rates(here, self.point)

    def after_step(self, here: Position) -> None:
        """Copy the model if this step is the one to rewind to."""
        if self.point is not None and here.level == 0:
            self.point.after_step(here.steps, self.setup.model)

    def has_own_scheduler(self, here: Position) -> bool:
        """See `Optimizers.has_own_scheduler`."""
        return self._optimizers.has_own_scheduler(here)

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
            training=TrainingState.of(self.setup.optimizers, self.setup.resets),
            generators=generator_states(),
            observers=self._observers.states(),
            attached=self._optimizers.state() if state.running else None,
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
            self._optimizers.hold_instead(checkpoint.mask)
            checkpoint.training.restore(setup.optimizers, setup.resets)  # after it, which clears optimizer state
            check_names("observers", checkpoint.observers, self._observers.states(), path)
            self._observers.load(checkpoint.observers)
            self._begun_with = self._where_it_begins(checkpoint.generators)
            self.restore_generators()
        self._optimizers.wait_for(checkpoint.attached, path)

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
            training.restore(setup.optimizers, setup.resets)

    def restore_generators(self) -> None:
        """Put all generators where the training, or the checkpoint, had them, and forget what was watched since.

        User code may have drawn and run the model since.
        """
        if self._begun_with is not None:
            restore_generators(self._begun_with.generators)
            for own, state in self._begun_with.own_generators:
                own.set_state(state)
            self._observers.load(self._begun_with.observers)

    def forget_generators(self) -> None:
        """The training draws from them now."""
        self._begun_with = None

    def _where_it_begins(self, generators: dict[str, Any]) -> _Begun:
        own = [(generator, generator.get_state()) for generator in self._own_generators]
        return _Begun(generators, own, self._observers.copies())

    def watched(self, observer: Observer[object]) -> object:
        """What an observer has seen; of several processes, all ask together."""
        return self._observers.result(observer, self.setup.processes)
