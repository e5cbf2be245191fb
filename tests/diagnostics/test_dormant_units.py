"""Dormant units: worked by hand, and beside the published code's rule."""

import pytest
import torch
from torch import nn

from budbreak.diagnostics import DormantUnits
from budbreak.errors import InvalidValue, NoSites
from budbreak.evidence import Evidence, MeanActivations, SiteMeans
from budbreak.graph import Feed, Site
from budbreak.live import measure
from budbreak.masks import Mask, UnitLayout
from budbreak.testing import residual_cnn


def measured(*sites, mask, **options):
    """The numbers for sites given as (weight or None, mean magnitudes)."""
    means = {}
    for order, (weight, magnitudes) in enumerate(sites):
        feed = Feed(weight, UnitLayout(0)) if weight else None
        site = Site(f"site{order}", feed, (-1,), order)
        means[site.name] = SiteMeans(site, torch.tensor(magnitudes, dtype=torch.float64))
    return DormantUnits(**options)(Evidence({MeanActivations(): means}), Mask(mask))


def test_golden_numbers():
    kept = torch.tensor([[True, True], [False, False], [True, False], [False, True]])
    # the mean is 1: 0.1 is on the limit; the second unit keeps no weight. The other site's mean is 4: all are above 0.4
    found = measured(("fc", [0.1, 0.0, 1.9, 2.0]), (None, [2.0, 6.0]), mask={"fc": kept}, tau=0.1)
    assert found.numbers == {"dormant_units": 2 / 6, "dormant_units_alive": 1 / 5}
    assert found.layers == {"fc": {"dormant_units": 2 / 4, "dormant_units_alive": 1 / 3}}


def test_the_default_is_that_of_the_paper():
    site = ("fc", [0.024, 0.026, 1.975, 1.975])  # mean 1
    assert measured(site, mask={"fc": torch.ones(4, 2).bool()}).numbers["dormant_units"] == 1 / 4


def test_of_a_site_that_gives_nothing_all_units_are_dormant():
    nothing = torch.zeros(2, 3).bool()
    found = measured(("fc", [0.0, 0.0]), mask={"fc": nothing}, tau=0.0)
    assert found.numbers == {"dormant_units": 1.0, "dormant_units_alive": 0.0}


def test_a_network_is_measured_over_samples_and_positions():
    model, x = residual_cnn().eval(), torch.randn(6, 3, 8, 8)
    seen = {}
    for name in ("relu", "relu1", "relu2"):
        model.get_submodule(name).register_forward_hook(lambda _, given, output, name=name: seen.update({name: output}))
    model(x)
    scores = []
    for outputs in seen.values():
        score = outputs.abs().mean((0, 2, 3))
        scores.append(score / (score.mean() + 1e-9))  # as the published code does
    expected = float((torch.cat(scores) <= 0.9).double().mean())
    found = measure(model, [DormantUnits(tau=0.9)], batches=[x[:4], x[4:]])
    assert 0 < expected < 1
    assert found.numbers["dormant_units"] == pytest.approx(expected, abs=1e-12)
    assert set(found.layers) == {"stem.weight", "conv1.weight"}


def test_smooth_nonlinearities_have_an_answer_and_no_nonlinearity_has_none():
    model = nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 2))
    assert 0 <= measure(model, [DormantUnits()], batches=[torch.randn(9, 4)]).numbers["dormant_units"] < 1
    with pytest.raises(NoSites):
        measure(nn.Linear(4, 2), [DormantUnits()], batches=[torch.randn(9, 4)])
    with pytest.raises(NoSites, match="no site was reached"):
        measured(mask={"fc": torch.ones(2, 2).bool()})
    with pytest.raises(InvalidValue, match="tau is -1"):
        DormantUnits(-1.0)
