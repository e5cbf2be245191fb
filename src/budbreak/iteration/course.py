"""The course of an iteration: whatever happens to its state happens to the live network and the store as well."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.optim import Optimizer

from budbreak.errors import InvalidValue
from budbreak.iteration import state as states
from budbreak.iteration.checkpoint import Checkpoint
from budbreak.iteration.coursechecks import check_attached, check_recorded, check_trained, in_words, unseen
from budbreak.iteration.dense import take_dense_level
from budbreak.iteration.ending import Ending, EndingRule
from budbreak.iteration.identity import Setup, identity, start_identity
from budbreak.iteration.levelweights import LevelWeights
from budbreak.iteration.network import Calls, LiveNetwork
from budbreak.iteration.ranks import APART, Said, SharedStore, agree, check_same_iteration, check_same_network
from budbreak.iteration.recording import check_finite, make_record
from budbreak.iteration.remover import Before
from budbreak.iteration.removing import remove
from budbreak.iteration.state import Position, State
from budbreak.iteration.stopping import Until, is_open, read_by
from budbreak.iteration.store import Store
from budbreak.iteration.targets import Removal
from budbreak.live import Resettable

_LOG = logging.getLogger(__name__)


class Course:
    """An iteration under way: its state, moved on together with its network and its store.

    Args:
        setup: what the user gave.
        store: where it survives, if anywhere.
        dense: the store to take level 0 from, if it is to be taken.

    Attributes:
        state: where it stands.
        entered: whether it is between the start and the end of the user's ``with``.
        handed: where the training stood when the user's loop got it; None between trainings.
        resumed: where an earlier session had come to, in words.
    """

    def __init__(self, setup: Setup, store: SharedStore | None, dense: Store | None) -> None:
        self.setup, self.state = setup, State(setup.first_mask, setup.first_mask)
        self.entered, self.resumed = False, ""
        self.handed: Position | None = None
        self._store, self._dense = store, dense
        calls = Calls(
            lambda: self.state.running,
            self._before_step,
            self._after_step,
            lambda name: states.recorded(self.state, name),
        )
        self._network = LiveNetwork(setup, calls, stored=store is not None)
        self._unsaid: Mapping[str, float] = {}
        self._in_epoch: Mapping[str, float] = {}
        self._identity: Mapping[str, Any] = {}
        self._clock = 0.0

    # --- the start and the end ---------------------------------------------------------------------------------

    def enter(self) -> None:
        """Take the store, go back to where it stands, and start to hold."""
        setup = self.setup
        with setup.processes.agreeing("entering the levels"):
            self._network.check_schedulers()
            about = identity(setup)
            check_same_iteration(setup.processes, {**about, "stored": self._store is not None, "keep": setup.keep})
            self._identity = about if self._store is None else {**about, **start_identity(setup)}
        if self._store is not None:
            self._store.open(self._identity)
        try:
            with setup.processes.agreeing("the start"):
                self._start()
        except BaseException:
            self.leave()
            raise
        self.entered = True

    def leave(self) -> None:
        """Remove the hooks, stop holding unless asked to go on, let the store go."""
        self.entered = False
        self._network.leave()
        if not self.setup.keep_holding:
            self.release()
        if self._store is not None:
            self._store.close()

    def release(self) -> None:
        """Stop holding."""
        self._network.release()

    def _start(self) -> None:
        self._network.hold(self.state.mask)
        stored = None if self._store is None else self._store.load_checkpoint()
        if self._store is not None and stored is not None:
            self._resume(self._store, *stored)
        elif self._store is not None and self._dense is not None:
            self._take_over(self._store, self._dense)
        else:
            self._network.start()
            self._settle()

    def _take_over(self, store: SharedStore, dense: Store) -> None:
        """Go on from the end of another store's level 0, as if it had been trained in this one."""
        checkpoint, point = take_dense_level(dense, self._identity, self.setup.plan, self._network.point)
        if point is not None:
            store.save("rewind", point.tree())
        store.save_checkpoint(checkpoint.tree())
        self._resume(store, checkpoint, store.path("checkpoint"), f", taken over from {dense.folder}")

    def _resume(self, store: SharedStore, checkpoint: Checkpoint, path: Path, source: str = "") -> None:
        checkpoint.check_course(self.setup.plan, path)
        state, network = checkpoint.state, self._network
        if state.here.ended:  # killed before its files were written
            store.save_mask(state.here.level, state.mask)
            if self._keeps_weights(state) and not store.has_weights(state.here.level):
                store.save_weights(LevelWeights.of(checkpoint), state.mask)
        store.check_masks(state.records)
        self._warn_of_missing_weights(store, state)
        if network.point is not None:
            network.point = store.load_rewind_point(state.here.steps, network.point)
            network.try_rewind_point(store.path("rewind"))
        network.put_back(checkpoint, path)
        self.state = state
        if state.records:  # killed before they were written, or they were deleted
            store.save_records(state.records)
        self.resumed = in_words(state, self.setup.plan) + source
        if self.setup.processes.rank == 0:
            _LOG.warning("%s: %s", path.parent, self.resumed)
        self._clock = time.perf_counter()

    # --- from training to training -----------------------------------------------------------------------------

    def begin(self) -> None:
        """The next training begins: what is to go is removed, what is to return is rewound."""
        plan = self.setup.plan
        level, stage = states.upcoming(self.state, plan) or (0, 0)
        with self.setup.processes.agreeing(f"the beginning of level {level}, stage {stage}"):
            self._clock = time.perf_counter()
            removal = self._remove(level, stage) if level > 0 else None
            rewound = None if removal is None else self._network.rewind(removal.mask)
            self._network.seed_training(level, stage)
            self.state = states.begun(self.state, plan, removal=removal, rewound=rewound)
            check_same_network(self.setup, self.state.mask, level)
            self._network.expect_schedulers(level)
            self._save()

    def _remove(self, level: int, stage: int) -> Removal:
        self._network.seed_probe(level, stage)
        return remove(self.setup, self.state, Before(self._network.start_weights, self._network.watched))

    @property
    def is_done(self) -> bool:
        """Whether the body has done all of the training that runs, as far as can be known."""
        return states.is_done(self.state, alone=self.setup.processes.size == 1)

    def again(self) -> None:
        """A training that has begun is handed out once more."""
        self._network.again()

    def end(self) -> None:
        """The training is over: what must hold is asserted, and it is recorded."""
        here = self.state.here
        if here.ends_after is not None and here.epochs < here.ends_after:  # stopped, and then left by break
            self.epoch_done(here.ends_after, checkpoint=False)
            here = self.state.here
        with self.setup.processes.agreeing(f"the end of level {here.level}, stage {here.stage}"):
            self._settle()
            self._agree("the end")
            check_recorded(self.setup.plan, self.state.here)
            if not self.setup.optimizers and self.state.here.untouched and self._network.has_moved:
                raise unseen(self.state.here, self._network.optimizers)
            seconds = self.state.here.seconds + time.perf_counter() - self._clock
            record = make_record(self.setup, self.state, self._network.optimizers, seconds=seconds)
            record = self.setup.processes.first("the record", record)
            self.state = states.ended(self.state, record)
            checkpoint = self._save()
            if self._store is not None and checkpoint is not None:
                self._store.save_mask(here.level, self.state.mask)
                if self._keeps_weights(self.state):
                    self._store.save_weights(LevelWeights.of(checkpoint), self.state.mask)
                self._store.save_records(self.state.records)  # last: whoever finds them finds the others, too
            if here.level == 0 and self._network.point is not None:
                self._network.point.get()  # level 0 is stored; now say if it was too short to rewind to
        self.handed = None
        if here.ending and self.setup.processes.rank == 0:
            _LOG.warning("%s", here.ending)

    def _keeps_weights(self, state: State) -> bool:
        """Whether those of the training that is over are kept when the iteration goes on."""
        return self.setup.keep == "all" and state.records[-1].last_stage

    def _warn_of_missing_weights(self, store: SharedStore, state: State) -> None:
        """Say that a store has begun without ``keep="all"``: what it did not keep then is gone."""
        over = [record.level for record in state.records if record.last_stage]
        missing = [level for level in over if self.setup.keep == "all" and not store.has_weights(level)]
        if missing and self.setup.processes.rank == 0:
            warnings.warn(
                f"the store has not kept the weights of level {', '.join(map(str, missing))}, which ended before "
                'keep="all" was given, or were deleted; it keeps those of the levels to come.',
                stacklevel=6,
            )

    # --- within a training -------------------------------------------------------------------------------------

    def check_running(self, level: int, stage: int, what: str) -> None:
        """Refuse what comes when a training is over.

        Raises:
            InvalidValue: with what came too late.
        """
        here = self.state.position
        if not self.entered or self.handed is None or here is None or (here.level, here.stage) != (level, stage):
            raise InvalidValue(
                f"{what} in level {level}, which is over",
                "a level's record is written when the loop goes on, or at the end of the with",
                "do it in the loop body, before the next level",
            )

    def attach(self, optimizers: tuple[Optimizer, ...], resets: tuple[Resettable, ...]) -> None:
        """Let these optimizers train the network in this training."""
        here, processes = self.state.here, self.setup.processes
        at = f"attach() in level {here.level}, stage {here.stage}"
        with processes.agreeing(at):
            described = self._network.attach(optimizers, resets, self.state)
            processes.same(at, described, "all ranks attach the same", APART)
            self.state = states.attached(self.state, described)

    def plan_epochs(self, count: int) -> None:
        """Keep how many epochs this training has; refuse another number than the store has."""
        check_attached(count, self.state.here, self._network.optimizers)
        self.state = states.epochs_planned(self.state, count)

    def go_on(self) -> int:
        """The epochs that this training has done; its generators are where they were then."""
        if self.state.here.epochs:  # else the body has drawn since, as it did without the interruption
            self._network.restore_generators()
        self._network.forget_generators()
        self._in_epoch = {}
        return self.state.here.epochs

    @property
    def last_epoch(self) -> int:
        """After how many epochs this training ends, as far as is known."""
        return self.state.here.last_epoch or 0

    def epoch_done(self, epochs: int, *, checkpoint: bool, until: Until | None = None) -> None:
        """Count an epoch, and store it if asked, or if it was the last one.

        Args:
            epochs: how many are over.
            checkpoint: whether it is to be stored in any case.
            until: asked whether the training ends with it.
        """
        with self.setup.processes.agreeing(f"the end of epoch {epochs - 1} of level {self.state.here.level}"):
            check_finite(self.setup.model)
            self._settle()
            self.state = states.epoch_done(self.state, epochs)
            numbers = self._agree("an epoch")
            ending = None if until is None else self._ending(until, numbers, epochs - 1)
            said = self.setup.processes.exchange("whether the training ends", ending)
            if any(said):
                self.state = states.ending(self.state, next(filter(None, said)))
            check_trained(self.state.here, self._network.optimizers)
            last = epochs == self.state.here.last_epoch
            if (checkpoint or last) and not self._begins_again():
                self._save()

    def _ending(self, until: Until, numbers: Mapping[str, float], epoch: int) -> Ending | None:
        if not isinstance(until, EndingRule):
            return Ending() if is_open(until, numbers, epoch) else None
        self.state = states.looked(self.state, read_by(until, numbers, epoch))
        return until.ends(states.so_far(self.state, self.setup.plan))

    def stop(self) -> None:
        """The training ends with the epoch that runs."""
        self.state = states.stopped(self.state, self.state.here.epochs + 1)

    def note(self, metrics: Mapping[str, float], *, in_epochs: bool) -> None:
        """Keep metrics for the record of this training; outside its epochs, they say that it is over."""
        self.state = states.noted(self.state, metrics, in_epochs=in_epochs)
        self._unsaid = {**self._unsaid, **metrics}
        self._in_epoch = {**self._in_epoch, **metrics} if in_epochs else self._in_epoch

    def _begins_again(self) -> bool:
        """Whether a kill must send this training back to its beginning: its scheduler's state is in no checkpoint."""
        here = self.state.here
        return self._store is not None and here.epochs != here.last_epoch and self._network.has_own_scheduler(here)

    def _before_step(self) -> None:
        self._settle()
        if self.state.position is not None:
            rates = self._network.check_rates(self.state.here)
            self.state = self.state if rates is None else states.rates_seen(self.state, rates)

    def _after_step(self, optimizer: int) -> None:
        if self.state.position is not None:
            self.state = states.stepped(self.state, optimizer, of=len(self._network.optimizers))
            self._network.after_step(self.state.here)

    def _agree(self, moment: str) -> Mapping[str, float]:
        """All ranks have what each of them recorded; what that is in the epoch that is over now."""
        mine = Said(self._unsaid, self._in_epoch, self.state.here.ends_after)
        said = agree(self.setup.processes, self.state.here, mine, moment)
        self.state = states.agreed(self.state, said.metrics, said.ends_after)
        self._unsaid, self._in_epoch = {}, {}
        return said.in_epoch

    def _settle(self) -> None:
        """Complete the rewind point once its step is done, and store it."""
        network = self._network
        if network.settle() and network.point is not None and self._store is not None:
            self._store.save("rewind", network.point.tree())

    def _save(self) -> Checkpoint | None:
        """Write a checkpoint, where there is a store."""
        if self._store is None:
            return None
        now = time.perf_counter()
        self.state, self._clock = states.timed(self.state, now - self._clock), now
        checkpoint = self._network.copy(self.state)
        self._store.save_checkpoint(checkpoint.tree())
        return checkpoint
