"""Optimizers that are made in each level, as a Trainer makes them: held, stored, begun anew."""

import dataclasses
import gc

import pytest
import torch
from small_runs import geometric
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import budbreak as bb
from budbreak.errors import CorruptFile, ForeignParameter, InvalidValue, InvariantBroken, MissingReset, StoreMismatch
from budbreak.files import read_tree, write_tree

SGD, Adam = torch.optim.SGD, torch.optim.Adam


class Trainer:
    """Makes optimizer, scheduler and generator anew in each fit, and knows nothing of levels."""

    def __init__(self, make=SGD, **options):
        torch.manual_seed(0)
        self.x = torch.randn(24, 6)
        self.y = (self.x[:, 0] > 0).long()
        self.model = nn.Sequential(nn.Linear(6, 10), nn.BatchNorm1d(10), nn.ReLU(), nn.Dropout(0.2), nn.Linear(10, 2))
        self.make, self.options = make, {"lr": 0.1, "momentum": 0.9} | options if make is SGD else options
        self.epochs_run = 0
        self.begin()

    def begin(self):
        self.optimizer = self.make(self.model.parameters(), **self.options)
        self.scheduler = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, 0.93)
        self.generator = torch.Generator()

    def epoch(self):
        self.epochs_run += 1
        self.model.train()
        for batch in torch.randperm(24, generator=self.generator).split(8):
            self.optimizer.zero_grad()
            cross_entropy(self.model(self.x[batch]), self.y[batch]).backward()
            self.optimizer.step()
            self.scheduler.step()

    def fit(self, epochs, on_start):
        self.begin()
        on_start(self)
        for _ in range(epochs):
            self.epoch()


def attached(trainer, plan, *, resets=True, epochs=2, leave=None, **options):
    """Made anew and attached in each training; left, as by a kill, before the ``leave``-th epoch of this session."""
    with bb.iterate(trainer.model, None, plan, **options) as levels:
        for level in levels:
            trainer.begin()
            level.attach(trainer.optimizer, resets=[trainer.scheduler, trainer.generator] if resets else ())
            for _ in level.epochs(epochs):
                if trainer.epochs_run == leave:
                    return levels.history
                trainer.epoch()
    return levels.history


def given(trainer, plan, *, epochs=2, **options):
    """The same by one optimizer that is given to `iterate`."""
    resets = [trainer.scheduler, trainer.generator]
    with bb.iterate(trainer.model, trainer.optimizer, plan, resets=resets, **options) as levels:
        for level in levels:
            for _ in level.epochs(epochs):
                trainer.epoch()
    return levels.history


def carry_out(trainer, body, **options):
    """``body(level)`` in each level."""
    with bb.iterate(trainer.model, None, geometric(**options)) as levels:
        for level in levels:
            body(level)
    return levels.history


def told(history):
    return [(r.level, r.stage, r.epochs, r.steps, r.mask_digest, r.end_digest) for r in history]


PLANS = {
    "initialization": {},
    "learning rate": {"rewind_to": "learning-rate"},
    "pro": {"then": [bb.ActivateWhilePruning(q=0.05, variant="pro")]},
    "watched": {"criterion": bb.criteria.ActivationCount(weighted=True, every=2)},
    "movement": {"criterion": bb.criteria.Movement()},
    "untrained": {"train_dense": False},
}


@pytest.mark.parametrize("plan", PLANS)
def test_made_anew_they_do_what_a_given_one_does_that_returns_to_its_start(plan):
    plan = geometric(**PLANS[plan])
    assert told(attached(Trainer(), plan)) == told(given(Trainer(), plan))


def test_weights_may_return_to_a_later_step_where_the_optimizer_begins_anew():
    trainer, at_step = Trainer(), None
    with bb.iterate(trainer.model, None, geometric(rewind_to=bb.Step(3))) as levels:
        for level in levels:
            trainer.begin()
            level.attach(trainer.optimizer)
            if level.number:
                for name, weight in level.mask.parameters(trainer.model).items():
                    assert torch.equal(weight, at_step[name] * level.mask[name])
                trainer.optimizer.param_groups[0]["lr"] = 0.02  # the rate of that step, which the trainer knows
            trainer.epoch()
            if not level.number:
                at_step = {name: weight.clone() for name, weight in trainer.model.named_parameters()}
    assert [record.steps for record in levels.history] == [3, 3, 3]


def test_a_trainer_that_fits_in_one_call_needs_no_epochs(tmp_path):
    trainer = Trainer()
    with bb.iterate(trainer.model, None, geometric(), store=tmp_path) as levels:
        for level in levels:
            trainer.fit(2, lambda made, level=level: level.attach(made.optimizer))
            for name, weight in level.mask.parameters(trainer.model).items():
                assert not weight[~level.mask[name]].any()
    assert [(r.steps, r.epochs, r.density) for r in levels.history] == [
        (6, 0, 1.0), (6, 0, pytest.approx(0.7)), (6, 0, pytest.approx(0.49, abs=0.01)),
    ]  # fmt: skip


@pytest.mark.parametrize("plan", ["pro", "watched"])
@pytest.mark.parametrize("leave", [1, 2, 3, 5])
def test_a_level_that_is_killed_goes_on_with_what_is_attached_to_it(tmp_path, plan, leave):
    plan = geometric(**PLANS[plan])
    straight = attached(Trainer(), plan)
    attached(Trainer(), plan, store=tmp_path, leave=leave)
    resumed = Trainer()
    assert told(attached(resumed, plan, store=tmp_path)) == told(straight)
    assert resumed.epochs_run == 2 * len(straight) - leave


def test_draws_between_attaching_and_the_epochs_change_nothing_when_a_level_goes_on(tmp_path):
    def run(leave=None, store=None):
        trainer = Trainer()
        with bb.iterate(trainer.model, None, geometric(1), store=store) as levels:
            for level in levels:
                trainer.begin()
                level.attach(trainer.optimizer, resets=[trainer.generator, trainer.scheduler])
                torch.rand(2), torch.randperm(5, generator=trainer.generator)
                for _ in level.epochs(3):
                    if trainer.epochs_run == leave:
                        return None
                    trainer.epoch()
        return told(levels.history)

    run(leave=2, store=tmp_path)
    assert run(store=tmp_path) == run()


def test_a_scheduler_that_is_not_attached_sends_a_killed_level_back_to_its_beginning(tmp_path):
    straight = attached(Trainer(), geometric(1))
    trainer = Trainer()
    with pytest.warns(UserWarning, match=r"a ExponentialLR is made in each level: .*attach it as well: resets="):
        attached(trainer, geometric(1), resets=False, store=tmp_path, leave=1)
    again = Trainer()
    with pytest.warns(UserWarning, match="is made in each level"):
        history = attached(again, geometric(1), resets=False, store=tmp_path)
    assert again.epochs_run == 4
    assert [r.steps for r in history] == [r.steps for r in straight]


def test_several_are_attached_in_one_call(tmp_path):
    def run(split, store=None, leave=None):
        trainer = Trainer()
        with bb.iterate(trainer.model, None, geometric(1), store=store) as levels:
            for level in levels:
                trainer.begin()
                parts = [SGD(part.parameters(), lr=0.1, momentum=0.9) for part in trainer.model if [*part.parameters()]]
                level.attach(parts if split else trainer.optimizer, resets=[trainer.generator])
                for _ in level.epochs(2):
                    if trainer.epochs_run == leave:
                        return None
                    trainer.epochs_run += 1
                    trainer.model.train()
                    for batch in torch.randperm(24, generator=trainer.generator).split(8):
                        trainer.model.zero_grad()
                        cross_entropy(trainer.model(trainer.x[batch]), trainer.y[batch]).backward()
                        for optimizer in parts if split else [trainer.optimizer]:
                            optimizer.step()
        return told(levels.history)

    straight = run(split=True)
    assert straight == run(split=False)
    run(split=True, store=tmp_path, leave=3)
    assert run(split=True, store=tmp_path) == straight


def test_an_average_that_is_attached_is_pruned_and_stored_as_well(tmp_path):
    def run(leave=None, store=None):
        trainer = Trainer()
        old = trainer.model[0].weight.detach().clone()
        with bb.iterate(trainer.model, None, geometric(1), store=store) as levels:
            for level in levels:
                trainer.begin()
                average = AveragedModel(trainer.model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
                with torch.no_grad():
                    average.module[0].weight.copy_(old)  # it knows the pruned weights still
                level.attach(trainer.optimizer, resets=[average, trainer.scheduler, trainer.generator])
                for _ in level.epochs(2):
                    if trainer.epochs_run == leave:
                        return None
                    trainer.epoch()
                    average.update_parameters(trainer.model)
                assert not average.module[0].weight[~level.mask["0.weight"]].any()
        return [tensor.tolist() for tensor in average.state_dict().values()]

    run(leave=3, store=tmp_path)
    assert run(store=tmp_path) == run()


def test_what_was_attached_is_let_go():
    trainer = Trainer()
    plan = geometric(1)
    with bb.iterate(trainer.model, None, plan, keep_holding=True) as levels:
        old = []
        for level in levels:
            trainer.begin()
            level.attach(trainer.optimizer)
            trainer.epoch()
            old.append(trainer.optimizer)
        assert not old[0]._optimizer_step_post_hooks
        assert not old[0]._optimizer_step_pre_hooks
    trainer.epoch()  # the last one is held still
    assert not trainer.model[0].weight[~levels.mask["0.weight"]].any()
    levels.release()
    assert not trainer.optimizer._optimizer_step_post_hooks


@pytest.mark.parametrize("anew", [True, False])
def test_a_second_look_at_a_training_attaches_once_more(anew):
    trainer = Trainer()
    with bb.iterate(trainer.model, None, geometric(1)) as levels:
        next(iter(levels)).attach(trainer.optimizer, resets=[trainer.scheduler, trainer.generator])
        torch.rand(3)
        for level in levels:
            if anew or level.number:
                trainer.begin()
            level.attach(trainer.optimizer, resets=[trainer.scheduler, trainer.generator])
            for _ in level.epochs(2):
                trainer.epoch()
    assert told(levels.history) == told(attached(Trainer(), geometric(1)))


# --- what is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 1])
def test_a_level_that_trains_with_nothing_attached_is_refused_at_its_end(number):
    trainer, seen = Trainer(), []

    def body(level):
        seen.append(level.number)
        trainer.begin()
        if level.number < number:
            level.attach(trainer.optimizer)
        trainer.epoch()

    words = rf"level {number} has moved the weights with no optimizer attached\n.*\n.*level\.attach\(optimizer\)"
    with pytest.raises(InvalidValue, match=words):
        carry_out(trainer, body)
    assert seen == list(range(number + 1))


def test_a_level_that_another_optimizer_trains_is_refused_at_its_end():
    trainer = Trainer()

    def body(level):
        level.attach(trainer.optimizer)
        trainer.begin()
        trainer.epoch()

    with pytest.raises(InvalidValue, match="level 0 has moved the weights without a step of the SGD that was attached"):
        carry_out(trainer, body)


def test_pruned_weights_that_a_second_optimizer_moves_are_found():
    trainer = Trainer()

    def body(level):
        trainer.begin()
        level.attach(trainer.optimizer)
        trainer.epoch()
        if level.number == 1:
            trainer.begin()
            trainer.epoch()

    with pytest.raises(InvariantBroken, match=r"pruned weights of '0\.weight' are not zero"):
        carry_out(trainer, body)


def test_a_body_that_trains_nothing_needs_nothing_attached():
    model = Trainer().model
    with bb.iterate(model, None, geometric(train_dense=False)) as levels:
        for level in levels:
            level.record(accuracy=0.5)
    assert [record.density for record in levels.history] == [pytest.approx(0.7), pytest.approx(0.49, abs=0.01)]
    assert "optimizer holds the live parameters" not in levels.history[0].invariants


def test_epochs_come_after_attaching():
    trainer = Trainer()
    with bb.iterate(trainer.model, None, geometric()) as levels:
        level = next(iter(levels))
        with pytest.raises(
            InvalidValue, match=r"epochs\(2\) in level 0, to which no optimizer is attached\n.*\n.*attach\("
        ):
            level.epochs(2)
        level.attach(trainer.optimizer)
        assert next(level.epochs(2)) == 0


def late(level, trainer):
    trainer.epoch()
    level.attach(trainer.optimizer)


WRONG = {
    "twice": (lambda level, t: [level.attach(t.optimizer), level.attach(t.optimizer)], InvalidValue, "the second time"),
    "nothing": (lambda level, t: level.attach([]), InvalidValue, r"optimizer is \[\], a list"),
    "none": (lambda level, t: level.attach(None), InvalidValue, "optimizer is None"),
    "a class": (lambda level, t: level.attach(SGD), InvalidValue, "optimizer is the class SGD"),
    "a scheduler": (lambda level, t: level.attach(t.scheduler), InvalidValue, "optimizer is .*a ExponentialLR"),
    "a reset alone": (lambda level, t: level.attach(t.optimizer, resets=t.scheduler), InvalidValue, "resets is a Expo"),
    "a reset of nothing": (lambda level, t: level.attach(t.optimizer, resets=[3]), InvalidValue, "resets holds 3"),
    "another network": (
        lambda level, t: level.attach(Trainer().optimizer),
        ForeignParameter,
        "the optimizer does not hold '0.weight'",
    ),
    "overlapping": (
        lambda level, t: level.attach([t.optimizer, Adam(t.model[4].parameters())]),
        InvalidValue,
        "optimizers 0 and 1 both hold '4.weight'",
    ),
    "too late": (late, InvariantBroken, "pruned weights of '0.weight' are not zero"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_attached_is_refused_and_leaves_no_hook(what):
    call, kind, words = WRONG[what]
    trainer = Trainer()

    def body(level):
        trainer.begin()
        if level.number == 0:
            level.attach(trainer.optimizer)
            trainer.epoch()
        else:
            call(level, trainer)

    with pytest.raises(kind, match=words):
        carry_out(trainer, body)
    assert not trainer.optimizer._optimizer_step_post_hooks
    assert not trainer.optimizer._optimizer_step_pre_hooks


@pytest.mark.parametrize("what", ["optimizer", "scheduler", "average"])
def test_what_an_earlier_training_has_had_is_refused(what):
    trainer, seen = Trainer(), []
    average = AveragedModel(trainer.model)

    def body(level):
        seen.append(level.number)
        scheduler = trainer.scheduler
        if what != "optimizer":
            trainer.begin()
            trainer.scheduler = scheduler
        level.attach(trainer.optimizer, resets=[average if what == "average" else trainer.scheduler])
        trainer.model(trainer.x).sum().backward()
        trainer.optimizer.step()
        gc.collect()

    words = r"that an earlier training has had\n.*begins anew.*\n.*anew in the body"
    with pytest.raises(InvalidValue, match=words):
        carry_out(trainer, body)
    assert seen == [0, 1]


def test_where_an_optimizer_is_given_none_is_attached():
    trainer = Trainer()
    with bb.iterate(trainer.model, trainer.optimizer, geometric(), resets=[trainer.scheduler]) as levels:
        level = next(iter(levels))
        with pytest.raises(InvalidValue, match=r"attach\(\) in level 0\n.*given to iterate.*\n.*iterate\(model, None"):
            level.attach(SGD(trainer.model.parameters(), lr=0.1))


def test_what_comes_when_a_level_is_over_is_refused():
    trainer = Trainer()
    with bb.iterate(trainer.model, None, geometric()) as levels:
        loop = iter(levels)
        first = next(loop)
        next(loop)
        with pytest.raises(InvalidValue, match=r"attach\(\) in level 0, which is over"):
            first.attach(trainer.optimizer)


@pytest.mark.parametrize("rewind_to", [bb.Step(0), "learning-rate", None], ids=["start", "rate", "nothing"])
def test_only_fine_tuning_may_begin_with_another_learning_rate(rewind_to):
    trainer = Trainer()

    def body(level):
        trainer.options["lr"] = 0.1 / (1 + level.number)
        trainer.begin()
        level.attach(trainer.optimizer)
        trainer.epoch()

    if rewind_to is None:
        assert len(carry_out(trainer, body, rewind_to=None)) == 3
        return
    with pytest.raises(MissingReset, match=r"level 1 starts with lr = 0\.05 in group 0; level 0 did with 0\.1"):
        carry_out(trainer, body, rewind_to=rewind_to)


CHANGES = {
    "settings": ({"momentum": 0.8}, r"optimizers\[0\]\.groups\[0\]\.momentum: 0\.9 -> 0\.8"),
    "class": ({"make": Adam, "lr": 0.1}, r"optimizers\[0\]\.class: 'SGD' -> 'Adam'"),
    "learning rate": ({"lr": 0.2}, r"optimizers\[0\]\.groups\[0\]\.learning_rate: 0\.1 -> 0\.2"),
}


@pytest.mark.parametrize("leave", [1, 2])
@pytest.mark.parametrize("change", CHANGES)
def test_a_store_goes_on_with_the_same_kind_only(tmp_path, change, leave):
    options, words = CHANGES[change]
    attached(Trainer(), geometric(1), store=tmp_path, leave=leave)
    if (change, leave) == ("learning rate", 2):  # at the start of level 1: seen at its first step
        with pytest.raises(MissingReset, match=r"level 1 starts with lr = 0\.2"):
            attached(Trainer(**options), geometric(1), store=tmp_path)
        return
    before = "before it was killed" if leave == 1 else "the training before"
    with pytest.raises(InvalidValue, match=f"attaches other things than {before}: {words}\n.*\n.*another store"):
        attached(Trainer(**options), geometric(1), store=tmp_path)
    assert told(attached(Trainer(), geometric(1), store=tmp_path)) == told(attached(Trainer(), geometric(1)))


def test_a_level_that_goes_on_has_the_resets_that_it_had(tmp_path):
    attached(Trainer(), geometric(1), store=tmp_path, leave=1)
    with pytest.raises(InvalidValue, match="before it was killed: resets: "):
        attached(Trainer(), geometric(1), resets=False, store=tmp_path)


def test_a_scheduler_that_waits_for_the_best_loss_can_be_attached(tmp_path):
    """Its state begins with an infinite loss."""

    def run(leave=None, store=None):
        trainer = Trainer()
        with bb.iterate(trainer.model, None, geometric(1), store=store) as levels:
            for level in levels:
                trainer.begin()
                plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(trainer.optimizer, patience=0)
                level.attach(trainer.optimizer, resets=[plateau, trainer.generator, trainer.scheduler])
                for epoch in level.epochs(3):
                    if trainer.epochs_run == leave:
                        return None
                    trainer.epoch()
                    plateau.step(1.0 + epoch)
        return told(levels.history)

    run(leave=2, store=tmp_path)
    assert run(store=tmp_path) == run()


def test_a_store_of_a_given_optimizer_is_another_one(tmp_path):
    given(Trainer(), geometric(1), store=tmp_path)
    with pytest.raises(StoreMismatch, match="another iteration: optimizer: "):
        attached(Trainer(), geometric(1), store=tmp_path)


def test_a_checkpoint_in_the_middle_without_what_was_attached_is_refused(tmp_path):
    attached(Trainer(), geometric(1), store=tmp_path, leave=1)
    path = tmp_path / "checkpoint.safetensors"
    identity = bb.iteration.Store(tmp_path)
    identity.look()
    tree = read_tree(path, "checkpoint 1")
    write_tree(
        path, {key: part for key, part in tree.items() if key != "attached"}, "checkpoint 1", store=identity.identity
    )
    with pytest.raises(CorruptFile, match=r"checkpoint\.safetensors: the state of what was attached is missing"):
        attached(Trainer(), geometric(1), store=tmp_path)


def test_level_0_is_taken_over_from_a_dense_store(tmp_path):
    plan = geometric(1)
    attached(Trainer(), plan.dense, store=tmp_path / "dense")
    trainer = Trainer()
    history = attached(trainer, plan, store=tmp_path / "own", dense=tmp_path / "dense")
    assert told(history) == told(attached(Trainer(), plan))
    assert trainer.epochs_run == 2
    with pytest.raises(InvalidValue, match=r"than the training before: optimizers\[0\]\.class: 'SGD' -> 'Adam'"):
        attached(Trainer(make=Adam, lr=0.1), plan, store=tmp_path / "other", dense=tmp_path / "dense")
    assert dataclasses.asdict(history[0])["epochs"] == 2
