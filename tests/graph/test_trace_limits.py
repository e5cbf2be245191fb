"""What a trace cannot look into is named and cuts nothing off; what cannot be traced says where."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from traced import Net, ancestors, rows

import budbreak as bb
from budbreak.errors import CannotTrace, InvalidValue, UnknownName
from budbreak.graph import Kind

X = torch.randn(2, 4)


class Opaque(torch.autograd.Function):
    """What nobody can look into, as a kernel of somebody's own would be."""

    @staticmethod
    def forward(ctx, x):
        return torch.from_numpy(x.detach().numpy() * 1.0)


def test_an_operation_outside_of_torch_is_named_and_cuts_nothing_off():
    model = Net(lambda net, x: net.b(functional.relu(Opaque.apply(net.a(x)))), a=nn.Linear(4, 3), b=nn.Linear(3, 3))
    graph = bb.trace(model, X)
    assert [node.weight for node in graph.nodes if node.index in ancestors(graph, len(graph.nodes) - 1)][
        1
    ] == "a.weight"
    (said,) = graph.unseen
    assert said.startswith("an operation outside of torch's functions that gave what enters relu in the model itself (")


@pytest.mark.parametrize("behind", [nn.Linear(3, 3), nn.ReLU(), nn.Sequential(nn.Linear(3, 3))], ids=["0", "1", "2"])
def test_what_is_given_to_a_module_from_outside_comes_from_what_was_there_before(behind):
    model = Net(lambda net, x: net.b(torch.from_numpy(net.a(x).detach().numpy())), a=nn.Linear(4, 3), b=behind)
    graph = bb.trace(model, X)
    assert "a.weight" in [graph.nodes[index].weight for index in ancestors(graph, len(graph.nodes) - 1)]


class Numpy(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 4))

    def forward(self, x):
        return torch.from_numpy(np.maximum(x.detach().numpy() @ self.weight.detach().numpy(), 0))


def test_a_module_outside_of_torch_is_one_node_with_its_weights():
    graph = bb.trace(nn.Sequential(nn.Linear(4, 4), Numpy(), nn.Linear(4, 2)), X)
    (node,) = [node for node in graph.nodes if node.kind == Kind.OPAQUE]
    assert (node.call, node.owner, node.weights) == ("Numpy", "1", ("1.weight",))
    assert 1 in ancestors(graph, node.index)
    assert graph.unseen == ("what Numpy computes in 1",)
    assert graph.uncalled == ()


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_a_scripted_part_is_one_node_and_a_scripted_whole_is_refused():
    part = torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.ReLU()))
    graph = bb.trace(nn.Sequential(nn.Linear(4, 4), part), X)
    assert rows(graph)[2] == ("opaque", "1.0.weight", (1,))
    assert len(graph.unseen) == 1
    with pytest.raises(CannotTrace, match="RecursiveScriptModule cannot be traced") as caught:
        bb.trace(part, X)
    assert "trace the module that was scripted" in str(caught.value)


class Shy(nn.Linear):
    """Fails where somebody looks."""

    def forward(self, x):
        if torch._C._len_torch_function_stack():
            raise RuntimeError("not under a mode")
        return super().forward(x)


def test_a_model_that_cannot_be_traced_says_where_and_how_to_mark_it():
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(Shy(4, 4), nn.ReLU()), nn.Linear(4, 2))
    with pytest.raises(CannotTrace, match=r"in 1\.0: RuntimeError: not under a mode \(.*_limits.py, line") as caught:
        bb.trace(model, X)
    assert caught.value.fix.endswith("opaque=['1.0'])")
    assert not any(m._forward_hooks for m in model.modules())


def test_a_module_that_is_marked_is_one_node():
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.Linear(4, 2))
    graph = bb.trace(model, X, opaque=["1"])
    assert rows(graph) == [
        ("input", "input", ()),
        ("layer", "0.weight", (0,)),
        ("opaque", "1.0.weight", (1,)),
        ("layer", "2.weight", (2,)),
        ("output", "", (3,)),
    ]
    assert (graph.sites, graph.unseen, graph.uncalled) == ((), ("what Sequential computes in 1",), ())
    with pytest.raises(UnknownName, match="which is no module of Sequential"):
        bb.trace(model, X, opaque=["1.O"])


@pytest.mark.parametrize(
    ("example", "words"),
    [(torch.randn(2, 5), "does not take the example: mat1"), ("text", "holds no tensor"), (X[:0], "no sample")],
    ids=["shape", "text", "empty"],
)
def test_an_example_that_the_model_does_not_take_is_refused(example, words):
    with pytest.raises(InvalidValue, match=words):
        bb.trace(nn.Linear(4, 2), example)


def test_a_forward_that_raises_or_is_none_is_refused():
    with pytest.raises(InvalidValue, match="forward, given float32"):
        bb.trace(nn.Linear(4, 2), X, lambda net, batch: net(batch.no_such_thing))
    with pytest.raises(InvalidValue, match="forward"):
        bb.trace(nn.Linear(4, 2), X, "forward")
    with pytest.raises(InvalidValue, match="model is"):
        bb.trace([nn.Linear(4, 2)], X)


def test_what_is_no_list_of_paths_is_refused():
    model = nn.Sequential(nn.Linear(4, 2), nn.ReLU())
    with pytest.raises(InvalidValue, match=r"opaque is '1'\n.*\nwrite \['1'\]"):
        bb.trace(model, X, opaque="1")
    with pytest.raises(UnknownName, match="opaque names 1, which is no module"):
        bb.trace(model, X, opaque=[1])
