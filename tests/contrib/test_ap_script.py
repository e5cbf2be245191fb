"""The AP authors' script: each switch does what is said of it, and without any nothing of it happens."""

import itertools
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from budbreak.contrib import ApScript, Trainee, follow
from budbreak.contrib.ap_script_pruning import pruned_by_count, pruned_by_threshold
from budbreak.errors import InvalidValue
from budbreak.masks import Mask, conv_and_linear, every_weight

LEVELS = 2


def network(seed=0):
    torch.manual_seed(seed)
    layers = [nn.Conv2d(1, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(216, 10)]
    return nn.Sequential(*layers)


@dataclass
class Lab:
    """A network that is trained for a few steps, and the states from which each training began."""

    script: ApScript
    model: nn.Module = field(default_factory=network)
    begins: list[dict[str, Any]] = field(default_factory=list)
    optimizers: list[Any] = field(default_factory=list)

    def train(self, optimizer):
        self.begins.append({name: tensor.clone() for name, tensor in self.model.state_dict().items()})
        self.optimizers.append(optimizer)
        torch.manual_seed(len(self.begins))
        for _ in range(3):
            x, y = torch.randn(32, 1, 8, 8), torch.randint(0, 10, (32,))
            optimizer.zero_grad()
            functional.cross_entropy(self.model(x), y).backward()
            optimizer.step()

    def make(self):
        return torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)

    def levels(self, count=LEVELS):
        fresh = lambda level: dict(network(100 + level).named_parameters())  # noqa: E731
        return list(follow(self.script, Trainee(self.model, self.make, self.train, fresh), count))


def ran(**switches):
    lab = Lab(ApScript(**switches))
    return lab, lab.levels()


TOTAL = 6 * 9 + 216 * 10


def test_without_defects_it_keeps_what_it_says_and_rewinds_all():
    lab, levels = ran()
    first = lab.begins[0]
    alive = TOTAL
    for level in levels:
        assert level.mask == level.alive
        assert level.bias_drift == 0
        if level.level:
            alive -= round(0.2 * alive)
        assert level.mask.kept == alive
    assert len(lab.begins) == 1 + 2 * LEVELS
    for begin, mask in zip(lab.begins[1:], [0, 1, 1, 2], strict=True):
        for name, tensor in begin.items():
            entries = levels[mask].mask
            expected = first[name] * entries[name] if name in entries else first[name]
            assert torch.equal(tensor, expected), name
    assert len(set(map(id, lab.optimizers))) == 5  # a fresh one for each training


def test_kept_momentum_lets_what_was_pruned_grow_back_to_the_density_before():
    lab, levels = ran(keeps_momentum=True)
    _, clean = ran()
    assert [level.mask.kept for level in levels] == [level.mask.kept for level in clean]
    for before, level in itertools.pairwise(levels):
        assert level.alive == before.mask  # all that this level pruned is there again, and nothing else
        assert level.alive.kept > level.mask.kept
    assert [lab.optimizers.index(optimizer) for optimizer in lab.optimizers] == [0, 1, 1, 3, 3]


def test_shared_biases_keep_what_they_learn_from_the_second_rewinding_on():
    lab, levels = ran(shares_biases=True)
    biases = [name for name in lab.begins[0] if name.endswith("bias")]
    assert all(torch.equal(lab.begins[1][name], lab.begins[0][name]) for name in biases)
    for place in (2, 3, 4):
        assert all(not torch.equal(lab.begins[place][name], lab.begins[place - 1][name]) for name in biases)
    assert levels[2].bias_drift > levels[1].bias_drift > 0


def test_kept_statistics_are_not_rewound():
    lab, _ = ran(keeps_statistics=True)
    means = [begin["1.running_mean"] for begin in lab.begins]
    assert not means[0].any()
    assert all(not torch.equal(a, b) for a, b in itertools.pairwise(means))
    assert torch.equal(lab.begins[2]["4.bias"], lab.begins[0]["4.bias"])


def test_drawn_anew_each_level_has_its_own_weights_under_the_mask():
    lab, levels = ran(redraws=True)
    for level in (1, 2):
        draw = dict(network(100 + level).named_parameters())["4.weight"].detach()
        assert torch.equal(lab.begins[2 * level - 1]["4.weight"], draw * levels[level - 1].mask["4.weight"])
        assert torch.equal(lab.begins[2 * level]["4.weight"], draw * levels[level].mask["4.weight"])


def test_drawn_anew_shared_biases_start_from_the_draw():
    lab, levels = ran(redraws=True, shares_biases=True)
    assert torch.equal(lab.begins[3]["4.bias"], lab.begins[4]["4.bias"])
    assert levels[2].bias_drift > 0  # from another draw


def test_norms_are_pooled_only_where_they_are_pruned():
    _, levels = ran(pools_norms=True)
    assert list(levels[0].mask) == ["0.weight", "1.weight", "4.weight"]
    assert levels[1].mask.kept == TOTAL + 6 - round(0.2 * (TOTAL + 6))


def test_what_is_counted_twice_raises_what_goes():
    _, levels = ran(counts_twice=True)
    assert levels[1].mask.kept == TOTAL - round(0.2 * (TOTAL + 2160))  # the scale before the norm's bias is no weight
    _, levels = ran(counts_twice=True, pools_norms=True)
    assert levels[1].mask.kept == TOTAL + 6 - round(0.2 * (TOTAL + 6 + 2160 + 6))


def test_without_ap_the_host_removes_all():
    assert [level.mask.kept for level in ran(q=0.0)[1]] == [level.mask.kept for level in ran()[1]]
    assert ran(q=0.0)[1][1].mask != ran()[1][1].mask


# --- what goes ---------------------------------------------------------------------------------------------


def trained(prunable=conv_and_linear, seed=3):
    """A network, its mask, and where its weights came from."""
    model = network(seed)
    start = {name: tensor.clone() for name, tensor in network(seed + 1).state_dict().items()}
    return model, Mask.dense(model, prunable), start


def flat(model, mask, start):
    names = list(mask)
    parameters = dict(model.named_parameters())
    weights = torch.cat([parameters[name].detach().reshape(-1) for name in names]).numpy()
    return weights, torch.cat([start[name].reshape(-1) for name in names]).numpy()


def entries(mask):
    return torch.cat([mask[name].reshape(-1) for name in mask]).numpy()


@pytest.mark.parametrize("prunable", [conv_and_linear, every_weight])
def test_the_thresholds_of_the_script_take_one_more(prunable):
    """Against the script's own formulas, over one flat array of all weights."""
    model, mask, start = trained(prunable)
    w, s = flat(model, mask, start)
    host = np.abs(w) >= np.percentile(np.abs(w), 18)
    k = int(len(w) * 0.02)
    moved = np.abs(w - s)
    cut = np.sort(moved[host & (w < 0)])[k]
    expected = host & ~((moved <= cut) & (w < 0))
    ours = pruned_by_threshold(model, mask, start, shares=(0.2, 0.02), twice=False)
    assert np.array_equal(entries(ours), expected)
    assert host.sum() - expected.sum() == k + 1


def test_by_count_the_smallest_go_and_then_the_least_moved_negative():
    model, mask, start = trained()
    w, s = flat(model, mask, start)
    by_ap = math.floor(0.02 * len(w))
    host = np.ones(len(w), bool)
    host[np.argsort(np.abs(w))[: round(0.2 * len(w)) - by_ap]] = False
    candidates = np.flatnonzero(host & (w < 0))
    expected = host.copy()
    expected[candidates[np.argsort(np.abs(w - s)[candidates])[:by_ap]]] = False
    ours = pruned_by_count(model, mask, start, shares=(0.2, 0.02), twice=False)
    assert np.array_equal(entries(ours), expected)


def test_ties_all_go_at_a_threshold():
    model, mask, start = trained()
    with torch.no_grad():
        for name in mask:
            parameter = dict(model.named_parameters())[name]
            start[name] = parameter.detach() + 1.0  # all moved by the same, up to rounding
            start[name][parameter < -0.05] = -1.0
            parameter[parameter < -0.05] = -2.0
    ours = pruned_by_threshold(model, mask, start, shares=(0.2, 0.02), twice=False)
    assert mask.kept - ours.kept > 1.5 * 0.2 * mask.kept


@pytest.mark.parametrize("prune", [pruned_by_count, pruned_by_threshold])
def test_too_few_negative_weights_are_refused(prune):
    model, mask, start = trained()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_()
    with pytest.raises(InvalidValue, match="negative weights of 0"):
        prune(model, mask, start, shares=(0.2, 0.02), twice=False)


@pytest.mark.parametrize("arguments", [{"q": 0.2}, {"p": 0.0}, {"q": -0.1}, {"p": 1.5}])
def test_shares_out_of_range_are_refused(arguments):
    with pytest.raises(InvalidValue):
        ApScript(**arguments)
