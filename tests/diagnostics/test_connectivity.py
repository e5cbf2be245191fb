"""What is connected: a chain worked by hand, real networks, and names."""

import pytest
import torch
from torch import nn

import budbreak as bb
from budbreak.diagnostics import Connectivity
from budbreak.errors import UnknownName
from budbreak.evidence import Graph
from budbreak.live import measure
from budbreak.masks import Mask
from budbreak.testing import mlp, residual_cnn


def measured(model, x, mask):
    return measure(model, [Connectivity()], batches=[x], mask=mask)


def chain(*entries):
    """Linear layers with a ReLU between, and a mask of these entries."""
    layers = []
    for entry in entries:
        layers += [nn.Linear(len(entry[0]), len(entry)), nn.ReLU()]
    names = [f"{2 * index}.weight" for index in range(len(entries))]
    mask = {name: torch.tensor(entry).bool() for name, entry in zip(names, entries, strict=True)}
    return nn.Sequential(*layers[:-1]), Mask(mask)


def test_a_chain_worked_by_hand():
    """Nothing enters unit 1, unit 2 has no exit; only unit 1 leads to the second class."""
    model, mask = chain([[1, 0], [0, 0], [1, 1]], [[1, 1, 0], [0, 1, 0], [1, 0, 0]])
    found = measured(model, torch.randn(4, 2), mask)
    assert found.numbers == {"connected_weights": 3 / 7, "reachable_classes": 2 / 3}
    assert found.layers == {"0.weight": {"connected_weights": 1 / 3}, "2.weight": {"connected_weights": 2 / 4}}


def test_what_a_dense_network_keeps_is_connected_and_an_empty_one_has_nothing():
    model, x = residual_cnn(), torch.randn(2, 3, 8, 8)
    dense = Mask.dense(model)
    assert measured(model, x, dense).numbers == {"connected_weights": 1.0, "reachable_classes": 1.0}
    nothing = measured(model, x, Mask({name: torch.zeros_like(dense[name]) for name in dense}))
    assert nothing.numbers == {"connected_weights": 0.0, "reachable_classes": 0.0}
    assert {numbers["connected_weights"] for numbers in nothing.layers.values()} == {0.0}


def test_a_weight_that_is_never_called_is_not_connected():
    model = mlp()
    model.never = nn.Linear(3, 3)
    found = bb.probe(model, [Graph()], batches=[torch.randn(2, 8)], forward=lambda net, x: net[:5](x))
    assert found[Graph()].uncalled == ("never.weight",)
    assert Connectivity()(found, Mask.dense(model)).layers["never.weight"] == {"connected_weights": 0.0}


def test_a_tied_weight_has_the_name_that_the_mask_gives_it():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
            self.second.weight = self.first.weight

        def forward(self, x):
            return self.second(torch.relu(self.first(x)))

    model = Tied()
    wanted = {"second.weight": lambda name, module, parameter: name == "second.weight"}
    for name, prunable in {"first.weight": bb.masks.conv_and_linear, **wanted}.items():
        graph = bb.probe(model, [Graph()], batches=[torch.randn(2, 4)], prunable=prunable)[Graph()]
        layers = [node for node in graph.nodes if node.weights]
        assert [node.weights for node in layers] == [(name,)] * 2
        assert graph.sites[0].feed.weight == name
        assert graph.reachable(Mask.dense(model, prunable)).connected.kept == 16


def test_a_mask_of_another_network_is_refused():
    with pytest.raises(UnknownName, match="covers 'fc9', which the graph lacks"):
        Connectivity()(bb.probe(mlp(), [Graph()], batches=[torch.randn(2, 8)]), Mask({"fc9": torch.ones(2, 2).bool()}))
