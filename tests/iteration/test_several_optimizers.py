"""Several optimizers train one network: each its own parameters, all of them held, watched, stored and put back."""

import re

import pytest
import torch
from small_runs import geometric
from torch import nn
from torch.nn.functional import cross_entropy

import budbreak as bb
from budbreak.errors import ForeignParameter, InvalidValue, MissingReset
from budbreak.live import Snapshot

SGD, Adam = torch.optim.SGD, torch.optim.Adam


class Split:
    """A network that one optimizer trains, or two together: weights and the rest, by default."""

    def __init__(self, *, makes=(SGD, SGD), split=True, lr=0.1):
        torch.manual_seed(0)
        self.x = torch.randn(24, 6)
        self.y = (self.x[:, 0] > 0).long()
        self.model = nn.Sequential(nn.Linear(6, 10), nn.BatchNorm1d(10), nn.ReLU(), nn.Dropout(0.2), nn.Linear(10, 2))
        first, rest = [*self.model[0].parameters()], [*self.model[1].parameters(), *self.model[4].parameters()]
        options = [{"lr": lr, "momentum": 0.9} if make is SGD else {"lr": lr} for make in makes]
        if split:
            self.optimizers = [makes[0](first, **options[0]), makes[1](rest, **options[1])]
        else:
            self.optimizers = [makes[0]([{"params": first}, {"params": rest}], **options[0])]

    def epoch(self):
        self.model.train()
        for batch in torch.randperm(24).split(8):
            self.model.zero_grad()
            cross_entropy(self.model(self.x[batch]), self.y[batch]).backward()
            for optimizer in self.optimizers:
                optimizer.step()


def prune(parts, plan, *, epochs=2, **options):
    with bb.iterate(parts.model, parts.optimizers, plan, **options) as levels:
        for level in levels:
            for _ in level.epochs(epochs):
                parts.epoch()
    return levels.history


PLANS = {
    "rewound to a step": {"rewind_to": bb.Step(2), "then": [bb.ActivateWhilePruning(q=0.05, variant="pro")]},
    "learning rate": {"rewind_to": "learning-rate"},
    "fine-tuned": {"rewind_to": None},
    "by movement": {"criterion": bb.criteria.Movement()},
    "by a sample of the movement": {"criterion": bb.criteria.Movement(every=2)},
    "by activation counts": {"criterion": bb.criteria.ActivationCount(weighted=True)},
}


@pytest.mark.parametrize("plan", PLANS)
def test_two_optimizers_do_what_one_with_two_groups_does(plan):
    """SGD takes the same steps however its parameters are divided: so all records but the seconds are equal."""
    one = prune(Split(split=False), geometric(**PLANS[plan]))
    two = prune(Split(), geometric(**PLANS[plan]))
    assert [(r.end_digest, r.mask_digest, r.steps, r.rewound) for r in one] == [
        (r.end_digest, r.mask_digest, r.steps, r.rewound) for r in two
    ]
    assert two[-1].steps == 6


@pytest.mark.parametrize("makes", [(SGD, Adam), (Adam, SGD), (torch.optim.Muon, Adam)], ids=["SA", "AS", "MA"])
def test_of_unlike_optimizers_the_states_return_and_what_is_pruned_is_forgotten(makes):
    if makes[0] is torch.optim.Muon:
        parts = Split(split=False)
        matrices = [p for p in parts.model.parameters() if p.dim() == 2]
        parts.optimizers = [
            torch.optim.Muon(matrices, lr=0.05),
            Adam([p for p in parts.model.parameters() if p.dim() < 2], lr=0.1),
        ]
    else:
        parts = Split(makes=makes)
    with bb.iterate(parts.model, parts.optimizers, geometric(2, 0.5)) as levels:
        for level in levels:
            assert all(not optimizer.state for optimizer in parts.optimizers), "as before the first step"
            for _ in level.epochs(2):
                parts.epoch()
            for name, weight in level.mask.parameters(parts.model).items():
                gone = ~level.mask[name]
                assert not weight[gone].any()
                state = [o.state[weight] for o in parts.optimizers if weight in o.state]
                assert len(state) == 1
    hold = bb.hold(parts.model, parts.optimizers, levels.mask)
    for name, weight in levels.mask.parameters(parts.model).items():
        for optimizer in parts.optimizers:
            for value in optimizer.state.get(weight, {}).values():
                if value.shape == weight.shape:
                    assert not value[~levels.mask[name]].any()
                    assert value[levels.mask[name]].any()
    hold.release()


def test_each_masks_gradients_where_it_needs_to():
    """Muon mixes the entries of a matrix, Adam does not: only the first one's gradients are masked."""
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    optimizers = [torch.optim.Muon([model[0].weight], lr=0.1), Adam([model[2].weight], lr=0.1)]
    mask = bb.prune(model, sparsity=0.5)
    with bb.hold(model, optimizers, mask) as held:
        model(torch.randn(4, 8)).sum().backward()
        assert not model[0].weight.grad[~mask["0.weight"]].any()
        assert model[2].weight.grad[~mask["2.weight"]].any()
        for optimizer in optimizers:
            optimizer.step()
        assert not model[0].weight[~mask["0.weight"]].any()
        assert not model[2].weight[~mask["2.weight"]].any()
        assert held.mask == mask
    assert not any(optimizer._optimizer_step_post_hooks for optimizer in optimizers)


class Adversaries(nn.Module):
    """Two networks in one, each with an optimizer; the critic takes more steps than the generator."""

    def __init__(self):
        super().__init__()
        self.generator, self.critic = nn.Linear(4, 4), nn.Linear(4, 1)


def train_adversaries(optimizers, model, critics):
    for _ in range(critics):
        optimizers[1].zero_grad()
        model.critic(model.generator(torch.randn(8, 4)).detach()).mean().backward()
        optimizers[1].step()
    optimizers[0].zero_grad()
    (-model.critic(model.generator(torch.randn(8, 4))).mean()).backward()
    optimizers[0].step()


def adversaries(store, *, stop=None):
    """Two levels of three epochs, of which the second and the third differ in who is ahead; left after ``stop``."""
    torch.manual_seed(1)
    model, seen = Adversaries(), 0
    optimizers = [Adam(model.generator.parameters(), lr=0.1), SGD(model.critic.parameters(), lr=0.1, momentum=0.5)]
    with bb.iterate(model, optimizers, geometric(1, rewind_to=bb.Step(2)), store=store) as levels:
        for level in levels:
            for epoch in level.epochs(3):
                if seen == stop:
                    return levels.history
                seen += 1
                for turn in range(2):
                    if (epoch, turn) == (2, 1):  # the generator alone: what the critic was ahead is taken up
                        for _ in range(4):
                            optimizers[0].step()
                    else:
                        train_adversaries(optimizers, model, epoch + 1)
    return levels.history


@pytest.mark.parametrize("stop", [1, 2, 4, 5])
def test_a_step_is_one_that_all_have_made_also_after_a_kill(tmp_path, stop):
    """The generator makes 2 + 2 + 5 steps, the critic 2 + 4 + 3; counted from epoch to epoch it would be 7."""
    straight = adversaries(tmp_path / "straight")
    assert [record.steps for record in straight] == [9, 9]
    adversaries(tmp_path / "killed", stop=stop)
    resumed = adversaries(tmp_path / "killed")
    assert [(r.steps, r.end_digest) for r in resumed] == [(r.steps, r.end_digest) for r in straight]


def test_a_scheduler_of_either_is_missed():
    parts = Split()
    scheduler = torch.optim.lr_scheduler.StepLR(parts.optimizers[1], 1)
    levels = bb.iterate(parts.model, parts.optimizers, geometric())
    with pytest.raises(MissingReset, match="a StepLR of this optimizer is not in resets"):
        levels.__enter__()
    assert scheduler.last_epoch == 0


def test_the_learning_rates_of_both_return():
    parts = Split()
    with bb.iterate(parts.model, parts.optimizers, geometric(rewind_to="learning-rate")) as levels:
        loop = iter(levels)
        next(loop)
        parts.epoch()
        next(loop)
        parts.optimizers[1].param_groups[0]["lr"] = 0.05
        with pytest.raises(MissingReset, match=r"level 1 starts with lr = 0\.05 in group 1; level 0 did with 0\.1"):
            parts.epoch()


def test_the_steps_of_the_first_may_be_followed_by_a_scheduler_before_the_second_steps():
    parts = Split()
    schedulers = [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9) for optimizer in parts.optimizers]
    with bb.iterate(parts.model, parts.optimizers, geometric(), resets=schedulers) as levels:
        for _ in levels:
            cross_entropy(parts.model(parts.x), parts.y).backward()
            for optimizer, scheduler in zip(parts.optimizers, schedulers, strict=True):
                optimizer.step()
                scheduler.step()
    assert [record.steps for record in levels.history] == [1, 1, 1]


def test_an_optimizer_that_never_steps_is_named():
    parts = Split(makes=(SGD, Adam))
    with bb.iterate(parts.model, parts.optimizers, geometric()) as levels:
        epochs = next(iter(levels)).epochs(1)
        next(epochs)
        parts.model(parts.x).sum().backward()
        parts.optimizers[0].step()
        with pytest.raises(InvalidValue, match="level 0: 1 epochs without a step of the Adam"):
            next(epochs)


def foreign(model, resets=()):
    head = nn.Linear(2, 2)
    optimizers = [SGD(model.parameters(), lr=0.1), Adam(head.parameters(), lr=0.1)]
    return bb.iterate(model, optimizers, geometric(), resets=[head] if resets else ())


REFUSED = {
    "overlapping": (
        lambda m: bb.iterate(m, [SGD(m.parameters(), lr=0.1), Adam(m[4].parameters())], geometric()),
        InvalidValue,
        "optimizers 0 and 1 both hold '4.weight'\n",
    ),
    "one twice": (lambda m: bb.iterate(m, [SGD(m.parameters(), lr=0.1)] * 2, geometric()), InvalidValue, "0 and 1"),
    "another network's": (
        foreign,
        ForeignParameter,
        r"optimizer 1 \(Adam\) holds a parameter of shape \(2, 2\), which is not the model's\n.*\n.*resets",
    ),
    "a weight of nobody": (
        lambda m: bb.iterate(m, [SGD(m[0].parameters(), lr=0.1), SGD(m[1].parameters(), lr=0.1)], geometric()),
        ForeignParameter,
        r"none of the optimizers holds '4.weight' \(1 of 2 prunable weights\)",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_optimizers_that_do_not_fit_the_model_are_refused(what):
    call, kind, words = REFUSED[what]
    with pytest.raises(kind, match=words):
        call(Split().model)


def test_a_parameter_of_one_optimizer_is_the_models_as_well():
    model = Split().model
    scale = nn.Parameter(torch.ones(3))
    with pytest.raises(ForeignParameter, match=r"the optimizer \(SGD\) holds a parameter of shape \(3,\)"):
        bb.iterate(model, SGD([*model.parameters(), scale], lr=0.1), geometric())


def test_what_is_trained_beside_the_model_returns_with_its_module_in_resets():
    parts, head = Split(), nn.Linear(2, 2)
    parts.optimizers.append(SGD(head.parameters(), lr=0.1))
    start = Snapshot.of(head)
    with bb.iterate(parts.model, parts.optimizers, geometric(), resets=[head]) as levels:
        for level in levels:
            assert Snapshot.of(head).digest == start.digest
            head(parts.model(parts.x)).sum().backward()
            for optimizer in parts.optimizers:
                optimizer.step()
            assert Snapshot.of(head).digest != start.digest
            assert level.number <= 2


def test_a_list_of_one_is_that_one(tmp_path):
    """A store knows no difference."""
    parts = Split(split=False)
    straight = prune(parts, geometric(), store=tmp_path)
    again = Split(split=False)
    again.optimizers = again.optimizers[0]
    assert prune(again, geometric(), store=tmp_path) == straight


def exchanged():
    """As many parameters in each, and of the same shapes in part: but not the same ones."""
    parts = Split(makes=(SGD, Adam))
    for optimizer in parts.optimizers:
        optimizer.param_groups[0]["params"].reverse()
    return parts


@pytest.mark.parametrize("change", ["one more", "other settings", "swapped", "other parameters"])
def test_a_store_of_other_optimizers_is_refused(tmp_path, change):
    prune(Split(makes=(SGD, Adam)), geometric(), store=tmp_path)
    other = {
        "one more": lambda: Split(split=False),
        "other settings": lambda: Split(makes=(SGD, Adam), lr=0.2),
        "swapped": lambda: Split(makes=(Adam, SGD)),
        "other parameters": exchanged,
    }[change]()
    with pytest.raises(bb.errors.StoreMismatch, match=re.escape("another iteration: optimizer")):
        prune(other, geometric(), store=tmp_path)
