"""What a cheaper search would have found, by candidates made by hand."""

import pytest
import torch
from torch import nn

from budbreak.search import Lagging
from reproductions.searching import SETTINGS, Setting, epochs_saved, measure, read_all, search_document
from reproductions.searching.comparing import (
    after,
    correlation,
    final,
    halved,
    halved_blindly,
    ranking_cost,
    reranked,
    said,
    stopped,
)
from reproductions.searching.measuring import Found, Measured
from reproductions.searching.rankers import RANKERS, Ranked, ranked

# after 1 epoch and at the end: the first is the best in the end, the third at the beginning; the last diverged
CURVES = [(0.3, 0.9), (0.2, 0.5), (0.4, 0.6), ()]


def made(curves=CURVES, values=(4.0, 2.0, 3.0, float("nan"))):
    said = [dict.fromkeys(RANKERS, Ranked(value, 0.01)) for value in values]
    candidates = [Measured(("tanh",), curve, ranks) for curve, ranks in zip(curves, said, strict=True)]
    setting = Setting("digits", "mlp", 0.9, 0, epochs=2)
    return Found(setting, tuple(candidates), 0.5, {"processor": "any", "cores": 2, "torch": "2"})


def test_a_correlation_is_that_of_ranks():
    # ranks of the final accuracies 4 2 3 1, after one epoch 3 2 4 1: 1 - 6 * (1 + 0 + 1 + 0) / (4 * 15) = 0.8
    assert correlation(made(), lambda one: after(one, 1)) == pytest.approx(0.8)
    assert correlation(made(), lambda one: said(one, "path norm")) == pytest.approx(1.0)
    assert correlation(made(), lambda one: 1.0) != correlation(made(), lambda one: 1.0)  # nan: nothing is told


def test_the_best_again_cost_their_epochs_and_may_miss_the_best():
    one, two = reranked(made(), 1, 1), reranked(made(), 1, 2)
    assert (one.epochs, two.epochs) == ((4 + 2) / 8, (4 + 4) / 8)
    assert (one.lost, two.lost) == (pytest.approx(0.3), 0.0)


def test_what_lags_behind_saves_epochs():
    curves = [(0.5, 0.9), (0.5, 0.9), (0.5, 0.9), (0.1, 0.2)]
    saved = 1 - stopped(made(curves), Lagging(startup=3)).epochs
    assert epochs_saved([made(curves)], Lagging(startup=3)) == saved
    assert 0 < saved < 1 / 8  # of 8 epochs one is saved, and only where the weak one comes last
    assert stopped(made(curves), Lagging(startup=3)).lost == 0
    assert epochs_saved([], Lagging()) == 0


def test_half_of_the_candidates_is_left_out():
    assert halved(made(), lambda one: said(one, "path norm")).lost == 0
    assert halved(made(), lambda one: -said(one, "path norm")).lost == pytest.approx(0.4)  # kept: 0.5, and nothing
    assert 0 < halved_blindly(made()).lost < 0.4
    assert ranking_cost(made(), "path norm") == pytest.approx(0.01 / (2 * 0.5))


def test_rankers_tell_a_live_network_from_a_dead_one():
    torch.manual_seed(0)
    live = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
    dead = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    with torch.no_grad():
        dead[0].weight.zero_()
    inputs, labels = torch.randn(20, 4), torch.arange(20) % 3
    of_live, of_dead = ranked(live, inputs, labels), ranked(dead, inputs, labels)
    said = {name: (of_live[name].value, of_dead[name].value) for name in RANKERS}
    assert said["dead units"] == (0.0, 1.0)
    assert said["effective rank"][1] == 0.0 < said["effective rank"][0]
    assert said["log-determinant"][1] < said["log-determinant"][0]
    ones = torch.ones(1, 4) @ live[0].weight.abs().T
    paths = (ones.tanh() @ live[2].weight.abs().T).sum()
    assert said["path norm"][0] == pytest.approx(float(paths.detach().log10()), rel=1e-5)  # float32 here, float64 there
    assert all(parameter.grad is None for parameter in live.parameters())


def test_a_setting_is_measured_once_and_read(tmp_path):
    setting = Setting("digits", "mlp", 0.9, 0, limit=64, dense=1, epochs=2, candidates=3)
    path = measure(setting, tmp_path / "found", store=tmp_path / "store", data_dir=None, most=2)
    (found,) = read_all(tmp_path / "found")
    assert found.setting == setting
    assert len(found.candidates) == 2
    assert [len(one.accuracies) for one in found.candidates] == [2, 2]
    assert final(found.candidates[0]) == found.candidates[0].accuracies[1]
    written = path.read_bytes()
    assert measure(setting, tmp_path / "found", store=tmp_path / "store", data_dir=None) == path
    assert path.read_bytes() == written


def test_the_page_shows_every_ranker_and_setting(tmp_path):
    text = search_document([made([(*curve[:1], *curve) for curve in CURVES])])  # three epochs, the first of them twice
    assert "| mlp, 90 %, seed 0 | +0.80 | +0.80 | +1.00 |" in text
    assert all(f"| {name} | +1.00 | 1.00 % |" in text for name in RANKERS)
    assert "Nothing was measured yet" in search_document([])
    assert len({setting.name for setting in SETTINGS}) == len(SETTINGS)
