"""Where an iteration stands, as a frozen value, and what happens to it, as pure functions from state to state.

    nothing --begun--> running --epochs_planned, stepped, noted, stopped, epoch_done--> running --ended--> over --> ...

An iteration that is closed is over before its plan is: no further level begins.

No model, no optimizer, no file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from budbreak.errors import InvalidValue, InvariantBroken
from budbreak.iteration.ending import Closes, Ending, PastEpoch, SoFar
from budbreak.iteration.levelrecord import LevelRecord
from budbreak.iteration.plan import Plan
from budbreak.iteration.rates import Rates
from budbreak.iteration.targets import LevelTarget, Removal
from budbreak.masks import Mask
from budbreak.schedules import Progress

DEFECT = "report this: it is a defect of budbreak"


@dataclass(frozen=True)
class Position:
    """Where an iteration stands.

    A field with ``introduced`` in its metadata is in no checkpoint where it holds that: so older ones can be read.

    Args:
        level, stage: the training that runs, or that ended last.
        alive: weights (units, for `Unit`) alive before this level.
        epochs: done in this training; ``ended``: whether it is over and recorded.
        steps: optimizer steps in all trainings, of several optimizers those that all of them made; ``first_step``: of
            them, before this training; ``level_step``: before this level, which is when its schedule was asked.
        host, follow_ups, shortfall, exchanged: see `Removal`.
        rewound: hash of the state after rewinding, or None.
        seconds: this training took in earlier sessions.
        metrics: recorded so far in this training; ``noted``: after how many steps, outside its epochs, at last.
        planned: epochs that this training has, where it was said.
        first_rates: learning rates at the first step of level 0; see `budbreak.iteration.rates`.
        ends_after: epochs after which this training ends, since it was stopped; None where it was not.
        ahead: of several optimizers, how many steps more than ``steps`` each has made; empty where none has.
        past: the epochs that were counted under an ending rule, over all trainings.
        ending: what the rule says was not reached in this training; empty where nothing is amiss.
        closes: whether the iteration ends with this level ("now"), or right after the next pruning ("next").
        attached: what was attached last, see `budbreak.iteration.attaching.describe_attached`; None where optimizers
            are given to `iterate`.
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
    ends_after: int | None = field(default=None, metadata={"introduced": None})
    ahead: tuple[int, ...] = field(default=(), metadata={"introduced": ()})
    attached: dict[str, Any] | None = field(default=None, metadata={"introduced": None})
    past: tuple[PastEpoch, ...] = field(default=(), metadata={"introduced": ()})
    ending: str = field(default="", metadata={"introduced": ""})
    closes: Closes = field(default="", metadata={"introduced": ""})
    exchanged: int | None = field(default=None, metadata={"introduced": None})

    @property
    def last_epoch(self) -> int | None:
        """How many epochs it has in the end, as far as is known; None where nobody said."""
        return self.planned if self.ends_after is None else self.ends_after

    @property
    def untouched(self) -> bool:
        """Whether no optimizer has made a step in this training."""
        return self.steps == self.first_step and not self.ahead


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
        exchanged=went.exchanged,
        rewound=rewound,
        first_rates=before.first_rates if before else None,
        attached=before.attached if before else None,
        past=before.past if before else (),
    )
    if before and before.closes:  # and nothing is trained any more
        position = replace(position, closes="now", ends_after=0)
    return State(went.mask, state.mask, state.records, position)


def stepped(state: State, optimizer: int = 0, of: int = 1) -> State:
    """An optimizer has made a step. One after a training, before the next begins, belongs to none of them.

    Of several, as many steps count as all of them have made: what they do in turns is one step.

    Args:
        state: in which it did.
        optimizer: which of them, from 0.
        of: how many there are.
    """
    here = state.here
    made = [ahead + (place == optimizer) for place, ahead in enumerate(here.ahead or [0] * of)]
    everyone = min(made)
    ahead = tuple(count - everyone for count in made)
    return _moved(state, steps=here.steps + everyone, ahead=ahead if any(ahead) else ())


def rates_seen(state: State, rates: Rates) -> State:
    """The learning rates at the first step of level 0 are known."""
    return _moved(state, first_rates=rates)


def attached(state: State, described: dict[str, Any]) -> State:
    """Optimizers were attached to the training that runs; see `Position`."""
    _running(state)
    return _moved(state, attached=described)


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


def stopped(state: State, epochs: int) -> State:
    """The training is to end after so many epochs: with the one that runs, or that is just over.

    Raises:
        InvariantBroken: if it has not so many.
    """
    here = _running(state)
    if not here.epochs <= epochs <= (here.planned or 0):
        value = f"to end after {epochs} epochs of {here.planned}, of which {here.epochs} are done"
        raise InvariantBroken(value, "a training ends with an epoch of its own", DEFECT)
    return _moved(state, ends_after=epochs)


def so_far(state: State, plan: Plan) -> SoFar:
    """What an ending rule looks at."""
    here = _running(state)
    last = here.stage + 1 == plan.trainings_of(here.level)
    return SoFar(here.level, here.stage, last, plan.levels, here.planned or 0, here.past)


def looked(state: State, numbers: Mapping[str, float]) -> State:
    """An epoch is over, of which an ending rule reads these numbers."""
    here = _running(state)
    return _moved(state, past=(*here.past, PastEpoch(here.level, here.stage, numbers)))


def ending(state: State, ending: Ending) -> State:
    """The training ends with the epoch that is just over, and so does the iteration, if that is said."""
    stays = stopped(state, _running(state).epochs)
    return _moved(stays, ending=ending.why, closes=ending.closes)


def epoch_done(state: State, epochs: int) -> State:
    """An epoch is over, the ``epochs``-th of this training.

    Raises:
        InvalidValue: if it is not the next one.
    """
    here = _running(state)
    if epochs != here.epochs + 1 or epochs > (here.last_epoch or 0):
        raise InvalidValue(
            f"epoch {epochs} of {here.last_epoch} is over, after {here.epochs}",
            "the epochs of a training are done one after the other",
            "go through level.epochs(...) once, in one loop",
        )
    return _moved(state, epochs=epochs)


def noted(state: State, metrics: Mapping[str, float], *, in_epochs: bool) -> State:
    """Metrics were recorded; outside the epochs of the training, they say that it is over."""
    here = _running(state)
    return _moved(state, metrics={**(here.metrics or {}), **metrics}, noted=here.noted if in_epochs else here.steps)


def recorded(state: State, name: str) -> float | None:
    """What was recorded last by a name: in the training that runs, else in the last one that recorded it."""
    running = state.here.metrics or {} if state.running else {}
    before = (record.metrics[name] for record in reversed(state.records) if name in record.metrics)
    return running[name] if name in running else next(before, None)


def agreed(state: State, metrics: Mapping[str, float], ends_after: int | None) -> State:
    """All ranks have told each other what they recorded since the last time, and whether they stopped the training."""
    return _moved(state, metrics={**(state.here.metrics or {}), **metrics} or None, ends_after=ends_after)


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
    """(level, stage) of the training that runs, or else of the next one; None after the last, or once it is closed."""
    here = state.position
    if here is None:
        return plan.trainings[0]
    if not here.ended:
        return here.level, here.stage
    trainings = plan.trainings
    left = trainings[trainings.index((here.level, here.stage)) + 1 :]
    if here.closes == "now":
        left = [training for training in left if training[0] == here.level]
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

    What was stopped is over with the epoch in which it was, however its loop is left. Of several processes, one may
    record what the others do not: only ``alone`` does a record say that it is over.
    """
    here = state.here
    said = here.epochs == here.planned or here.ends_after is not None
    return not here.ended and (said or (alone and here.noted == here.steps))


def misfit(state: State, plan: Plan) -> str | None:
    """Why this state cannot come from this plan; None if it can."""
    here = state.here
    if (here.level, here.stage) not in plan.trainings or min(here.epochs, here.steps, here.alive) < 0:
        return f"it stands at level {here.level}, which the plan has not"
    over = plan.trainings.index((here.level, here.stage)) + here.ended
    if [(record.level, record.stage) for record in state.records] != plan.trainings[:over]:
        return f"it has not the records of the {over} trainings that are over"
    return None
