"""The course of an iteration: begin, train, finish, again; and back to where a killed run stood."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from budbreak.errors import InvalidValue
from budbreak.iteration.checkpoint import NO_REWIND_POINT, Checkpoint, RewindPoint, check_dtypes, fitting
from budbreak.iteration.dense import take_dense_level
from budbreak.iteration.invariants import assert_invariants
from budbreak.iteration.live import Live, check_moved, collect_evidence, make_record, warn_of_zeros
from budbreak.iteration.plan import Plan
from budbreak.iteration.ranks import SharedStore, check_same_network, met
from budbreak.iteration.rates import RateWatch, check_first_step, rates_of
from budbreak.iteration.removal import Removal, remove_first, remove_retrained
from budbreak.iteration.seeding import derive_seed, generator_states, restore_generators, seed_everything, seed_training
from budbreak.iteration.state import LevelRecord, Position, begun, in_words
from budbreak.iteration.step import Step
from budbreak.iteration.store import Store
from budbreak.live import (
    Hold,
    Resettable,
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
from budbreak.masks import Mask, check_collapse, prunable_parameters
from budbreak.schedules import Progress

_LOG = logging.getLogger(__name__)


class Course:
    """The state of an iteration and what moves it on; `Levels` is what its user sees of it."""

    def __init__(
        self,
        live: Live,
        store: SharedStore | None,
        *,
        dense: Store | None,
        mask: Mask | None,
        also: Mapping[str, object],
        keep_holding: bool,
    ) -> None:
        self._live, self._store, self._also, self._keep_holding = live, store, also, keep_holding
        self._given, self._dense_store = mask, dense
        self._identity: Mapping[str, Any] = {}
        self._mask = Mask.dense(live.model, live.plan.prunable) if mask is None else mask
        self._dense = self._before = self._mask
        self._point: RewindPoint | None = _rewind_point(live.plan)
        # where nothing returns and nothing is stored, a schedule may go on as it likes
        watched = self._point is not None or store is not None
        self._watch = RateWatch(live.optimizer, live.resets) if watched else None
        self._position: Position | None = None
        self._records: tuple[LevelRecord, ...] = ()
        self._start_weights: Mapping[str, Tensor] = {}
        self._generators: tuple[dict[str, Any], list[Tensor]] | None = None
        self._hold: Hold | None = None
        self._hooks: list[RemovableHandle] = []
        self._clock = 0.0
        self._entered = False
        self._handed: Position | None = None
        self._resumed = ""
        self._own_scheduler: str | None = None

    def _is_last(self, level: int, stage: int) -> bool:
        return stage + 1 == self._live.plan.stages(level)

    def _start(self) -> None:
        live = self._live
        self._hold = hold(live.model, live.optimizer, self._mask, mask_grads=live.mask_grads)
        inner = steppers(live.optimizer)[-1]  # which steps, however one that wraps it is called
        self._hooks.append(inner.register_step_pre_hook(self._before_step))
        self._hooks.append(inner.register_step_post_hook(self._after_step))
        found = None if self._store is None else self._store.load_checkpoint()
        if self._store is not None and found is not None:
            self._resume(self._store, *found)
            return
        if self._store is not None and self._dense_store is not None:
            self._take_over(self._store, self._dense_store)
            return
        if self._given is None:
            warn_of_zeros(live)
        else:
            mask_averages(live.resets, live.model, self._given)
        if self._point is not None:
            self._point.after_step(0, live.model)
            self._settle()

    def _take_over(self, store: SharedStore, dense: Store) -> None:
        """Go on from the end of another store's level 0, as if it had been trained in this one."""
        checkpoint, point = take_dense_level(dense, self._identity, self._live.plan, self._point)
        if point is not None:
            store.save("rewind", point.tree())
        store.save_checkpoint(checkpoint.tree())
        self._resume(store, checkpoint, store.path("checkpoint"), f", taken over from {dense.folder}")

    def _resume(self, store: SharedStore, checkpoint: Checkpoint, path: Path, source: str = "") -> None:
        live = self._live
        checkpoint.check_course(_stages(live.plan), path)
        if checkpoint.position.ended:  # killed before its file was written
            store.save_mask(checkpoint.position.level, checkpoint.mask)
        store.check_masks(checkpoint.records)
        self._mask = self._before = checkpoint.mask
        self._position, self._records = checkpoint.position, checkpoint.records
        self._resume_rewind_point(store, checkpoint.position)
        with fitting(path):
            check_dtypes(checkpoint.model, live.model, path)
            self._start_weights = _on_device(checkpoint.start_weights, live.model)
            load_state(live.model, checkpoint.model, extra=checkpoint.extra)
            self._holding.update(checkpoint.mask)
            checkpoint.training.restore(live.optimizer, live.resets)  # after the update, which clears optimizer state
            self._generators = checkpoint.generators, [own.get_state() for own in _generators(live.resets)]
            self._restore_generators()
        if self._records:  # killed before they were written, or they were deleted
            store.save_records(self._records)
        self._resumed = in_words(checkpoint.position, live.plan, self._records) + source
        if live.processes.rank == 0:
            _LOG.warning("%s: %s", path.parent, self._resumed)
        self._clock = time.perf_counter()

    def _resume_rewind_point(self, store: SharedStore, position: Position) -> None:
        if self._point is None:
            return
        self._point = store.load_rewind_point(position.steps, self._point)
        if self._point.complete:  # put in to see that it fits: not after the hours of a level
            live, (snapshot, training) = self._live, self._point.get()
            with fitting(store.path("rewind"), NO_REWIND_POINT):
                check_dtypes(snapshot.state, live.model, store.path("rewind"), NO_REWIND_POINT)
                load_state(live.model, snapshot.state, extra=snapshot.extra)
                training.restore(live.optimizer, live.resets)

    def _restore_generators(self) -> None:
        """Put all generators where the checkpoint has them: user code may have drawn since."""
        if self._generators is not None:
            restore_generators(self._generators[0])
            for own, state in zip(_generators(self._live.resets), self._generators[1], strict=True):
                own.set_state(state)

    def _next(self) -> tuple[int, int] | None:
        if self._position is None:
            return 0, 0
        level, stage = self._position.level, self._position.stage
        if not self._position.ended:
            return level, stage
        if stage + 1 < self._live.plan.stages(level):
            return level, stage + 1
        return (level + 1, 0) if level < self._live.plan.levels else None

    def _begin(self, level: int, stage: int) -> None:
        live = self._live
        self._clock = time.perf_counter()
        self._before = self._mask
        alive = live.plan.things(self._mask)[1] if stage == 0 or self._position is None else self._position.alive
        removal = self._remove(level, stage, alive) if level > 0 else None
        rewound = self._rewind() if level > 0 else None
        seed_training(live.seed, level, stage, rank=live.processes.rank, generators=_generators(live.resets))
        self._generators = generator_states(), [own.get_state() for own in _generators(live.resets)]
        parameters = prunable_parameters(live.model, live.plan.prunable)
        self._start_weights = {name: p.detach().clone() for name, p in parameters.items()}
        self._position = begun(level, stage, alive=alive, before=self._position, removal=removal, rewound=rewound)
        check_same_network(live, self._mask, level)
        if self._watch is not None and level > 0:
            self._watch.begin()
        self._save()

    def _remove(self, level: int, stage: int, alive: int) -> Removal:
        live = self._live
        seed_everything(derive_seed(live.seed, level, stage, "probe"), _generators(live.resets))
        target = live.plan.target(self._progress(level), total=live.plan.things(self._dense)[0], alive=alive)
        if target.keep < alive:
            check_moved(live, self._here, target, self._start_weights)
        evidence = collect_evidence(live, stage, self._start_weights)
        if stage == 0:
            removal = remove_first(live.plan, evidence, self._mask, target)
        else:
            removal = remove_retrained(live.plan, evidence, self._mask, target, stage)
        check_collapse(removal.mask, before=self._mask, allowed=live.plan.allow_collapse)
        self._mask = removal.mask
        return removal

    def _rewind(self) -> str | None:
        """Go back to the rewind point, as far as the plan says; hold the new mask."""
        live, digest = self._live, None
        if self._point is not None:
            snapshot, training = self._point.get()
            wanted = snapshot if isinstance(live.plan.rewind_to, Step) else Snapshot.of(live.model)
            training.restore(live.optimizer, live.resets)  # before: an average may hold the model itself
            digest = rewind(live.model, wanted, self._mask)
        self._holding.update(self._mask)
        mask_averages(live.resets, live.model, self._mask)
        return digest if isinstance(live.plan.rewind_to, Step) else None

    def _finish(self) -> None:
        level, stage = self._here.level, self._here.stage
        with self._live.processes.agreeing(f"the end of level {level}, stage {stage}"):
            self._keep(last_stage=self._is_last(level, stage))
        self._handed = None

    def _keep(self, *, last_stage: bool) -> None:
        live = self._live
        self._settle()
        here = self._position = met(live, self._here, "the end")
        record = live.processes.first("the record", self._record(last_stage))
        self._records = (*self._records, record)
        self._move(ended=True)
        self._save()
        if self._store is not None:
            self._store.save_records(self._records)
            self._store.save_mask(here.level, self._mask)
        if here.level == 0 and self._point is not None:
            self._point.get()  # level 0 is stored; now say if it was too short to rewind to

    def _record(self, last_stage: bool) -> LevelRecord:
        live, here = self._live, self._here
        total, alive = live.plan.things(self._mask)
        keep = live.plan.target(self._progress(here.level), total=total, alive=here.alive).keep if here.level else alive
        invariants = assert_invariants(
            live.model, live.optimizer, self._mask, keep=keep if last_stage else alive, kept=alive, before=self._before
        )
        if here.rewound is not None:
            invariants["rewinding verified"] = True
        seconds = here.seconds + time.perf_counter() - self._clock
        return make_record(live, here, self._mask, invariants=invariants, seconds=seconds, last_stage=last_stage)

    def _begins_again(self, epochs: int) -> bool:
        """Whether a kill must send this training back to its beginning: its scheduler's state is in no checkpoint."""
        if self._store is None or self._watch is None or epochs == self._here.planned:
            return False
        if epochs == 1:  # once in a training: looking for schedulers takes 10 ms
            self._own_scheduler = self._watch.made_since()
            if self._own_scheduler is not None and self._here.level == 0:
                warnings.warn(
                    f"a {self._own_scheduler} is made in each level: it is in no checkpoint, so a level that is killed "
                    "begins again. To go on in its middle, make it before iterate and give resets=[scheduler].",
                    stacklevel=4,
                )
        return self._own_scheduler is not None

    # --- small things --------------------------------------------------------------------------------------

    @property
    def _here(self) -> Position:
        if self._position is None:
            raise InvalidValue(
                "no level has begun",
                "a level begins with each turn of the loop over the levels",
                "write: for level in levels: ...",
            )
        return self._position

    @property
    def _holding(self) -> Hold:
        if self._hold is None:
            raise InvalidValue(
                "the levels were left",
                "they end with their with: afterwards nothing is held or recorded",
                "move this into the with",
            )
        return self._hold

    def _move(self, **changes: Any) -> None:
        self._position = replace(self._here, **changes)

    def _progress(self, level: int) -> Progress:
        metrics = tuple(record.metrics for record in self._records if record.last_stage)
        here = self._position
        step = 0 if here is None else here.level_step if here.level == level else here.steps
        return Progress(level, step, metrics[:level])

    def _start_step(self, level: int) -> int:
        return self._live.plan.rewind_to.count if level > 0 and isinstance(self._live.plan.rewind_to, Step) else 0

    def _before_step(self, *_: Any) -> None:
        self._settle()
        if self._position is None or self._watch is None:
            return
        where = f"level {self._position.level}"
        self._watch.before_step(where)
        if self._position.steps == self._position.first_step:
            self._check_rates(where)

    def _check_rates(self, where: str) -> None:
        """A training's first step: with the learning rate of level 0's first one, or of the rewind point."""
        now = rates_of(self._live.optimizer.param_groups)
        first = self._here.first_rates
        if first is None:
            self._move(first_rates=now)
        elif self._point is not None:
            check_first_step(now, [first, rates_of(self._point.get()[1].groups)], where)

    def _after_step(self, *_: Any) -> None:
        if self._position is not None:
            self._move(steps=self._position.steps + 1)
            if self._point is not None and self._position.level == 0:
                self._point.after_step(self._position.steps, self._live.model)

    def _settle(self) -> None:
        """Complete the rewind point once its step is done, and store it."""
        if self._point is None:
            return
        complete = self._point.complete
        self._point.settle(self._live.optimizer, self._live.resets)
        if self._point.complete and not complete and self._store is not None:
            self._store.save("rewind", self._point.tree())

    def _save(self) -> None:
        if self._store is None:
            return
        now = time.perf_counter()
        self._move(seconds=self._here.seconds + now - self._clock)
        self._clock = now
        live = self._live
        checkpoint = Checkpoint(
            position=self._here,
            mask=self._mask,
            records=self._records,
            model=model_state(live.model),
            extra=extra_states(live.model),
            start_weights=self._start_weights,
            training=TrainingState.of(live.optimizer, live.resets),
            generators=generator_states(),
        )
        self._store.save_checkpoint(checkpoint.tree())


def _rewind_point(plan: Plan) -> RewindPoint | None:
    if plan.rewind_to is None:
        return None
    return RewindPoint(plan.rewind_to if isinstance(plan.rewind_to, Step) else Step.start())


def _stages(plan: Plan) -> list[tuple[int, int]]:
    """(level, stage) of all trainings, in their order."""
    return [(level, stage) for level in range(plan.levels + 1) for stage in range(plan.stages(level))]


def _generators(resets: Sequence[Resettable]) -> list[torch.Generator]:
    return [item for item in resets if isinstance(item, torch.Generator)]


def _on_device(tensors: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    live = model_state(model)
    return {name: tensor.to(live[name].device) for name, tensor in tensors.items()}
