"""What lifts silent units: against a loop over samples, for signed inputs, behind a norm, and as a criterion."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from budbreak.contrib import Awakening, Lifting, Lifts
from budbreak.errors import InvalidValue, UnknownName
from budbreak.evidence import Evidence, Gradients, Weights, probe
from budbreak.masks import competing, select
from budbreak.testing import check_criterion, check_probe, mlp, residual_cnn, toy_evidence

NEEDS = (Weights(), Gradients(), Lifting())
ALONE = (Lifting(),)


def seen(model, *batches, probes=ALONE):
    return probe(model, list(probes), batches=list(batches), loss=functional.cross_entropy)


def by_hand(x, w, silent, overall_of=None):
    """Means of inputs over silent outputs, by a double loop: x [N, in], silent [N, out]."""
    means = torch.zeros(w.shape, dtype=torch.float64)
    for o in range(w.shape[0]):
        rows = x[silent[:, o]].double()
        means[o] = rows.mean(0) if len(rows) else 0
    return means


def test_the_means_of_linear_layers_are_those_of_a_loop():
    model, x = mlp(), torch.randn(60, 8)
    lifts = seen(model, x[:20], x[20:])[Lifting()]
    assert list(lifts) == ["0.weight", "2.weight"]  # nothing behind the last layer
    hidden = model[1](model[0](x)).detach()
    for name, layer, given in (("0.weight", model[0], x), ("2.weight", model[2], hidden)):
        z = layer(given).detach()
        silent = z <= 0
        ours = lifts[name]
        torch.testing.assert_close(ours.silent, by_hand(given, layer.weight, silent), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(ours.overall, given.double().mean(0).expand_as(ours.overall), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(ours.share[:, 0], silent.double().mean(0))
        torch.testing.assert_close(ours.spread[:, 0], z.double().std(0, correction=0), rtol=1e-4, atol=1e-6)


def test_the_means_of_convolutions_are_those_of_unfolded_inputs():
    layers = [nn.Conv2d(3, 5, 3, padding=1, stride=2, bias=False), nn.BatchNorm2d(5), nn.ReLU()]
    model, x = nn.Sequential(*layers, nn.Flatten(), nn.Linear(80, 3)).eval(), torch.randn(6, 3, 8, 8)
    (lifts,) = seen(model, x)[Lifting()].values()
    columns = functional.unfold(x, 3, padding=1, stride=2).movedim(1, 2).flatten(0, 1)  # [samples x positions, 27]
    silent = (model[:3](x) == 0).movedim(1, -1).flatten(0, 2)
    expected = by_hand(columns, torch.zeros(5, 27), silent).reshape(5, 3, 3, 3)
    torch.testing.assert_close(lifts.silent, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(lifts.overall[2].flatten(), columns.double().mean(0), rtol=1e-5, atol=1e-6)


def test_sites_behind_a_sum_or_a_pool_are_not_seen():
    assert set(seen(residual_cnn(), torch.randn(4, 3, 8, 8))[Lifting()]) == {"stem.weight", "conv1.weight"}
    pooled = nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(18, 2))
    assert "0.weight" not in seen(pooled, torch.randn(4, 1, 8, 8))[Lifting()]


def scores(w, g, silent, *, overall=None, share=0.75, spread=2.0, **options):
    w, g, silent = (torch.tensor([row]) for row in (w, g, silent))
    overall = torch.zeros_like(silent) if overall is None else torch.tensor([overall])
    lifts = Lifts(
        silent.double(), overall.double(), torch.tensor([[share]]).double(), torch.tensor([[spread]]).double()
    )
    evidence = Evidence({Weights(): {"w": w}, Gradients(): {"w": g}, Lifting(): {"w": lifts}})
    return Awakening(**options)(evidence)["w"].tensor().reshape(-1).tolist()


def test_golden_numbers():
    # lift = -w m / 2: 0.5, 0.5, -0.5, 0; the odds against are 1/3: |w g| / (3 lift)
    found = scores([-1.0, 2.0, 1.0, -1.0], [0.3, 0.6, 0.1, 0.1], [1.0, -0.5, 1.0, 0.0])
    assert found == pytest.approx([0.2, 0.8, math.inf, math.inf])


def test_behind_a_norm_only_what_silent_outputs_have_more_of_lifts():
    arguments = ([-1.0, -1.0], [0.5, 0.5], [1.0, 1.0])
    assert scores(*arguments) == pytest.approx([1 / 3, 1 / 3])
    assert scores(*arguments, centred=True, overall=[0.5, 1.0]) == pytest.approx([2 / 3, math.inf])


def test_units_that_are_always_silent_go_first_and_never_silent_ones_never():
    assert scores([-1.0], [0.5], [1.0], share=1.0) == [0.0]
    assert scores([-1.0], [0.5], [1.0], share=0.0) == [math.inf]
    assert scores([-1.0], [0.5], [1.0], spread=0.0) == [math.inf]


def test_it_lifts_units_that_ap_would_not():
    """Of signed inputs a positive weight may keep a unit silent: without it the unit fires more often."""
    torch.manual_seed(0)
    x = torch.randn(500, 4) - torch.tensor([3.0, 0.0, 0.0, 0.0])
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    with torch.no_grad():
        model[0].weight[:, 0].abs_().add_(0.5)
    y = torch.randint(0, 2, (500,))
    evidence = seen(model, (x, y), probes=NEEDS)
    kept = select(Awakening()(evidence), 36 - 4)
    gone = ~kept["0.weight"]
    assert int(gone[:, 0].sum()) >= 3  # positive ones, which AP would never take
    before = float((model[1](model[0](x)) > 0).float().mean())
    with torch.no_grad():
        model[0].weight[gone] = 0
    assert float((model[1](model[0](x)) > 0).float().mean()) > before + 0.2


def test_the_last_layer_is_spared():
    model = mlp()
    evidence = seen(model, (torch.randn(30, 8), torch.randint(0, 3, (30,))), probes=NEEDS)
    result = Awakening()(evidence)
    assert bool(result["4.weight"].tensor().isinf().all())
    assert 0 < competing(result) < 16 * 8 + 16 * 16


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("cost", ["taylor", "square"])
def test_it_is_a_criterion(cost, centred):
    check_criterion(Awakening(cost, centred), toy_evidence(mlp(), probes=NEEDS, seed=3))
    check_criterion(Awakening(cost, centred), toy_evidence(probes=NEEDS))


def test_the_cost_may_be_the_square():
    assert scores([-1.0, 2.0], [0.3, 0.6], [1.0, -0.5], cost="square") == pytest.approx([1 / 1.5, 4 / 1.5])
    with pytest.raises(UnknownName, match="did you mean 'square'"):
        Awakening("squares")


def test_lifting_is_a_probe():
    check_probe(Lifting())
    with pytest.raises(InvalidValue, match="threshold"):
        Lifting(threshold=-1.0)
