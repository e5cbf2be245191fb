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


def handed_out(run):
    graph = bb.trace(Net(run, a=nn.Linear(4, 4), b=nn.Linear(4, 4)), X)
    return {name: [node.call for node in graph.handed_out(f"{name}.weight")] for name in "ab"}


def test_numbers_that_may_come_back_are_told_from_what_nobody_takes():
    assert handed_out(lambda net, x: net.b(torch.tensor(relu(net.a(x)).tolist()))) == {"a": ["relu"], "b": []}
    assert handed_out(lambda net, x: net.b(torch.as_tensor(np.tanh(net.a(x).detach().numpy())))) == {
        "a": ["detach"],
        "b": [],
    }
    assert handed_out(lambda net, x: net.b(x * float(net.a(x).sum()))) == {"a": ["sum"], "b": []}
    assert handed_out(lambda net, x: net.b(x if net.a(x).sum() > 0 else -x)) == {"a": ["gt"], "b": []}
    assert handed_out(lambda net, x: (net.a(x), net.b(x))[1]) == {"a": [], "b": []}, "nobody takes it"
    assert handed_out(lambda net, x: (net.a(x).norm().item(), net.a(net.b(x)))[1]) == {"a": [], "b": []}
    assert handed_out(lambda net, x: net.b(x + torch.from_numpy(net.a(x).numpy()))) == {"a": [], "b": []}


def test_what_goes_on_as_numbers_is_fixed_and_a_number_of_all_is_not():
    def why(run):
        model = Net(run, a=nn.Linear(4, 4), b=nn.Linear(4, 4))
        groups = bb.trace(model, torch.randn(2, 4)).groups()
        return next(group.fixed for group in groups if group.members[0].name == "a.weight")

    assert why(lambda net, x: net.b(torch.tensor(net.a(x).tolist()))).startswith("goes on as numbers from linear in a")
    assert why(lambda net, x: net.b(net.a(x) / net.a(x).norm().item())) == ""
