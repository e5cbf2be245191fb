"""A layer without units, or without inputs, has nothing to prune: all is as it is without that layer."""

import copy

import pytest
import torch
from small_networks import BATCHES, X
from torch import nn
from torch.nn.functional import cross_entropy

import budbreak as bb
from budbreak.contrib import DeadFirst
from budbreak.diagnostics import Connectivity
from budbreak.live import measure
from budbreak.masks import Mask

C = bb.criteria
CRITERIA = [
    C.Magnitude(), C.Lamp(), C.Lookahead(), C.Taylor(), C.Wanda(), C.RIA(), C.APoZ(), C.GraSP(), C.SynFlow(rounds=2),
    DeadFirst(),
]  # fmt: skip


class Beside(nn.Module):
    """Two layers, beside the first of which lies one that gives, or takes, nothing."""

    def __init__(self, empty):
        super().__init__()
        self.first, self.last, self.empty = nn.Linear(8, 6), nn.Linear(6, 3), empty
        self.double()

    def forward(self, x):
        hidden = torch.relu(self.first(x))
        if self.empty is None:
            return self.last(hidden)
        if self.empty.in_features:
            return self.last(torch.cat([hidden, torch.relu(self.empty(x))], 1))
        return self.last(hidden) + self.empty(x[:, :0])


@pytest.fixture
def networks():
    """The same network without such a layer, and with one of either sort."""
    plain = Beside(None)
    with pytest.warns(UserWarning, match="zero-element"):
        found = [Beside(nn.Linear(8, 0)), Beside(nn.Linear(0, 3, bias=False))]
    for network in found:
        network.load_state_dict(plain.state_dict(), strict=False)
    return plain, found


@pytest.mark.parametrize("criterion", CRITERIA, ids=lambda criterion: type(criterion).__name__)
@pytest.mark.parametrize("granularity", [bb.Element(), bb.Unit()], ids=["element", "unit"])
def test_layers_of_size_zero_change_no_mask(criterion, granularity, networks):
    plain, others = networks
    options = {"sparsity": 0.3, "criterion": criterion, "granularity": granularity}
    options |= {"batches": BATCHES, "loss": cross_entropy}
    masks = [bb.prune(copy.deepcopy(network), **options) for network in (plain, *others)]
    assert masks[0] == masks[1] == masks[2]


def test_the_graph_of_a_network_with_layers_of_size_zero(networks):
    plain, others = networks
    mask = bb.prune(plain, sparsity=0.7, floor=1)
    expected = measure(plain, [Connectivity()], batches=[X], mask=mask).numbers
    macs = [sum(bb.trace(plain, X).macs(given)) for given in (None, mask)]
    for network in others:
        graph = bb.trace(network, X)
        assert "first" in str(graph)
        assert [sum(graph.macs(given)) for given in (None, mask)] == macs
        whole = Mask({**mask, "empty.weight": torch.ones(network.empty.weight.shape)})
        assert sum(graph.macs(whole)) == macs[1]
        assert graph.reachable(whole).connected.kept == graph.reachable(mask).connected.kept
        assert measure(network, [Connectivity()], batches=[X], mask=mask).numbers == expected
