"""Why pruning by activation lowers the rank, and why retraining without the mask keeps it low: an account, exactly."""

import pytest
import torch
from torch import nn

import budbreak as bb

HIDDEN = ("0.weight", "2.weight", "4.weight")


def network():
    """Three hidden ReLU layers, wide enough at each input that every matrix has as many directions as units."""
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Linear(30, 24), nn.ReLU(), nn.Linear(24, 20), nn.ReLU(), nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 4)
    )


def data():
    draw = torch.Generator().manual_seed(1)
    x = torch.rand(400, 30, generator=draw)
    return x, (x @ torch.randn(30, 4, generator=draw)).argmax(1)


def train(model, steps, mask=None):
    """Plain SGD, for which a gradient of zero is no step."""
    x, y = data()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(steps):
        batch = torch.arange(32) + 32 * (step % 12)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()
        if mask is not None:
            for name, parameter in mask.parameters(model).items():
                parameter.data.mul_(mask[name])


def pruned(criterion, sparsity=0.5):
    """A trained network of which whole units are gone, and their mask."""
    model = network()
    train(model, 60)
    x, _ = data()
    mask = bb.prune(
        model,
        sparsity=sparsity,
        criterion=criterion,
        granularity=bb.Unit(),
        batches=[x],
        prunable=bb.excluding("6.*"),
        floor=0.2,
    )
    return model, mask


def surviving(model):
    """Units of each hidden layer with an incoming weight."""
    return {name: int(model.get_parameter(name).any(1).sum()) for name in HIDDEN}


@pytest.mark.parametrize("criterion", [bb.criteria.APoZ(), bb.criteria.Random()], ids=["apoz", "random"])
def test_with_whole_units_pruned_the_rank_is_the_number_that_survives(criterion):
    """Whatever the criterion: the rank of W is at most its units, and a trained matrix has no other dependence."""
    model, mask = pruned(criterion)
    alive = surviving(model)
    assert sum(alive.values()) == 30  # of 60
    ranks = bb.ranks(model)
    assert {name: ranks[name].numerical for name in HIDDEN} == alive
    assert {name: bb.ranks(network(), mask=mask)[name].numerical for name in HIDDEN} == alive
    train(model, 30, mask)
    assert {name: bb.ranks(model)[name].numerical for name in HIDDEN} == alive


def test_counting_while_training_does_the_same():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    plan = bb.Plan(
        criterion=bb.criteria.ActivationCount(),
        schedule=bb.schedules.OneShot(sparsity=0.4),
        granularity=bb.Unit(),
        prunable=bb.excluding("6.*"),
        floor=0.2,
    )
    x, y = data()
    with bb.iterate(model, optimizer, plan) as levels:
        for level in levels:
            for batch in torch.arange(384).split(32):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
                optimizer.step()
            level.record(done=1)
    alive = surviving(model)
    assert sum(alive.values()) == 36
    assert {name: bb.ranks(model)[name].numerical for name in HIDDEN} == alive


def test_single_weights_pruned_leave_the_rank_full():
    model = network()
    train(model, 60)
    bb.prune(model, sparsity=0.5, criterion=bb.criteria.Magnitude(), prunable=bb.excluding("6.*"))
    assert {name: bb.ranks(model)[name].numerical for name in HIDDEN} == dict(zip(HIDDEN, (24, 20, 16), strict=True))


def test_after_retraining_without_the_mask_the_rank_counts_who_can_come_back():
    """rank = units that survived + units that are gone with a bias > 0: the others are dead, and have no gradient."""
    model, _ = pruned(bb.criteria.APoZ())
    alive = surviving(model)
    gone = {name: ~model.get_parameter(name).any(1) for name in HIDDEN}
    biases = {name: model.get_parameter(name.replace("weight", "bias")).detach() for name in HIDDEN}
    back = {name: int((biases[name][gone[name]] > 0).sum()) for name in HIDDEN}
    assert any(0 < back[name] < gone[name].sum() for name in HIDDEN)  # some of a layer come back, and some do not
    train(model, 200)
    expected = {name: alive[name] + back[name] for name in HIDDEN}
    assert {name: bb.ranks(model)[name].numerical for name in HIDDEN} == expected
    assert surviving(model) == expected


def test_with_leaky_units_they_all_come_back():
    """So it is the dead biases that keep the rank low, and not the criterion."""
    model, _ = pruned(bb.criteria.APoZ())
    alive = surviving(model)
    leaky = nn.Sequential(*(nn.LeakyReLU(0.1) if isinstance(part, nn.ReLU) else part for part in model))
    train(leaky, 60)
    assert surviving(leaky) == dict(zip(HIDDEN, (24, 20, 16), strict=True))
    assert all(bb.ranks(leaky)[name].numerical > alive[name] for name in HIDDEN)  # it grows as training goes on
