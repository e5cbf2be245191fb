import math

import pytest
import torch
from torch import nn
from torch.nn import functional

import budbreak as bb
from budbreak.diagnostics import DeadUnits, GradientNorm, Measurement, Quantity, joined, needed, quantities_of
from budbreak.errors import InvalidValue, MaskMismatch, NoSites
from budbreak.evidence import Gradients, UnitCounts, Unseen, Weights, probe
from budbreak.live import measure
from budbreak.masks import select
from budbreak.testing import mlp, residual_cnn, toy_evidence

BATCHES = [(torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0, 1, 2]))]


def half(model):
    """Half of the weights, by magnitude."""
    scores = bb.criteria.Magnitude()(probe(model, bb.criteria.Magnitude.needs))
    return select(scores, keep=sum(p.numel() for n, p in model.named_parameters() if p.dim() > 1) // 2)


def test_dead_units_are_those_of_the_verb():
    model = residual_cnn()
    mask = half(model)
    rates = bb.dead_neurons(model, BATCHES, mask=mask)
    found = measure(model, [DeadUnits()], batches=BATCHES, mask=mask)
    assert found.numbers == {
        "dead_units_total": rates.total,
        "dead_units_static": rates.static,
        "dead_units_dynamic": rates.dynamic,
        "dead_units_permanent": rates.permanent,
        "dead_units_dynamic_alive": rates.dynamic_alive,
    }
    by_weight = {site.weight: site for site in rates.sites if site.weight}
    assert set(found.layers) == set(by_weight) == {"stem.weight", "conv1.weight"}  # fc and conv2 feed no site alone
    for name, numbers in found.layers.items():
        site = by_weight[name]
        assert set(numbers) == {f"dead_units_{rate}" for rate in ("total", "static", "dynamic", "permanent")}
        assert [numbers[f"dead_units_{rate}"] for rate in ("total", "static", "dynamic")] == [
            site.total, site.static, site.dynamic,
        ]  # fmt: skip


def test_of_two_sites_that_one_weight_feeds_the_first_is_its_layers():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.first, self.second = nn.Linear(4, 4, bias=False), nn.ReLU(), nn.ReLU6()

        def forward(self, x):
            return self.second(self.fc(self.first(self.fc(x)) - 9))

    model = Twice()
    rates = bb.dead_neurons(model, [torch.randn(8, 4)])
    assert [site.weight for site in rates.sites] == ["fc.weight", "fc.weight"]
    assert rates.sites[0].total != rates.sites[1].total
    torch.manual_seed(0)
    batches = [torch.randn(8, 4)]
    found = measure(model, [DeadUnits()], batches=batches)
    first = bb.dead_neurons(model, batches).sites[0]
    assert found.layers["fc.weight"]["dead_units_total"] == first.total


def test_the_threshold_is_that_of_the_counts():
    model = nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 2))
    batches = [torch.randn(20, 4)]
    found = measure(model, [DeadUnits(threshold=0.1)], batches=batches)
    assert found.numbers["dead_units_total"] == bb.dead_neurons(model, batches, threshold=0.1).total > 0
    with pytest.raises(NoSites, match="threshold is 0, and smooth"):
        measure(model, [DeadUnits()], batches=batches)
    with pytest.raises(InvalidValue, match="threshold is -1"):
        DeadUnits(threshold=-1)


def test_the_gradient_norm_is_that_of_autograd():
    model = residual_cnn().double()
    mask = half(model)
    x, y = BATCHES[0]
    found = measure(model, [GradientNorm()], batches=[(x.double(), y)], mask=mask, loss=functional.cross_entropy)
    model.eval()
    functional.cross_entropy(model(x.double()), y).backward()
    squares = {
        name: sum(float(g) ** 2 for g, kept in zip(p.grad.flatten(), mask[name].flatten(), strict=True) if kept)
        for name, p in model.named_parameters()
        if name in mask
    }
    assert found.numbers["gradient_norm"] == pytest.approx(math.sqrt(sum(squares.values())), rel=1e-9)
    flow = sum(map(math.sqrt, squares.values())) / len(squares)
    assert found.numbers["effective_gradient_flow"] == pytest.approx(flow, rel=1e-9)
    layers = {name: numbers["gradient_norm"] for name, numbers in found.layers.items()}
    assert layers == pytest.approx({name: math.sqrt(square) for name, square in squares.items()}, rel=1e-9)


def test_pruned_weights_do_not_count():
    evidence = toy_evidence(mlp())
    names = list(evidence[Gradients()])
    nothing = bb.Mask({name: torch.zeros_like(g, dtype=torch.bool) for name, g in evidence[Gradients()].items()})
    assert GradientNorm()(evidence, nothing).numbers["gradient_norm"] == 0.0
    strange = bb.Mask({"other.weight": torch.ones(2, 2)})
    with pytest.raises(MaskMismatch, match=r"'other\.weight', of which no gradient"):
        GradientNorm()(evidence, strange)
    part = bb.Mask({names[0]: torch.ones_like(evidence[Gradients()][names[0]], dtype=torch.bool)})
    expected = float(evidence[Gradients()][names[0]].double().norm())
    assert GradientNorm()(evidence, part).numbers == pytest.approx(
        {"gradient_norm": expected, "effective_gradient_flow": expected}
    )


def test_a_mask_without_entries_has_no_gradient():
    assert GradientNorm()(toy_evidence(mlp()), bb.Mask({})).numbers["effective_gradient_flow"] == 0.0


@pytest.mark.parametrize("name", ["", "total DNR", "2nd", "a-b", "a.b", "\u03bb"])
def test_a_quantity_is_a_column(name):
    with pytest.raises(InvalidValue, match="letters, digits and _"):
        Quantity(name, "anything")


def test_the_nearest_name_is_offered():
    with pytest.raises(InvalidValue, match="write 'total_DNR'"):
        Quantity("total DNR!", "total DNR")


def test_needs_are_joined_and_names_kept_apart():
    both = [DeadUnits(), GradientNorm(), DeadUnits(threshold=0.1)]
    assert needed(both) == (UnitCounts(), Unseen(), Weights(), Gradients(), UnitCounts(0.1))
    names = [quantity.name for quantity in quantities_of(both[:2])]
    assert names[:2] + names[-1:] == ["dead_units_total", "dead_units_static", "effective_gradient_flow"]
    with pytest.raises(InvalidValue, match="two diagnostics measure 'dead_units_total'"):
        quantities_of(both)


def test_measurements_are_joined_weight_by_weight():
    one = Measurement({"a": 1.0}, {"x": {"a": 1.0}, "y": {"a": 2.0}})
    other = Measurement({"b": 3.0}, {"y": {"b": 4.0}})
    assert joined([one, other]) == Measurement({"a": 1.0, "b": 3.0}, {"x": {"a": 1.0}, "y": {"a": 2.0, "b": 4.0}})
    assert one.layers["y"] == {"a": 2.0}
    assert joined([]) == Measurement({}, {})
