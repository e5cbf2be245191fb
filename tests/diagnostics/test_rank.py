"""The diagnostic of ranks, and the finding that draws spectra."""

import pytest
import torch
from torch import nn

import budbreak as bb
from budbreak.diagnostics import Rank, spectra_finding
from budbreak.errors import InvalidValue, MaskMismatch
from budbreak.live import measure
from budbreak.testing import mlp, residual_cnn, sample_findings

X = torch.randn(2, 3, 8, 8)


def test_numbers_are_those_of_the_verb():
    model = residual_cnn()
    mask = bb.prune(model, sparsity=0.5, criterion=bb.criteria.Magnitude(), granularity=bb.Unit(), floor=1)
    found, ranks = measure(model, [Rank()], batches=[X], mask=mask), bb.ranks(model, mask=mask)
    assert found.numbers == {
        "rank_share": ranks.total["numerical"] / ranks.total["full"],
        "rank": ranks.total["numerical"],
        "effective_rank": ranks.total["effective"],
        "stable_rank": ranks.total["stable"],
        "energy_rank": ranks.total["energy"],
    }
    assert 0 < found.numbers["rank_share"] < 1
    assert list(found.layers) == list(ranks)
    for name, layer in ranks.items():
        assert found.layers[name]["rank"] == layer.numerical
        assert found.layers[name]["rank_share"] == layer.numerical / layer.full
        assert found.layers[name]["stable_rank"] == layer.stable


def test_what_the_mask_prunes_is_zero_though_the_weight_is_not():
    model = mlp()
    entries = {name: torch.ones_like(p).bool() for name, p in model.named_parameters() if p.dim() > 1}
    entries["2.weight"][2:] = False
    found = measure(model, [Rank()], batches=[torch.randn(2, 8)], mask=bb.Mask(entries))
    assert found.layers["2.weight"]["rank"] == 2


def test_groups_and_transposed_convolutions_are_read_as_the_verb_reads_them():
    model = nn.Sequential(nn.Conv2d(3, 6, 3, groups=3), nn.ReLU(), nn.ConvTranspose2d(6, 4, 2))
    found = measure(model, [Rank()], batches=[X])
    ranks = bb.ranks(model)
    assert {name: numbers["effective_rank"] for name, numbers in found.layers.items()} == {
        name: layer.effective for name, layer in ranks.items()
    }


def test_a_mask_without_entries_and_one_that_does_not_fit():
    evidence = bb.probe(mlp(), Rank().needs)
    assert set(Rank()(evidence, bb.Mask({})).numbers.values()) == {0.0}
    with pytest.raises(MaskMismatch, match=r"covers 'fc9', which was not observed"):
        Rank()(evidence, bb.Mask({"fc9": torch.ones(2, 2).bool()}))


def test_spectra_are_rows_as_the_figure_draws_them():
    model = mlp()
    before = bb.ranks(model)
    after = {name: [value / 2 for value in values] for name, values in before.spectra.items()}
    found = spectra_finding({"before": before, "after": after}, "Spectra at the first prune")
    (sample,) = (finding for finding in sample_findings() if finding.kind == "spectra")
    assert (found.kind, list(found.columns), found.quantity) == ("spectra", list(sample.columns), sample.quantity)
    rows = found.rows()
    assert len(rows) == 2 * (8 + 16 + 3)
    assert rows[0] == {"arm": "before", "layer": "0.weight", "rank": 1, "value": before["0.weight"].spectrum[0]}
    assert rows[-1] == {"arm": "after", "layer": "4.weight", "rank": 3, "value": before["4.weight"].spectrum[2] / 2}


def test_a_figure_of_nothing():
    with pytest.raises(InvalidValue, match="there are no spectra"):
        spectra_finding({})
    with pytest.raises(InvalidValue, match="'w' are not sorted"):
        spectra_finding({"before": {"w": (1.0, 2.0)}})
