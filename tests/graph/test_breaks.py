"""Where a graph loses what a weight computes."""

import numpy as np
import torch
from torch import nn
from torch.nn.functional import relu
from traced import Net

import budbreak as bb
from budbreak.graph import said_nodes

X = torch.randn(2, 4)


def lost(run, **options):
    model = Net(run, a=nn.Linear(4, 4), b=nn.Linear(4, 4))
    graph = bb.trace(model, X)
    return {name: [node.call for node in graph.lost(f"{name}.weight", **options)] for name in "ab"}


def test_what_leads_to_an_output_is_not_lost():
    assert lost(lambda net, x: net.b(relu(net.a(x)))) == {"a": [], "b": []}
    assert lost(lambda net, x: (net.b(x), [net.a(x).detach()])) == {"a": [], "b": []}
    assert lost(lambda net, x: net.b(x)) == {"a": [], "b": []}, "what is never called is `uncalled`"
    assert lost(lambda net, x: net.b(x + torch.from_numpy(net.a(x).numpy()))) == {"a": ["linear"], "b": []}


def test_where_it_ends_is_where_it_was_last_seen():
    assert lost(lambda net, x: net.b(torch.tensor(relu(net.a(x)).tolist()))) == {"a": ["relu"], "b": []}
    assert lost(lambda net, x: (net.a(x).sum(), net.b(x))[1]) == {"a": ["sum"], "b": []}
    # whatever nothing has taken so far may have entered what nobody saw
    assert lost(
        lambda net, x: (net.a(x).norm().item(), net.b(torch.from_numpy(np.tanh(relu(net.a(x)).numpy()))))[1]
    ) == {
        "a": ["norm", "relu"],
        "b": [],
    }


def test_autograd_loses_more_than_the_trace():
    def run(net, x):
        return net.b(net.a(x).detach())

    assert lost(run) == {"a": [], "b": []}
    assert lost(run, cut=True) == {"a": ["detach"], "b": []}
    assert lost(lambda net, x: net.b(net.a(x).data + net.a(x)), cut=True) == {"a": [], "b": []}


def test_equal_places_are_said_once():
    model = Net(lambda net, x: net.b(torch.tensor([[float(v) for v in row] for row in net.a(x)])), a=nn.Linear(4, 4),
                b=nn.Linear(4, 4))  # fmt: skip
    nodes = bb.trace(model, X).lost("a.weight")
    assert len(nodes) == 8
    assert said_nodes(nodes).startswith("unbind in the model itself (test_breaks.py:")
    assert said_nodes(nodes).count("unbind") == 1
