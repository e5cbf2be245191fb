"""A mask is held through the steps of optimizers that are made later."""

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.optim.optimizer import _global_optimizer_pre_hooks

import budbreak as bb
from budbreak import training
from budbreak.errors import InvariantBroken
from budbreak.live import check_zeros, held
from budbreak.testing import mlp, separable

X, Y = separable(64, noise=1.0)


def pruned():
    model = mlp()
    return model, bb.prune(model, sparsity=0.8)


def steps(model, optimizer, count=3):
    def loss():
        optimizer.zero_grad()
        value = cross_entropy(model(X), Y)
        value.backward()
        return value

    for _ in range(count):
        loss()
        optimizer.step(loss if isinstance(optimizer, torch.optim.LBFGS) else None)


def make(kind, model):
    if kind in ("Fromage", "TAdam"):
        return getattr(training, kind)(learning_rate=0.05).build(model)
    options = {"SGD": {"lr": 0.1, "momentum": 0.9, "nesterov": True}}.get(kind, {})
    return getattr(torch.optim, kind)(model.parameters(), **options)


@pytest.mark.parametrize("kind", ["SGD", "AdamW", "Adafactor", "LBFGS", "Fromage", "TAdam"])
def test_the_steps_are_those_of_hold(kind):
    model, mask = pruned()
    with held(model, mask):
        steps(model, make(kind, model))
    check_zeros(model, mask)
    other, _ = pruned()
    optimizer = make(kind, other)
    with bb.hold(other, optimizer, mask):
        steps(other, optimizer)
    assert all(torch.equal(one, two) for one, two in zip(model.parameters(), other.parameters(), strict=True))


def broken(model, optimizer):
    steps(model, optimizer)
    raise KeyError


def test_it_ends_with_the_block_whatever_is_raised():
    model, mask = pruned()
    optimizer = make("SGD", model)
    with pytest.raises(KeyError), held(model, mask):
        broken(model, optimizer)
    assert not _global_optimizer_pre_hooks
    assert not optimizer._optimizer_step_pre_hooks
    steps(model, optimizer)
    with pytest.raises(InvariantBroken):
        check_zeros(model, mask)


def test_weights_that_came_back_are_zeroed_at_once():
    model, mask = pruned()
    with torch.no_grad():
        model[0].weight.fill_(1.0)
    with held(model, mask):
        check_zeros(model, mask)


def test_two_models_are_held_at_once_each_by_its_own_mask():
    (one, mask), other = pruned(), mlp(seed=1)
    sparser = bb.prune(other, sparsity=0.9)
    with held(one, mask), held(other, sparser):
        both = torch.optim.SGD([*one.parameters(), *other.parameters()], lr=0.1, momentum=0.9)
        for _ in range(3):
            cross_entropy(one(X) + other(X), Y).backward()
            both.step()
    check_zeros(one, mask)
    check_zeros(other, sparser)
    assert not both._optimizer_step_post_hooks
