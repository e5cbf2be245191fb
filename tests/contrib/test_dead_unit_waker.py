"""What wakes nearly dead units: on nets where the answer is known, against finite differences, beside AP."""

import copy
import math

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

import budbreak as bb
from budbreak import networks
from budbreak.contrib import DeadUnitWaker, FisherInformation, PreActivations, WakingSlopes
from budbreak.criteria import LeastMovedNegative, Magnitude
from budbreak.errors import InvalidValue, NoSites, NotFinite
from budbreak.evidence import Evidence, Weights
from budbreak.masks import competing, select
from budbreak.testing import check_criterion, check_probe, mlp, residual_cnn, separable, toy_evidence

INF = math.inf


def look(model, probes, *batches, **options):
    return bb.probe(model, probes, batches=list(batches), loss=functional.cross_entropy, **options)


def scores_of(model, *batches, **options):
    return DeadUnitWaker(**options)(look(model, DeadUnitWaker(**options).needs, *batches))


def alone(*layers, rows):
    """A network of one unit, or few, with the given incoming weights; the loss hardly feels the first."""
    model = nn.Sequential(nn.Linear(len(rows[0]), len(rows)), *layers, nn.Linear(len(rows), 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor(rows))
        model[0].bias.zero_()
        model[-1].weight[:, 0] /= 20
    return model


# --- nets where the answer is known ------------------------------------------------------------------------


def test_a_positive_weight_on_a_negative_input_goes_and_ap_would_not_see_it():
    """z = 2 x0 + 0.5 x1 with x0 about -1.5: only without the first weight does the unit fire. The other one does."""
    x = torch.randn(400, 2) * 0.5 - torch.tensor([1.5, 0.0])
    model, y = alone(nn.ReLU(), rows=[[2.0, 0.5], [-3.0, 3.0]]), torch.randint(0, 2, (400,))
    scores = scores_of(model, (x, y))["0.weight"].tensor()
    assert scores[0, 0] < INF
    assert scores[0, 1] == INF  # spreads the pre-activation: without it the unit fires less
    start = {name: tensor * 0.5 for name, tensor in model.state_dict().items()}
    aps = LeastMovedNegative()(look(model, LeastMovedNegative.needs, (x, y), start=start))
    assert aps["0.weight"].tensor()[0, 0] == INF


def test_of_two_negative_weights_the_one_that_meets_more_goes_first():
    x = torch.rand(300, 3) + torch.tensor([1.0, 0.2, 0.0])
    model = alone(nn.ReLU(), rows=[[-1.0, -1.0, 0.5]])
    scores = scores_of(model, (x, torch.randint(0, 2, (300,))))["0.weight"].tensor()[0]
    assert scores[0] < scores[1] < scores[2] == INF


@pytest.mark.parametrize(("norm", "spared"), [(nn.BatchNorm1d(2), True), (nn.Identity(), False)], ids=["norm", "plain"])
def test_behind_batchnorm_what_only_shifts_the_mean_gains_nothing(norm, spared):
    """The first input is the same on all samples; the third is mostly small, and large where the unit is far down."""
    x = torch.cat([torch.full((200, 1), 3.0), torch.randn(200, 1), torch.rand(200, 1) ** 4], dim=1)
    if isinstance(norm, nn.BatchNorm1d):
        norm.bias.data[0] = -2.5
    model = alone(norm, nn.ReLU(), rows=[[-1.0, 0.3, -1.0], [1.0, 1.0, 1.0]])
    before = copy.deepcopy(model.state_dict())
    scores = scores_of(model, (x[:100], torch.zeros(100).long()), (x[100:], torch.ones(100).long()))
    shifts, _, pulls = scores["0.weight"].tensor()[0].tolist()
    assert (shifts == INF) is spared
    assert pulls < INF
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_only_weights_of_nearly_dead_units_go_and_of_those_that_can_be_moved():
    rows = [[-1.0, -1.0], [1.0, 1.0], [0.0, 0.0]]  # dead, alive, without a living weight
    model = alone(nn.ReLU(), rows=rows)
    with torch.no_grad():
        model[0].bias[2] = -1.0
    scores = scores_of(model, (torch.rand(50, 2), torch.randint(0, 2, (50,))))
    assert scores["0.weight"].tensor().isinf().tolist() == [[False, False], [True, True], [True, True]]
    assert bool(scores["2.weight"].tensor().isinf().all())


def test_how_dead_is_nearly_dead():
    """x is positive on one of eight samples; the second unit fires on all others."""
    x = torch.cat([-torch.ones(7, 1), torch.ones(1, 1)]).repeat(10, 1)
    batch = (x, torch.randint(0, 2, (80,)))
    assert competing(scores_of(alone(nn.ReLU(), rows=[[1.0], [-3.0]]), batch)) == 0
    assert competing(scores_of(alone(nn.ReLU(), rows=[[1.0], [-3.0]]), batch, activity=0.126)) == 1


def test_weights_that_cost_nothing_are_ordered_by_their_gain():
    """Of a unit that is dead on all samples no weight costs anything."""
    x = torch.rand(100, 3) + 0.1
    model = alone(nn.ReLU(), rows=[[-1.0, -3.0, -2.0]])
    scores = scores_of(model, (x, torch.randint(0, 2, (100,))))["0.weight"].tensor()[0]
    assert scores.argsort().tolist() == [1, 2, 0]


# --- against independent forms ------------------------------------------------------------------------------


def nearness(model, batches, seen, activity):
    """F by hand, in training mode: softplus(z / s) of nearly dead units at fed sites, s as seen before."""
    entered = {}
    sites = {name: module for name, module in model.named_modules() if name in seen}
    hooks = [
        module.register_forward_pre_hook(lambda _, given, name=name: entered.update({name: given[0]}))
        for name, module in sites.items()
    ]
    model.train()
    total, count = 0.0, sum(len(x) for x, _ in batches)
    with torch.no_grad():
        for x, _ in batches:
            model(x)
            for name, z in entered.items():
                if seen[name].site.feed is not None:
                    rows = z.movedim(1, 0).flatten(1)
                    dead = [unit for unit, share in enumerate(seen[name].active) if share < activity]
                    part = sum(functional.softplus(rows[unit] / seen[name].deviation[unit]).mean() for unit in dead)
                    total += len(x) / count * float(part)
    for hook in hooks:
        hook.remove()
    return total


def images():
    x = torch.randn(10, 3, 6, 6, dtype=torch.float64)
    return [(x[:6], torch.randint(0, 3, (6,))), (x[6:], torch.randint(0, 3, (4,)))]


def points():
    x = torch.randn(40, 8, dtype=torch.float64)
    return [(x[:25], torch.randint(0, 3, (25,))), (x[25:], torch.randint(0, 3, (15,)))]


@pytest.mark.parametrize(("build", "data"), [(mlp, points), (residual_cnn, images)], ids=["mlp", "conv with norms"])
def test_slopes_are_those_of_finite_differences(build, data):
    model, batches, activity = build().double(), data(), 0.5
    probes = [PreActivations(), WakingSlopes(activity)]
    evidence = look(model, probes, *batches)
    seen, slopes = evidence[PreActivations()], evidence[WakingSlopes(activity)]
    compared = 0
    for name, slope in slopes.items():
        weight = model.get_parameter(name)
        places = slope.flatten().nonzero().flatten()[::7]
        for place in places.tolist():
            values = []
            for step in (1e-6, -1e-6):
                with torch.no_grad():
                    weight.view(-1)[place] += step
                values.append(nearness(model, batches, seen, activity))
                with torch.no_grad():
                    weight.view(-1)[place] -= step
            by_hand = (values[0] - values[1]) / 2e-6  # float64: rounding leaves about 1e-10
            assert float(slope.view(-1)[place]) == pytest.approx(by_hand, rel=1e-5, abs=1e-8)
            compared += 1
    assert compared > 10


def test_only_rows_of_nearly_dead_units_have_slopes():
    model, batches = mlp().double(), points()
    evidence = look(model, [PreActivations(), WakingSlopes(0.4)], *batches)
    for name, site in (("0.weight", "1"), ("2.weight", "3")):
        dead = evidence[PreActivations()][site].active < 0.4
        assert 0 < int(dead.sum()) < len(dead)
        assert torch.equal(evidence[WakingSlopes(0.4)][name].any(1), dead)


def test_spreads_are_those_of_all_samples_together():
    model, batches = mlp().double(), points()
    seen = look(model, [PreActivations()], *batches)[PreActivations()]
    z = model[0](torch.cat([x for x, _ in batches])).detach()
    torch.testing.assert_close(seen["1"].active, (z > 0).double().mean(0), rtol=1e-12, atol=0)
    torch.testing.assert_close(seen["1"].deviation, z.std(0, correction=0), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(seen["1"].magnitude, z.square().mean(0).sqrt(), rtol=1e-12, atol=0)


def test_of_single_samples_the_information_is_the_mean_square_of_their_gradients():
    model, ((x, y), _) = mlp().double(), points()
    found = look(model, [FisherInformation()], *[(x[i : i + 1], y[i : i + 1]) for i in range(len(x))])
    weights = [model[0].weight, model[2].weight, model[4].weight]
    squares = [torch.zeros_like(weight) for weight in weights]
    for i in range(len(x)):
        loss = functional.cross_entropy(model(x[i : i + 1]), y[i : i + 1])
        for square, gradient in zip(squares, torch.autograd.grad(loss, weights), strict=True):
            square += gradient**2 / len(x)
    for mine, square in zip(found[FisherInformation()].values(), squares, strict=True):
        torch.testing.assert_close(mine, square, rtol=1e-12, atol=1e-18)


def test_batches_count_by_their_samples():
    model, ((x, y), _) = mlp().double(), points()
    sizes = [(x[:20], y[:20]), (x[20:], y[20:])]
    gradients = []
    for batch in sizes:
        loss = functional.cross_entropy(model(batch[0]), batch[1])
        gradients.append(torch.autograd.grad(loss, [model[0].weight])[0])
    by_hand = (20 * 20 * gradients[0] ** 2 + 5 * 5 * gradients[1] ** 2) / 25
    found = look(model, [FisherInformation()], *sizes)[FisherInformation()]["0.weight"]
    torch.testing.assert_close(found, by_hand, rtol=1e-12, atol=1e-18)


def test_golden_numbers():
    w, slope = torch.tensor([[-2.0, 1.0, 0.0, 1.0, 1.0]]), torch.tensor([[0.5, -0.25, 3.0, 2.0, -1.0]])
    information = torch.tensor([[1.0, 2.0, 5.0, 0.0, 8.0]])
    evidence = {Weights(): {"w": w}, WakingSlopes(): {"w": slope}, FisherInformation(): {"w": information}}
    # gains 1, 0.25, 0, -2, 1; costs 2, 1, 0, 0, 4: the median of those that are not 0 is 2, and 4 is too much
    found = DeadUnitWaker()(Evidence(evidence))["w"].tensor()
    assert found.tolist() == [[4.0, 12.0, INF, INF, INF]]
    evidence[FisherInformation()] = {"w": torch.zeros(1, 5)}
    assert DeadUnitWaker()(Evidence(evidence))["w"].tensor().tolist() == [[1.0, 4.0, INF, INF, 1.0]]


# --- beside AP ----------------------------------------------------------------------------------------------


def trained(seed):
    """The MLP of recipes/digits-mlp.toml after ten epochs, its start, and what it was trained on in two batches."""
    digits, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(digits[:1000] / 8 - 1, dtype=torch.float32), torch.tensor(labels[:1000])
    torch.manual_seed(seed)
    model = networks.mlp((1, 8, 8), 10, (100, 50))
    start = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(10):
        for rows in torch.randperm(1000).split(64):
            optimizer.zero_grad()
            functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    return model, start, [(x[:500], y[:500]), (x[500:], y[500:])]


def activity_and_loss(model, batches, dead):
    """The shares of outputs at which some units are active, added up, and the loss."""
    seen = look(model, [PreActivations()], *batches)[PreActivations()]
    with torch.no_grad():
        losses = [float(functional.cross_entropy(model(x), y)) for x, y in batches]
    return sum(float(seen[name].active[units].sum()) for name, units in dead.items()), sum(losses) / len(losses)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_wakes_more_than_ap_for_what_it_costs(seed):
    """Both remove 2 % of the weights of what magnitude keeps; the units are those that were nearly dead before."""
    model, start, batches = trained(seed)
    criteria = [LeastMovedNegative(), DeadUnitWaker()]
    needs = [PreActivations(), *criteria[0].needs, *criteria[1].needs]
    evidence = look(model, needs, *batches, start=start)
    dead = {name: spread.active < 0.05 for name, spread in evidence[PreActivations()].items()}
    assert sum(int(units.sum()) for units in dead.values()) >= 10
    host = select(Magnitude()(evidence), round(0.82 * 11900))
    masks = [host, *(select(criterion(evidence), host.kept - 238, within=host) for criterion in criteria)]
    found = []
    for mask in masks:  # each within the first
        bb.prune(other := copy.deepcopy(model), sparsity=1 - mask.kept / mask.total, mask=mask)
        found.append(activity_and_loss(other, batches, dead))
    (before, loss), (by_ap, loss_ap), (by_waker, loss_waker) = found
    assert by_waker - before > 5 + 5 * (by_ap - before)  # of 12 seeds at least 9.8, AP at most 1.6
    ap, waker = ((by_ap - before) / max(loss_ap - loss, 1e-3), (by_waker - before) / max(loss_waker - loss, 1e-3))
    assert waker > 4 * ap  # of 12 seeds at least 8; a thousandth of loss is next to nothing


# --- contracts ----------------------------------------------------------------------------------------------


def test_it_is_a_criterion():
    check_criterion(DeadUnitWaker())
    check_criterion(DeadUnitWaker(0.2), toy_evidence(mlp(), probes=DeadUnitWaker(0.2).needs, seed=3))


@pytest.mark.parametrize("probe", [PreActivations(), WakingSlopes(), WakingSlopes(0.3), FisherInformation()], ids=str)
def test_what_it_needs_are_probes(probe):
    check_probe(probe)


def test_it_can_follow_a_host():
    x, y = separable(60)
    model = mlp()
    with torch.no_grad():
        model[0].bias.fill_(-3.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    plan = bb.Plan(schedule=bb.schedules.Geometric(0.2, 1), then=[bb.Remove(DeadUnitWaker(), q=0.02)])
    with bb.iterate(model, optimizer, plan, batches=[(x, y)], loss=functional.cross_entropy) as levels:
        for level in levels:
            for _ in level.epochs(1):
                optimizer.zero_grad()
                functional.cross_entropy(model(x), y).backward()
                optimizer.step()
            level.record(accuracy=0.5)
    assert levels.history[1].follow_ups_removed == (8,)  # of 432 weights


@pytest.mark.parametrize("activity", [0.0, 1.0, 5, "0.05"])
def test_a_share_is_wanted(activity):
    with pytest.raises(InvalidValue, match="activity"):
        DeadUnitWaker(activity)


def test_nets_without_units_to_wake_are_refused():
    batch = (torch.randn(20, 4), torch.randint(0, 2, (20,)))
    with pytest.raises(NoSites, match="gives exact zeros"):
        scores_of(alone(nn.GELU(), rows=[[1.0] * 4]), batch)
    with pytest.raises(NotFinite, match="what enters site '1' is NaN"):
        look(alone(nn.ReLU(), rows=[[math.nan] * 4]), [PreActivations()], batch)
