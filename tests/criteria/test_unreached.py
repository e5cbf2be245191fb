"""A weight without a gradient cannot be scored by one: it is named, while one of dead units, or of a branch, can."""

import copy

import pytest
import torch
from small_networks import BATCHES, X, Y, scores_of
from torch import nn
from torch.nn.functional import cross_entropy

import budbreak as bb
from budbreak.contrib import DeadUnitWaker
from budbreak.criteria import Gradient, GraSP, Movement, Snip, SynFlow, Taylor
from budbreak.diagnostics import GradientNorm
from budbreak.errors import InvalidValue
from budbreak.evidence import rehearse
from budbreak.live import measure
from budbreak.testing import mlp

OF_LOSS = [Gradient(), Taylor(), Snip(), GraSP(1.0), DeadUnitWaker()]
CRITERIA = [*OF_LOSS, SynFlow(rounds=2)]


class Beside(nn.Module):
    """A network, and a layer beside it: used as ``way`` says."""

    def __init__(self, way):
        super().__init__()
        self.net, self.beside, self.way = mlp(inputs=8), nn.Linear(8, 8), way
        self.double()

    def forward(self, x):
        return self.net(self.way(x, self.beside))


WAYS = {
    "never called": lambda x, layer: x,
    "not used": lambda x, layer: (x, layer(x))[0],
    "detached": lambda x, layer: x + layer(x).detach(),
    "without grad": lambda x, layer: x + torch.no_grad()(layer)(x),
    "through numpy": lambda x, layer: x + torch.from_numpy(layer(x).detach().numpy()),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("criterion", CRITERIA, ids=lambda criterion: type(criterion).__name__)
def test_a_weight_that_nothing_depends_on_is_named(criterion, way):
    model = Beside(WAYS[way])
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(InvalidValue, match=r"depends on 'beside\.weight'.*\n.*\nleave it out") as caught:
        bb.prune(model, sparsity=0.5, criterion=criterion, batches=BATCHES, loss=cross_entropy)
    assert "prunable=bb.excluding('beside.weight')" in caught.value.fix
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    rest = bb.excluding("beside.weight")
    assert "beside.weight" not in scores_of(criterion, model, prunable=rest)


def test_several_weights_are_listed():
    model = nn.ModuleDict({"net": mlp(), **{f"head{i}": nn.Linear(8, 3) for i in range(5)}}).double()
    with pytest.raises(InvalidValue) as caught:
        scores_of(Taylor(), model, forward=lambda model, batch: model["net"](batch[0]))
    assert caught.value.value.endswith("depends on 'head0.weight', 'head1.weight', 'head2.weight' and 2 more")
    assert "bb.excluding('head0.weight', ...)" in caught.value.fix


class Branches(nn.Module):
    """Samples of the first kind take one branch, those of the second another."""

    def __init__(self):
        super().__init__()
        self.ways, self.last = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)]), nn.Linear(8, 3)
        self.double()

    def forward(self, x):
        return self.last(torch.tanh(self.ways[int(x[0, 0] > 0)](x)))


@pytest.mark.parametrize("criterion", OF_LOSS[:4], ids=lambda criterion: type(criterion).__name__)
def test_a_weight_that_some_batches_reach_is_scored_by_all_of_them(criterion):
    batches = [(X.abs(), Y), (-X.abs(), Y)]
    model = Branches()
    found = scores_of(criterion, model, batches)
    assert all(scores.any() for scores in found.values())
    for order in ([0, 1], [1, 0]):  # ties are settled by the order of weights, not by that of branches
        assert list(scores_of(criterion, model, [batches[i] for i in order])) == list(found)
    with pytest.raises(InvalidValue, match=r"'ways\.1\.weight'"):
        scores_of(criterion, model, batches[1:])


def test_the_mean_counts_batches_that_do_not_reach_a_weight_as_zero():
    model, batches = Branches(), [(X.abs()[:6], Y[:6]), (-X.abs(), Y)]
    alone = scores_of(Gradient(), model, batches[:1], prunable=bb.including("ways.1.weight", of=_none))
    both = scores_of(Gradient(), model, batches)["ways.1.weight"]
    torch.testing.assert_close(both, alone["ways.1.weight"] * 6 / 30, rtol=1e-12, atol=0)


def _none(name, module, parameter):
    return False


def test_dead_units_are_reached():
    model = mlp().double()
    with torch.no_grad():
        model[0].bias[:5] = -100.0
    for criterion in OF_LOSS[:4]:
        assert not scores_of(criterion, model)["0.weight"][:5].any()
    with torch.no_grad():
        model[0].bias[:] = -100.0  # all of them: each gradient of the first layer is 0, and there
    assert not scores_of(Taylor(), model)["0.weight"].any()


def test_a_loss_that_is_linear_in_a_weight_is_no_loss_without_it():
    """Its second derivatives are none for autograd, and 0."""
    model = nn.ModuleDict({"a": nn.Linear(8, 3), "b": mlp()}).double()
    found = scores_of(GraSP(1.0), model, forward=lambda m, batch: m["a"](batch[0]).mean() + m["b"](batch[0]).mean(),
                      loss=lambda value, y: value)  # fmt: skip
    assert not found["a.weight"].any()
    assert found["b.0.weight"].any()


def test_a_gradient_norm_counts_what_nothing_depends_on_as_zero():
    model = Beside(WAYS["not used"])
    mask = bb.Mask.dense(model)
    found = measure(model, [GradientNorm()], batches=BATCHES, mask=mask, loss=cross_entropy)
    rest = bb.excluding("beside.weight")
    alone = measure(model, [GradientNorm()], batches=BATCHES, mask=bb.Mask.dense(model, rest), loss=cross_entropy,
                    prunable=rest)  # fmt: skip
    assert found.layers["beside.weight"]["gradient_norm"] == 0
    assert found.numbers["gradient_norm"] == alone.numbers["gradient_norm"] > 0


# --- movement ----------------------------------------------------------------------------------------------


def trained(model, batches=BATCHES):
    """What movement scores after a training, by hand."""
    observers = Movement().needs[1:]
    seen = rehearse(model, observers, batches=batches, loss=cross_entropy)
    evidence = bb.probe(model, Movement().needs, watched=lambda observer: seen[observer])
    return {name: score.tensor() for name, score in Movement()(evidence).items()}


@pytest.mark.parametrize("way", WAYS)
def test_movement_names_a_weight_that_no_step_had_a_gradient_for(way):
    with pytest.raises(InvalidValue, match=r"no step of the training had a gradient for 'beside\.weight'"):
        trained(Beside(WAYS[way]))


def test_movement_takes_a_weight_that_some_steps_move():
    batches = [(-X.abs(), Y), (X.abs(), Y)]
    found = trained(Branches(), batches)
    assert list(found) == ["ways.0.weight", "ways.1.weight", "last.weight"]
    assert all(scores.any() for scores in found.values())


def test_movement_of_frozen_weights_is_refused_in_an_iteration():
    model = mlp().double()
    model[0].weight.requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    plan = bb.Plan(schedule=bb.schedules.Geometric(rate=0.5, levels=1), criterion=Movement())

    def iterate():
        with bb.iterate(model, optimizer, plan) as levels:
            for _ in levels:
                optimizer.zero_grad()
                cross_entropy(model(X), Y).backward()
                optimizer.step()

    with pytest.raises(InvalidValue, match=r"had a gradient for '0\.weight'\n.*\n.*or train it"):
        iterate()
