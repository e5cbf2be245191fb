"""Nothing moves the learning rate from level to level unnoticed; what returns, or is made anew, passes."""

import gc

import pytest
import torch
from small_runs import Parts, geometric
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import lr_scheduler as schedulers

import budbreak as bb
from budbreak.errors import InvalidValue, MissingReset


class Own:
    """As timm's: no torch scheduler, steps by the number that it is given."""

    def __init__(self, optimizer):
        self.optimizer = optimizer
        self.start = optimizer.param_groups[0]["lr"]

    def step(self, epoch=1):
        self.optimizer.param_groups[0]["lr"] = self.start * 0.9**epoch

    def state_dict(self):
        return {"start": self.start}

    def load_state_dict(self, state):
        self.start = state["start"]


class OwnScheduler(Own):
    pass


class Accelerated:
    """As Accelerate's wrapper of a scheduler."""

    def __init__(self, scheduler, optimizer):
        self.scheduler, self.optimizers = scheduler, [optimizer]

    def step(self, *args):
        self.scheduler.step(*args)

    def state_dict(self):
        return self.scheduler.state_dict()

    def load_state_dict(self, state):
        self.scheduler.load_state_dict(state)


KINDS = {
    "ReduceLROnPlateau": lambda o: schedulers.ReduceLROnPlateau(o, patience=0),
    "StepLR": lambda o: schedulers.StepLR(o, 1, gamma=0.5),
    "CosineAnnealingLR": lambda o: schedulers.CosineAnnealingLR(o, 10),
    "LambdaLR": lambda o: schedulers.LambdaLR(o, lambda epoch: 0.9**epoch),
    "OneCycleLR": lambda o: schedulers.OneCycleLR(o, 0.1, total_steps=50),
    "ChainedScheduler": lambda o: schedulers.ChainedScheduler([schedulers.ConstantLR(o), schedulers.StepLR(o, 1)]),
    "SequentialLR": lambda o: schedulers.SequentialLR(
        o, [schedulers.ConstantLR(o, total_iters=1), schedulers.StepLR(o, 2)], milestones=[1]
    ),
    "OwnScheduler": OwnScheduler,
}


def little():
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 3))
    return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def steps_of(scheduler):
    return scheduler.step(1.0) if isinstance(scheduler, schedulers.ReduceLROnPlateau) else scheduler.step()


def train(model, optimizer, done=None):
    optimizer.zero_grad()
    cross_entropy(model(torch.randn(8, 6)), torch.randint(3, (8,))).backward()
    optimizer.step()
    if done is not None:
        done.append(optimizer.param_groups[0]["lr"])


def carry_out(model, optimizer, body, **options):
    """Three levels of three epochs of two steps; returns the rates of all steps."""
    plan, rates = geometric(2, **({"rewind_to": options.pop("rewind_to")} if "rewind_to" in options else {})), []
    with bb.iterate(model, optimizer, plan, **options) as levels:
        for level in levels:
            for epoch in level.epochs(3):
                for _ in range(2):
                    train(model, optimizer, rates)
                body(level, epoch)
    return rates


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("beside", [False, True])
def test_a_scheduler_outside_resets_is_refused_before_the_first_step(kind, beside):
    model, optimizer = little()
    resets = [schedulers.LinearLR(optimizer)] if beside else []
    scheduler = KINDS[kind](optimizer)
    scheduler.state_dict()  # its attributes are looked at as a whole: they move into a dict of their own
    rates = []
    with (
        pytest.raises(MissingReset, match=rf"a {kind} of this optimizer is not in resets\n.*\nadd it: resets="),
        bb.iterate(model, optimizer, geometric(), resets=resets),
    ):
        train(model, optimizer, rates)
    assert rates == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrapped", [False, True])
def test_in_resets_it_passes_and_returns(kind, wrapped):
    model, optimizer = little()
    scheduler = KINDS[kind](optimizer)
    if wrapped:
        scheduler = Accelerated(scheduler, optimizer)
    inner = scheduler.scheduler if wrapped else scheduler
    rates = carry_out(model, optimizer, lambda level, epoch: steps_of(inner), resets=[scheduler])
    assert rates[:6] == rates[6:12] == rates[12:]
    assert len(set(rates)) > 1


@pytest.mark.parametrize("kind", KINDS)
def test_made_in_each_level_it_passes(kind):
    model, optimizer = little()
    rates = []
    with bb.iterate(model, optimizer, geometric(2)) as levels:
        for level in levels:
            scheduler = KINDS[kind](optimizer)
            for _ in level.epochs(2):
                for _ in range(2):
                    train(model, optimizer, rates)
                steps_of(scheduler)
    assert rates[:4] == rates[4:8] == rates[8:]


class Wrapper(torch.optim.Optimizer):
    """As Accelerate's wrapper of an optimizer, which hands everything on."""

    def __init__(self, optimizer):
        self.optimizer = optimizer

    state = property(lambda self: self.optimizer.state)
    param_groups = property(lambda self: self.optimizer.param_groups)

    def zero_grad(self, set_to_none=True):
        self.optimizer.zero_grad(set_to_none)

    def step(self, closure=None):
        return self.optimizer.step(closure)


def test_objects_are_looked_through_only_where_a_scheduler_may_be_new(monkeypatch, tmp_path):
    model, optimizer = little()
    scheduler, looks = schedulers.StepLR(optimizer, 1), []
    look = gc.get_referrers
    monkeypatch.setattr(gc, "get_referrers", lambda *items: looks.append(len(items)) or look(*items))

    def fit(level, model, optimizer):  # its frame refers to the optimizer, within a level and not between two
        for _ in level.epochs(2):
            train(model, optimizer)
            scheduler.step()

    with bb.iterate(model, optimizer, geometric(4), resets=[scheduler], store=tmp_path) as levels:
        before = []
        for level in levels:
            fit(level, model, optimizer)
            before.append(len(looks))
    assert before[0] <= before[1] == before[4]


@pytest.mark.parametrize("first", [0, 1, 2])
def test_one_made_for_a_wrapper_in_any_level_is_found(first):
    model, optimizer = little()
    wrapper, kept, begun = Wrapper(optimizer), [], []

    def loop():
        with bb.iterate(model, optimizer, geometric(3)) as levels:
            for level in levels:
                begun.append(level.number)
                kept.extend([schedulers.StepLR(wrapper, 1)] if level.number == first else [])
                for scheduler in kept:
                    train(model, wrapper)
                    scheduler.step()
                train(model, wrapper)

    with pytest.raises(MissingReset, match="a StepLR from before"):
        loop()
    assert begun[-1] == first + 1


def test_those_of_earlier_levels_may_be_kept():
    model, optimizer = little()
    kept = []
    with bb.iterate(model, optimizer, geometric(2)) as levels:
        for level in levels:
            kept.append(schedulers.StepLR(optimizer, 1))
            for _ in level.epochs(2):
                train(model, optimizer)
                kept[-1].step()
    with bb.iterate(
        model, optimizer, geometric(1, 0.8), mask=levels.mask
    ) as again:  # and stand around in the next iteration
        next(iter(again))
        train(model, optimizer)


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"OwnScheduler", "OneCycleLR"}))
def test_made_in_level_0_and_kept_on_it_is_refused_once_it_steps_again(kind):
    """OneCycleLR fails by itself there: rewinding takes what it keeps in the groups."""
    model, optimizer = little()
    made, rates = {}, []

    def body(level, epoch):
        if not made:
            made["one"] = KINDS[kind](optimizer)
        elif (level.number, epoch) != (0, 0):
            steps_of(made["one"])
        rates.append((level.number, epoch))

    with pytest.raises(MissingReset, match=rf"a {kind} from before level 1 has stepped in it"):
        carry_out(model, optimizer, body)
    assert rates == [(0, 0), (0, 1), (0, 2), (1, 0)], "no step was taken with a learning rate that leaked"


def test_what_ran_before_and_steps_on_is_refused():
    model, optimizer = little()
    scheduler = schedulers.StepLR(optimizer, 1)
    train(model, optimizer)
    scheduler.step()
    with pytest.raises(MissingReset, match="a StepLR from before level 0 has stepped in it"):
        carry_out(model, optimizer, lambda level, epoch: scheduler.step())


def test_garbage_is_no_scheduler():
    model, optimizer = little()
    scheduler = schedulers.StepLR(optimizer, 1)
    scheduler.itself = scheduler
    gc.disable()
    try:
        del scheduler
        with bb.iterate(model, optimizer, geometric()):
            pass
    finally:
        gc.enable()


@pytest.mark.parametrize("rewind_to", [bb.Step(0), bb.Step(2), "learning-rate"])
def test_decay_by_hand_from_a_global_counter_is_refused(rewind_to):
    model, optimizer = little()
    done = []

    def loop():
        with bb.iterate(model, optimizer, geometric(rewind_to=rewind_to)) as levels:
            for level in levels:
                for _ in range(4):
                    optimizer.param_groups[0]["lr"] = 0.1 * 0.9 ** len(done)
                    train(model, optimizer)
                    done.append(level.number)

    with pytest.raises(MissingReset, match=r"level 1 starts with lr = 0\.0\d+ in group 0; level 0 did with 0\.1\n"):
        loop()
    assert done == [0] * 4


@pytest.mark.parametrize("rewind_to", [bb.Step(0), bb.Step(2), "learning-rate"])
@pytest.mark.parametrize("from_start", [False, True])
def test_decay_by_hand_from_the_level_s_own_counter_passes(rewind_to, from_start):
    model, optimizer = little()
    with bb.iterate(model, optimizer, geometric(rewind_to=rewind_to)) as levels:
        for level in levels:
            first = level.start_step if from_start else 0
            for step in range(first, 4):
                optimizer.param_groups[0]["lr"] = 0.1 * 0.9**step
                train(model, optimizer)
    assert len(levels.history) == 3


def test_a_momentum_that_leaks_is_refused():
    model, optimizer = little()
    with bb.iterate(model, optimizer, geometric()) as levels:
        loop = iter(levels)
        next(loop)
        train(model, optimizer)
        next(loop)
        optimizer.param_groups[0]["momentum"] = 0.5
        with pytest.raises(
            MissingReset, match=r"level 1 starts with momentum = 0\.5 in group 0; level 0 did with 0\.9"
        ):
            train(model, optimizer)


def test_after_a_kill_the_first_learning_rate_is_still_known(tmp_path):
    for session in range(2):
        torch.manual_seed(0)
        model, optimizer = little()
        with bb.iterate(model, optimizer, geometric(), store=tmp_path) as levels:
            loop = iter(levels)
            if session == 0:
                next(loop)
                train(model, optimizer)
            next(loop)
            optimizer.param_groups[0]["lr"] = 0.01
            if session == 1:
                with pytest.raises(MissingReset, match=r"lr = 0\.01 in group 0; level 0 did with 0\.1"):
                    train(model, optimizer)


def test_where_nothing_returns_a_schedule_may_go_on():
    model, optimizer = little()
    scheduler = schedulers.StepLR(optimizer, 1, gamma=0.5)
    rates = carry_out(model, optimizer, lambda level, epoch: scheduler.step(), rewind_to=None)
    assert rates == [0.1 * 0.5 ** (i // 2) for i in range(18)]


def test_a_store_keeps_what_is_in_resets_only(tmp_path):
    model, optimizer = little()
    scheduler = schedulers.StepLR(optimizer, 1)
    with pytest.raises(MissingReset), bb.iterate(model, optimizer, geometric(rewind_to=None), store=tmp_path):
        scheduler.step()
    assert not list(tmp_path.iterdir()), "refused before the store is touched"


def test_a_scheduler_of_another_optimizer_is_nobody_s_business():
    model, optimizer = little()
    others = [Parts().scheduler, schedulers.ReduceLROnPlateau(Parts().optimizer)]
    with bb.iterate(model, optimizer, geometric()) as levels:
        for _ in levels:
            train(model, optimizer)
    assert len(others) == 2


@pytest.mark.parametrize("rewind_to", [bb.Step(0), bb.Step(3), "learning-rate"])
def test_groups_added_in_level_0_are_refused_at_the_next_step(rewind_to):
    model, optimizer = little()
    with bb.iterate(model, optimizer, geometric(rewind_to=rewind_to)) as levels:
        next(iter(levels))
        train(model, optimizer)
        optimizer.add_param_group({"params": nn.Linear(3, 3).parameters()})
        with pytest.raises(InvalidValue, match=r"groups .*\[4, 2\] .*\n.*\nadd .* before iterate"):
            train(model, optimizer)


class Killed(Exception):
    pass


def decayed_within_each_level(store, *, killed_after=None):
    """Three levels of four epochs, a scheduler made anew in each; stopped after some epochs of level 1."""
    torch.manual_seed(0)
    model, optimizer = little()
    with bb.iterate(model, optimizer, geometric(), store=store) as levels:
        for level in levels:
            scheduler = schedulers.StepLR(optimizer, 3, gamma=0.5)
            for epoch in level.epochs(4):
                if level.number == 1 and epoch == killed_after:
                    raise Killed
                train(model, optimizer)
                scheduler.step()
    return [record.end_digest for record in levels.history]


@pytest.mark.parametrize("killed_after", [1, 3])
def test_a_level_with_a_scheduler_of_its_own_begins_again_after_a_kill(tmp_path, killed_after):
    with pytest.warns(UserWarning, match="StepLR.*resets"):
        straight = decayed_within_each_level(tmp_path / "straight")
    with pytest.warns(UserWarning, match="StepLR"), pytest.raises(Killed):
        decayed_within_each_level(tmp_path / "killed", killed_after=killed_after)
    assert decayed_within_each_level(tmp_path / "killed") == straight
