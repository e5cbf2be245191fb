"""Where an iteration stands, as a frozen value, and what happens to it, as pure functions from state to state.

    nothing --begun--> running --epochs_planned, stepped, noted, epoch_done--> running --ended--> over --begun--> ...

No model, no optimizer, no file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from budbreak.errors import InvalidValue, InvariantBroken
from budbreak.iteration.plan import Plan
from budbreak.iteration.rates import Rates
from budbreak.iteration.targets import LevelTarget, Removal
from budbreak.masks import Mask
from budbreak.schedules import Progress

DEFECT = "report this: it is a defect of budbreak"


@dataclass(frozen=True)
class LevelRecord:
    """One training of one level.

    Args:
        level: 0 is dense; ``stage``: which of its level's trainings, 0 or after as many `Train`; ``last_stage``:
            whether the level ends here.
        kept: weights that stay, of ``total`` prunable ones; ``density`` = kept / total.
        density_all: parameters that are not pruned / all parameters of the model.
        counted: what the schedule counts, "weights", "units" or "blocks", of which ``counted_kept`` of
            ``counted_total`` stay; "weights at most": a budget, where ``kept`` says what was reached; ``spared``: the
            weights whose units are never pruned, and are not counted (the classifier's).
        host_removed: by the host before this training; ``follow_ups_removed``: by each `Remove` of the plan, in
            their order; ``shortfall``: what they could not remove, and the host took instead.
        steps: optimizer steps in this training; ``epochs``: those that `Level.epochs` counted; ``seconds``: its
            wall-clock time over all sessions.
        rewound: SHA-256 of the state after rewinding; None where nothing was rewound.
        mask_digest, end_digest: SHA-256 of the mask, and of the state at the end.
        metrics: what the user recorded.
        invariants: what was asserted, and held.
        world_size: how many processes trained together; the record is that of rank 0, on all of them.
    """

    level: int
    stage: int
    last_stage: bool
    kept: int
    total: int
    density: float
    density_all: float
    counted: str
    counted_kept: int
    counted_total: int
    spared: tuple[str, ...]
    host_removed: int
    follow_ups_removed: tuple[int, ...]
    shortfall: int
    steps: int
    epochs: int
    seconds: float
    rewound: str | None
    mask_digest: str
    end_digest: str
    metrics: Mapping[str, float]
    invariants: Mapping[str, bool]
    world_size: int


@dataclass(frozen=True)
class Position:
    """Where an iteration stands.

    Args:
        level, stage: the training that runs, or that ended last.
        alive: weights (units, for `Unit`) alive before this level.
        epochs: done in this training; ``ended``: whether it is over and recorded.
        steps: optimizer steps in all trainings; ``first_step``: of them, before this training;
            ``level_step``: before this level, which is when its schedule was asked.
        host, follow_ups, shortfall: see `Removal`.
        rewound: hash of the state after rewinding, or None.
        seconds: this training took in earlier sessions.
        metrics: recorded so far in this training; ``noted``: after how many steps, outside its epochs, at last.
        planned: epochs that this training has, where it was said.
        first_rates: learning rates at the first step of level 0; see `budbreak.iteration.rates`.
    """

    level: int
    stage: int
    alive: int
    epochs: int = 0
    ended: bool = False
    steps: int = 0
    first_step: int = 0
    level_step: int = 0
    host: int = 0
    follow_ups: tuple[int, ...] = ()
    shortfall: int = 0
    rewound: str | None = None
    seconds: float = 0.0
    metrics: Mapping[str, float] | None = None
    first_rates: Rates | None = None
    noted: int | None = None
    planned: int | None = None


@dataclass(frozen=True)
class State:
    """An iteration at one moment.

    Args:
        mask: what stays now; ``before``: what stayed in the training before.
        records: of all trainings that are over, in their order.
        position: of the training that runs, or that ended last; None before the first one.
    """

    mask: Mask
    before: Mask
    records: tuple[LevelRecord, ...] = ()
    position: Position | None = None

    @property
    def here(self) -> Position:
        """Where it stands.

        Raises:
            InvalidValue: if no level has begun.
        """
        if self.position is None:
            raise InvalidValue(
                "no level has begun",
                "a level begins with each turn of the loop over the levels",
                "write: for level in levels: ...",
            )
        return self.position

    @property
    def running(self) -> bool:
        """Whether a training has begun and is not over."""
        return self.position is not None and not self.position.ended


def begun(state: State, plan: Plan, *, removal: Removal | None = None, rewound: str | None = None) -> State:
    """The next training begins.

    Args:
        state: nothing runs in it.
        plan: says which training is next.
        removal: what was removed before it; None before level 0.
        rewound: hash of the state after rewinding, or None.

    Raises:
        InvariantBroken: if a training runs, none is left, or weights would come back.
    """
    where, before = upcoming(state, plan), state.position
    went = Removal(state.mask, 0, (), 0) if removal is None else removal
    if state.running or where is None:
        raise InvariantBroken("a training begins out of turn", "one follows the other", DEFECT)
    if not went.mask.is_within(state.mask):
        raise InvariantBroken("a pruned weight came back", "masks only shrink", DEFECT)
    same_level = before is not None and where[1] > 0
    steps = before.steps if before else 0
    position = Position(
        *where,
        alive=before.alive if before and same_level else plan.count(state.mask)[1],
        steps=steps,
        first_step=steps,
        level_step=before.level_step if before and same_level else steps,
        host=went.host,
        follow_ups=went.follow_ups,
        shortfall=went.shortfall,
        rewound=rewound,
        first_rates=before.first_rates if before else None,
    )
    return State(went.mask, state.mask, state.records, position)


def stepped(state: State) -> State:
    """The optimizer has made a step. One after a training, before the next begins, belongs to none of them."""
    return _moved(state, steps=state.here.steps + 1)


def rates_seen(state: State, rates: Rates) -> State:
    """The learning rates at the first step of level 0 are known."""
    return _moved(state, first_rates=rates)


def epochs_planned(state: State, count: int) -> State:
    """The user says how many epochs this training has.

    Raises:
        InvalidValue: if it had said another number before it was killed.
    """
    here = _running(state)
    if here.planned not in (None, count):
        raise InvalidValue(
            f"epochs({count}), but this level was begun with epochs({here.planned}) and has done {here.epochs}",
            "a resumed level has as many epochs as it had",
            f"write epochs({here.planned}), or give another store",
        )
    return _moved(state, planned=count)


def epoch_done(state: State, epochs: int) -> State:
    """An epoch is over, the ``epochs``-th of this training.

    Raises:
        InvalidValue: if it is not the next one.
    """
    here = _running(state)
    if epochs != here.epochs + 1 or epochs > (here.planned or 0):
        raise InvalidValue(
            f"epoch {epochs} of {here.planned} is over, after {here.epochs}",
            "the epochs of a training are done one after the other",
            "go through level.epochs(...) once, in one loop",
        )
    return _moved(state, epochs=epochs)


def noted(state: State, metrics: Mapping[str, float], *, in_epochs: bool) -> State:
    """Metrics were recorded; outside the epochs of the training, they say that it is over."""
    here = _running(state)
    return _moved(state, metrics={**(here.metrics or {}), **metrics}, noted=here.noted if in_epochs else here.steps)


def agreed(state: State, metrics: Mapping[str, float] | None) -> State:
    """All ranks have told each other what they recorded."""
    return _moved(state, metrics=metrics)


def timed(state: State, seconds: float) -> State:
    """Some more seconds have passed in this training."""
    return _moved(state, seconds=state.here.seconds + seconds)


def ended(state: State, record: LevelRecord) -> State:
    """The training is over, and recorded.

    Raises:
        InvariantBroken: if the record is of another one.
    """
    here = _running(state)
    if (record.level, record.stage, record.kept) != (here.level, here.stage, state.mask.kept):
        raise InvariantBroken(f"the record is of level {record.level}", f"level {here.level} ends", DEFECT)
    return _moved(replace(state, records=(*state.records, record)), ended=True)


def _moved(state: State, **changes: Any) -> State:
    return replace(state, position=replace(state.here, **changes))


def _running(state: State) -> Position:
    if not state.running:
        raise InvariantBroken("no training runs", "only in one there are epochs and metrics", DEFECT)
    return state.here


def upcoming(state: State, plan: Plan) -> tuple[int, int] | None:
    """(level, stage) of the training that runs, or else of the next one; None after the last."""
    here = state.position
    if here is None:
        return plan.trainings[0]
    if not here.ended:
        return here.level, here.stage
    trainings = plan.trainings
    left = trainings[trainings.index((here.level, here.stage)) + 1 :]
    return left[0] if left else None


def progress(state: State, level: int) -> Progress:
    """What the schedule is asked about a level: it is the same in all of the level's stages."""
    metrics = tuple(record.metrics for record in state.records if record.last_stage)
    here = state.position
    step = 0 if here is None else here.level_step if here.level == level else here.steps
    return Progress(level, step, metrics[:level])


def target_of(state: State, plan: Plan, level: int) -> LevelTarget:
    """The counts of a level that runs, or comes next; above level 0 the schedule is asked."""
    here, (total, now) = state.position, plan.count(state.mask)
    if level == 0:
        return LevelTarget(0, alive=now, keep=now, host=0, shares=(0,) * len(plan.removals))
    alive = here.alive if here is not None and level == here.level else now
    return plan.target(progress(state, level), total=total, alive=alive)


def is_done(state: State, *, alone: bool) -> bool:
    """Whether the body has done all of the training that runs, as far as can be known.

    Of several processes, one may record what the others do not: only ``alone`` does a record say that it is over.
    """
    here = state.here
    return not here.ended and (here.epochs == here.planned or (alone and here.noted == here.steps))


def misfit(state: State, plan: Plan) -> str | None:
    """Why this state cannot come from this plan; None if it can."""
    here = state.here
    if (here.level, here.stage) not in plan.trainings or min(here.epochs, here.steps, here.alive) < 0:
        return f"it stands at level {here.level}, which the plan has not"
    over = plan.trainings.index((here.level, here.stage)) + here.ended
    if [(record.level, record.stage) for record in state.records] != plan.trainings[:over]:
        return f"it has not the records of the {over} trainings that are over"
    return None
