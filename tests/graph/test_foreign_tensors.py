"""Tensors that are not plain: transformed by torch.func, nested, sparse, written to through .data."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from traced import Net, ancestors

import budbreak as bb
import forking
from budbreak.errors import CannotTrace, NoSites
from budbreak.graph import Kind
from budbreak.masks import Mask

X = torch.randn(3, 4)


def net(run):
    return Net(run, a=nn.Linear(4, 4), b=nn.Linear(4, 4))


def nested(net, x):
    ragged = torch.nested.nested_tensor([x[:2], x[:1]], layout=torch.jagged)
    return net.b(functional.relu(net.a(ragged))).to_padded_tensor(0.0)


def gradient(net, x):
    return net.b(torch.func.grad(lambda t: net.a(t).relu().sum())(x))


PASSED = {
    "a function": (lambda net, x: net.b(torch.vmap(functional.relu)(net.a(x))), "F.relu", "torch.func", []),
    "layers": (lambda net, x: torch.vmap(lambda row: net.b(net.a(row).relu()))(x), ".relu()", "torch.func", "ab"),
    "a gradient": (gradient, ".relu()", "torch.func", "a"),
    "nested": (nested, "F.relu", "on nested tensors", "ab"),
}


@pytest.mark.parametrize("name", PASSED)
@pytest.mark.filterwarnings("ignore:.*[Nn]ested")
def test_what_runs_on_other_tensors_is_named_and_its_weights_are_an_opaque_node_s(name):
    run, call, why, weights = PASSED[name]
    model = net(run)
    graph = bb.trace(model, X)
    assert graph.unseen[0].startswith(f"{call} called in the model itself (test_foreign_tensors.py:")
    assert why in graph.unseen[0]
    assert (graph.sites, graph.uncalled) == ((), ())
    held = {weight for node in graph.nodes if node.kind == Kind.OPAQUE for weight in node.weights}
    assert held == {f"{layer}.weight" for layer in weights}
    assert graph.nodes[0].kind == Kind.INPUT
    assert 0 in ancestors(graph, len(graph.nodes) - 1)
    assert graph.reachable(Mask.dense(model)).classes[0].all()
    with pytest.raises(NoSites, match="instead there was"):
        bb.dead_neurons(model, [X, X])


@pytest.mark.filterwarnings("ignore:.*[Nn]ested")
def test_sites_beside_a_transform_are_seen_in_every_pass():
    model = net(lambda net, x: torch.vmap(torch.tanh)(net.b(functional.relu(net.a(x)))))
    result = bb.dead_neurons(model, [X, X[:1]])
    assert [(site.site, site.samples) for site in result.sites] == [("relu", 4)]
    model = net(lambda net, x: nested(net, x).flatten(1) + functional.relu(net.a(x[:2])).sum())
    assert [(site.site, site.samples) for site in bb.dead_neurons(model, [X, X]).sites] == [("relu", 4)]


class Activated(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.act = nn.Linear(4, 4), nn.ReLU()

    def forward(self, x):
        return torch.vmap(self.act)(self.act(self.a(x)))


def test_a_module_that_is_called_under_a_transform_and_outside_is_a_site_outside():
    assert [site.name for site in bb.trace(Activated(), X).sites] == ["act"]
    (site,) = bb.dead_neurons(Activated(), [X, X]).sites
    assert site.samples == 6


@pytest.mark.filterwarnings("ignore:.*[Nn]ested")
def test_a_nested_output_is_refused():
    model = net(lambda net, x: net.a(torch.nested.nested_tensor([x[:2], x[:1]])))
    with pytest.raises(CannotTrace, match="what it returns was computed on nested tensors"):
        bb.trace(model, X)


def write(change):
    def run(net, x):
        hidden = net.a(x)
        change(hidden)
        return net.b(hidden)

    return run


def silence(hidden):
    hidden.data[:, 0] = 0


def replace(hidden):
    hidden.data = hidden.data.relu()


@pytest.mark.parametrize("change", [silence, replace, lambda hidden: hidden.data.relu_()], ids=["[]", "=", "relu_"])
def test_what_is_written_through_data_is_seen(change):
    graph = bb.trace(net(write(change)), X)
    (written,) = [node for node in graph.nodes if node.call in ("__setitem__", "relu")]
    (last,) = [node for node in graph.nodes if node.weight == "b.weight"]
    assert written.index in ancestors(graph, last.index)
    assert 1 in ancestors(graph, last.index)


def test_memory_that_is_used_again_is_no_write():
    def run(net, x):
        for _ in range(5):
            torch.zeros(3, 4).add_(net.a(x))
        return net.b(net.a(x))

    graph = bb.trace(net(run), X)
    assert [node.call for node in graph.nodes[-3:]] == ["linear", "linear", ""]
    assert not any(node.call == "in place" for node in graph.nodes)


@pytest.mark.parametrize("dense", [True, False])
def test_a_sparse_product_with_a_weight_is_a_layer(dense):
    eye = torch.eye(4) if dense else torch.eye(4).to_sparse()
    graph = bb.trace(net(lambda net, x: net.b(torch.sparse.mm(x, net.a.weight.t()).relu())), eye)
    assert [node.weight for node in graph.nodes if node.kind == Kind.LAYER] == ["a.weight", "b.weight"]
    assert graph.sites[0].feed.weight == "a.weight"
    assert [(link.source, link.target) for link in graph.links][1] == ("a.weight", "b.weight")


def test_what_runs_inside_of_control_flow_is_named():
    graph = bb.trace(net(lambda net, x: net.b(torch.cond(x.sum() > 0, lambda t: t.relu(), torch.tanh, (net.a(x),)))), X)
    assert any(said.startswith("what cond computes in the model itself (test_foreign") for said in graph.unseen)


def test_control_flow_is_traced_in_a_new_process_too():
    """The first time, it is compiled, and the recorder itself must not be."""
    assert forking.end(forking.start(test_what_runs_inside_of_control_flow_is_named)) == 0
