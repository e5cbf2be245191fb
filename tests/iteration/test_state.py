"""The state of an iteration, moved on by pure functions: no model, no optimizer, no file."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import budbreak as bb
from budbreak.errors import BudbreakError, InvalidValue, InvariantBroken
from budbreak.iteration import state as states
from budbreak.iteration.state import LevelRecord, State
from budbreak.iteration.targets import Removal

TOTAL = 16
PLAN = bb.Plan(
    schedule=bb.schedules.Geometric(rate=0.5, levels=2), then=[bb.ActivateWhilePruning(q=0.1, variant="pro")]
)
TRAININGS = [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1)]


def mask(kept):
    return bb.Mask({"w": torch.arange(TOTAL).reshape(4, 4) < kept})


def fresh():
    return State(mask(TOTAL), mask(TOTAL))


def record_of(state, **changes):
    here = state.here
    return LevelRecord(
        level=here.level, stage=here.stage, last_stage=here.stage + 1 == PLAN.trainings_of(here.level),
        kept=state.mask.kept, total=TOTAL, density=state.mask.density, density_all=1.0, counted="weights",
        counted_kept=state.mask.kept, counted_total=TOTAL, spared=(), host_removed=here.host,
        follow_ups_removed=here.follow_ups, shortfall=here.shortfall, steps=here.steps - here.first_step,
        epochs=here.epochs, seconds=here.seconds, rewound=here.rewound, mask_digest="", end_digest="",
        metrics=here.metrics or {}, invariants={}, world_size=1,
    )  # fmt: skip


def removed(state, count=1):
    return Removal(mask(max(1, state.mask.kept - count)), count, (0,), 0)


def begin(state):
    level, _ = states.upcoming(state, PLAN) or (0, 0)
    return states.begun(state, PLAN, removal=removed(state) if level else None, rewound="hash" if level else None)


def plan_epochs(state):
    return states.epochs_planned(state, 2)


def step(state):
    return states.stepped(state)


def finish_epoch(state):
    return states.epoch_done(state, state.here.epochs + 1)


def note(state):
    return states.noted(state, {"accuracy": state.here.steps / 100}, in_epochs=True)


def note_outside(state):
    return states.noted(state, {"loss": 0.5}, in_epochs=False)


def end(state):
    return states.ended(state, record_of(state))


def stop(state):
    return states.stopped(state, state.here.epochs + 1)


def step_of(place, of=2):
    """A step of one of several optimizers."""
    return lambda state: states.stepped(state, place, of=of)


EVENTS = [begin, plan_epochs, step, finish_epoch, note, note_outside, stop, end]
TRAINING = [begin, plan_epochs, step, finish_epoch, step, finish_epoch, end]


def after(*events, state=None):
    state = fresh() if state is None else state
    for event in events:
        state = event(state)
    return state


# What each event does to an iteration in each of its four moments: the fields that change, or the error.
NOTHING, RUNNING, OVER = (), (begin,), tuple(TRAINING)
COMPLETE = tuple(TRAINING) * len(TRAININGS)
TABLE = [
    (NOTHING, begin, {"level": 0, "stage": 0, "alive": TOTAL}),
    (NOTHING, plan_epochs, InvariantBroken),
    (NOTHING, step, InvalidValue),
    (NOTHING, note_outside, InvariantBroken),
    (RUNNING, begin, InvariantBroken),
    (RUNNING, plan_epochs, {"planned": 2}),
    (RUNNING, step, {"steps": 1, "first_step": 0}),
    (RUNNING, finish_epoch, InvalidValue),  # it did not say how many there are
    (RUNNING, note, {"metrics": {"accuracy": 0.0}, "noted": None}),
    (RUNNING, note_outside, {"metrics": {"loss": 0.5}, "noted": 0}),
    (RUNNING, end, {"ended": True, "epochs": 0}),
    (RUNNING, step_of(1), {"steps": 0, "ahead": (0, 1), "untouched": False}),
    ((begin, step_of(1), step_of(1)), step_of(0), {"steps": 1, "ahead": (0, 1), "untouched": False}),
    ((begin, step_of(1), step_of(0, 2)), step_of(1), {"steps": 1, "ahead": (0, 1)}),
    ((begin, step_of(2, 3), step_of(0, 3)), step_of(1, 3), {"steps": 1, "ahead": (), "untouched": False}),
    ((begin, step_of(1), end), begin, {"first_step": 0, "steps": 0, "ahead": (), "untouched": True}),
    (NOTHING, stop, InvalidValue),
    (RUNNING, stop, InvariantBroken),  # it did not say how many epochs there are
    ((begin, plan_epochs, finish_epoch, finish_epoch), stop, InvariantBroken),
    ((begin, plan_epochs), stop, {"ends_after": 1, "last_epoch": 1, "epochs": 0}),
    ((begin, plan_epochs, stop), finish_epoch, {"epochs": 1, "last_epoch": 1}),
    ((begin, plan_epochs, stop, finish_epoch), finish_epoch, InvalidValue),
    ((begin, plan_epochs, stop, finish_epoch, end), begin, {"ends_after": None, "last_epoch": None, "level": 1}),
    ((begin, plan_epochs), finish_epoch, {"epochs": 1}),
    ((begin, plan_epochs), lambda s: states.epoch_done(s, 2), InvalidValue),
    ((begin, plan_epochs), lambda s: states.epochs_planned(s, 3), InvalidValue),
    ((begin, plan_epochs), plan_epochs, {"planned": 2}),
    ((begin, plan_epochs, finish_epoch, finish_epoch), finish_epoch, InvalidValue),
    ((begin, note, note_outside), note, {"metrics": {"accuracy": 0.0, "loss": 0.5}, "noted": 0}),
    (RUNNING, lambda s: states.ended(s, dataclasses.replace(record_of(s), level=1)), InvariantBroken),
    (RUNNING, lambda s: states.ended(s, dataclasses.replace(record_of(s), kept=3)), InvariantBroken),
    (OVER, begin, {"level": 1, "stage": 0, "alive": TOTAL, "first_step": 2, "level_step": 2, "rewound": "hash"}),
    (OVER, lambda s: states.begun(s, PLAN, removal=Removal(mask(TOTAL + 1), 0, (), 0)), {"level": 1, "host": 0}),
    (OVER, plan_epochs, InvariantBroken),
    (OVER, step, {"level": 0, "ended": True, "steps": 3}),  # it belongs to no training
    (OVER, finish_epoch, InvariantBroken),
    (OVER, note, InvariantBroken),
    (OVER, end, InvariantBroken),
    (OVER, stop, InvariantBroken),
    ((*OVER, *TRAINING), begin, {"level": 1, "stage": 1, "alive": TOTAL, "first_step": 4, "level_step": 2}),
    (COMPLETE, begin, InvariantBroken),
]


@pytest.mark.parametrize(("before", "event", "expected"), TABLE)
def test_what_an_event_does(before, event, expected):
    state = after(*before)
    if not isinstance(expected, dict):
        with pytest.raises(expected):
            event(state)
        return
    position = event(state).here
    assert {name: getattr(position, name) for name in expected} == expected


def test_what_was_pruned_does_not_come_back():
    state = after(*TRAINING, begin, end)
    with pytest.raises(InvariantBroken, match="a pruned weight came back"):
        states.begun(state, PLAN, removal=Removal(mask(TOTAL), 0, (), 0))


def test_a_whole_iteration_goes_through_the_trainings_of_its_plan():
    state, seen = fresh(), []
    while (where := states.upcoming(state, PLAN)) is not None:
        seen.append(where)
        state = after(*TRAINING, state=state)
    assert seen == TRAININGS
    assert [(r.level, r.stage, r.steps, r.last_stage) for r in state.records] == [
        (level, stage, 2, (level, stage) not in [(1, 0), (2, 0)]) for level, stage in TRAININGS
    ]
    assert states.misfit(state, PLAN) is None


def test_a_plan_of_level_0_alone_ends_with_it():
    state = states.begun(fresh(), PLAN.dense)
    state = states.ended(state, record_of(state))
    assert states.upcoming(state, PLAN.dense) is None


def test_a_schedule_is_asked_the_same_in_all_stages_of_a_level():
    seen = []
    state = after(begin, note, step, step, end)
    for _ in range(2):
        state = after(begin, state=state)
        seen.append(states.progress(state, 1))
        state = after(step, note_outside, end, state=state)
    assert seen[0] == seen[1] == bb.schedules.Progress(1, step=2, metrics=({"accuracy": 0.0},))
    assert states.progress(state, 2).step == 4
    assert states.progress(state, 2).metrics == ({"accuracy": 0.0}, {"loss": 0.5})


@pytest.mark.parametrize(
    ("events", "alone", "expected"),
    [
        ((begin,), True, False),
        ((begin, plan_epochs, finish_epoch), True, False),
        ((begin, plan_epochs, finish_epoch, finish_epoch), True, True),
        ((begin, plan_epochs, finish_epoch, finish_epoch), False, True),
        ((begin, note), True, False),
        ((begin, note_outside), True, True),
        ((begin, note_outside), False, False),
        ((begin, note_outside, step), True, False),
        ((begin, note_outside, end), True, False),
        ((begin, plan_epochs, stop), True, True),
        ((begin, plan_epochs, stop, finish_epoch), False, True),
        ((begin, plan_epochs, stop, finish_epoch, end), True, False),
    ],
)
def test_when_a_training_that_was_left_is_over(events, alone, expected):
    assert states.is_done(after(*events), alone=alone) is expected


def test_a_state_that_no_plan_leads_to_is_told():
    state = after(*TRAINING, begin)
    assert states.misfit(state, PLAN) is None
    moved = lambda **changes: dataclasses.replace(state, position=dataclasses.replace(state.here, **changes))  # noqa: E731
    assert "stands at level 3" in (states.misfit(moved(level=3), PLAN) or "")
    assert "stands at level 1" in (states.misfit(moved(stage=2), PLAN) or "")
    assert "stands at level 1" in (states.misfit(moved(steps=-1), PLAN) or "")
    assert "the records of the 2 trainings" in (states.misfit(moved(ended=True), PLAN) or "")
    assert "the records of the 1 trainings" in (states.misfit(dataclasses.replace(state, records=()), PLAN) or "")


@given(st.lists(st.sampled_from(EVENTS), max_size=60))
def test_any_sequence_of_events_keeps_the_invariants(events):
    """What an event refuses changes nothing; what it allows leads to a state that the plan leads to."""
    state = fresh()
    for event in events:
        before = dataclasses.replace(state)
        try:
            state = event(state)
        except BudbreakError:
            assert state == before
            continue
        here = state.here
        assert states.misfit(state, PLAN) is None
        assert state.mask.is_within(before.mask)
        assert state.records[: len(before.records)] == before.records
        assert 0 <= here.level_step <= here.first_step <= here.steps
        assert state.mask.kept <= state.before.kept <= here.alive or here.stage > 0
        assert here.epochs <= (here.planned or 0)
        assert here.ends_after is None or here.epochs <= here.ends_after
        if before.position is not None:
            assert here.steps >= before.here.steps
            assert (here.level, here.stage) >= (before.here.level, before.here.stage)
    done = [(record.level, record.stage) for record in state.records]
    assert done == TRAININGS[: len(done)]
    assert sum(record.steps for record in state.records) <= (state.position.steps if state.position else 0)
