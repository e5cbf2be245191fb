"""What wakes units is seen on all ranks' batches together."""

import torch
from launching import launch
from torch.nn.functional import cross_entropy

import budbreak as bb
from budbreak.contrib import WakingSlopes
from budbreak.evidence import Graph
from budbreak.testing import mlp, separable

X, Y = separable(60, noise=1.0)


def seen_in(batches, group):
    """Slopes as lists, and the graph."""
    probes = [WakingSlopes(0.4), Graph()]
    evidence = bb.probe(mlp(), probes, batches=batches, loss=cross_entropy, group=group)
    return {name: slope.tolist() for name, slope in evidence[probes[0]].items()}, str(evidence[Graph()])


def shared(rank):
    uneven = [(X[:10], Y[:10])] if rank == 0 else [(X[10:40], Y[10:40]), (X[40:], Y[40:])]
    return [seen_in(uneven, None), seen_in([(X, Y)] if rank == 1 else [], None)]


def test_slopes_are_those_of_all_batches_together(tmp_path):
    first, second = launch(shared, tmp_path)
    assert first == second
    expected, graph = seen_in([(X, Y)], "alone")
    assert any(torch.tensor(slope).any() for slope in expected.values())
    for slopes, mine in first:
        assert mine == graph
        for name, numbers in expected.items():  # float32, summed in another order
            torch.testing.assert_close(torch.tensor(slopes[name]), torch.tensor(numbers), rtol=1e-4, atol=1e-6)
