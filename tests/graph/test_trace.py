"""Each call of a forward pass is a node, with what enters it; worked out by hand."""

import copy
import random
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from traced import Net, ancestors, rows

import budbreak as bb
from budbreak.graph import Kind, replay
from budbreak.masks import UnitLayout

X = torch.randn(2, 4)
IMAGES = torch.randn(2, 4, 8, 8)
TOKENS = torch.randn(2, 5, 8)


def test_a_residual_block_by_hand():
    def run(net, x):
        x = functional.relu(net.stem(x))
        y = net.norm(net.conv(x))
        y += x
        return net.fc(net.relu(y).mean((2, 3)))

    model = Net(
        run, stem=nn.Conv2d(4, 6, 1), conv=nn.Conv2d(6, 6, 3, padding=1), norm=nn.BatchNorm2d(6), relu=nn.ReLU(),
        fc=nn.Linear(6, 3),
    )  # fmt: skip
    graph = bb.trace(model, IMAGES)
    assert rows(graph) == [
        ("input", "input", ()),
        ("layer", "stem.weight", (0,)),
        ("site", "relu#1", (1,)),  # a function, named apart from the module
        ("layer", "conv.weight", (2,)),
        ("norm", "norm.weight", (3,)),
        ("add", "add", (4, 2)),
        ("site", "relu", (5,)),
        ("pool", "mean", (6,)),
        ("layer", "fc.weight", (7,)),
        ("output", "", (8,)),
    ]
    assert graph.nodes[4].owner == "norm"
    assert [site.feed and site.feed.weight for site in graph.sites] == ["stem.weight", None]
    assert [node.unit_dims for node in graph.nodes] == [None, *[(-3,)] * 6, (-1,), (-1,), (-1,)]
    assert graph.nodes[2].where.startswith("test_trace.py:")
    assert graph.sites[0].where == graph.nodes[2].where
    assert graph.nodes[1].where == ""
    assert graph.consumers()[2] == (3, 5)
    assert [node.index for node in graph.nodes] == list(range(10))


def test_units_of_weights_and_groups():
    model = nn.Sequential(
        nn.Conv2d(4, 6, 3, groups=2), nn.ConvTranspose2d(6, 4, 2, groups=2), nn.Flatten(), nn.Linear(196, 2)
    )
    first, second, _, last = [node for node in bb.trace(model, IMAGES).nodes if node.kind in (Kind.LAYER, Kind.MOVE)]
    assert (first.units, first.groups, first.weight) == (UnitLayout(0), 2, "0.weight")
    assert (second.units, second.groups, second.weight) == (UnitLayout(1, 2), 2, "1.weight")
    assert (last.units, last.groups, last.weight) == (UnitLayout(0), 1, "3.weight")


def test_the_conv1d_of_gpt_has_its_units_in_columns():
    class Columns(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.randn(4, 6)), nn.Parameter(torch.zeros(6))

        def forward(self, x):
            return torch.addmm(self.bias, x, self.weight)

    node = bb.trace(Columns(), X).nodes[1]
    assert (node.kind, node.weight, node.units) == ("layer", "weight", UnitLayout(1))


def test_concatenation_counts_a_token_of_its_own():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.fc = nn.Parameter(torch.randn(1, 1, 8)), nn.Linear(8, 8)

        def forward(self, x):
            return torch.cat([self.first.expand(len(x), -1, -1), self.fc(x)], dim=1)

    graph = bb.trace(Tokens(), TOKENS)
    assert rows(graph) == [
        ("input", "input", ()),
        ("layer", "fc.weight", (0,)),
        ("constant", "first", ()),
        ("concat", "cat", (2, 1)),
        ("output", "", (3,)),
    ]
    assert [graph.nodes[i].shape for i in graph.nodes[3].inputs] == [(2, 1, 8), (2, 5, 8)]
    assert dict(graph.nodes[3].options) == {"dim": 1}


def test_a_gate_is_a_product_of_two():
    model = Net(
        lambda net, x: net.down(functional.silu(net.gate(x)) * net.up(x)),
        gate=nn.Linear(4, 6),
        up=nn.Linear(4, 6),
        down=nn.Linear(6, 4),
    )
    assert rows(bb.trace(model, X))[1:5] == [
        ("layer", "gate.weight", (0,)),
        ("site", "silu", (1,)),
        ("layer", "up.weight", (0,)),
        ("multiply", "mul", (2, 3)),
    ]


def test_attention_is_seen_from_inside():
    graph = bb.trace(nn.MultiheadAttention(8, 2, batch_first=True), (TOKENS, TOKENS, TOKENS))
    assert [node.weight for node in graph.nodes if node.kind == Kind.LAYER] == ["in_proj_weight", "out_proj.weight"]
    mixing = [node.kind for node in graph.nodes if node.kind in (Kind.ATTENTION, Kind.MATMUL)]
    assert mixing == ["matmul", "attention", "matmul"]  # scores, softmax, values
    assert (graph.uncalled, graph.unseen, graph.sites) == ((), (), ())


def test_cross_attention_names_its_packed_weight_twice():
    memory = TOKENS + 1
    graph = bb.trace(nn.MultiheadAttention(8, 2, batch_first=True), (TOKENS, memory, memory))
    layers = [(node.weight, node.units) for node in graph.nodes if node.kind == Kind.LAYER]
    assert layers == [(f"{name}_weight", UnitLayout(0)) for name in ("in_proj", "in_proj")] + [
        ("out_proj.weight", UnitLayout(0))
    ]


@pytest.mark.parametrize("batch_first", [True, False])
def test_transformer_layers_of_torch_are_not_fused(batch_first):
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=batch_first, activation="gelu")
    graph = bb.trace(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval(), TOKENS)
    assert [(site.name, site.feed.weight, site.exact_zeros) for site in graph.sites] == [
        (f"layers.{i}.gelu", f"layers.{i}.linear1.weight", False) for i in (0, 1)
    ]
    assert all(site.where.startswith("transformer.py:") for site in graph.sites)
    assert sum(node.kind == Kind.ADD for node in graph.nodes) == 4
    assert graph.uncalled == ()


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, "lstm"), (nn.GRU, "gru"), (nn.RNN, "rnn_tanh")])
def test_recurrent_layers_are_one_call_with_all_their_weights(kind, gates):
    model = nn.ModuleDict({"rnn": kind(8, 3, 2, bidirectional=True, batch_first=True)})
    graph = bb.trace(model, TOKENS, lambda net, x: net["rnn"](x)[0])
    node = graph.nodes[1]
    weights = [f"rnn.{name}" for name, weight in model["rnn"].named_parameters() if weight.dim() == 2]
    assert (node.kind, node.call, list(node.weights), node.weight, node.inputs) == (
        "recurrent",
        gates,
        weights,
        None,
        (0,),
    )
    assert graph.uncalled == ()
    (said,) = graph.unseen
    assert said.startswith(f"the nonlinearities inside {gates} in rnn (rnn.py:")


def test_a_tied_weight_has_the_name_that_a_mask_gives_it():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb, self.fc, self.head = nn.Embedding(7, 4), nn.Linear(4, 4), nn.Linear(4, 7, bias=False)
            self.head.weight = self.emb.weight

        def forward(self, tokens):
            return self.head(self.fc(self.emb(tokens)))

    model = Tied()
    layers = [(node.owner, node.weight, node.units) for node in bb.trace(model, torch.randint(7, (2, 3))).nodes[1:4]]
    assert layers == [
        ("emb", "head.weight", UnitLayout(1)),
        ("fc", "fc.weight", UnitLayout(0)),
        ("head", "head.weight", UnitLayout(0)),
    ]
    assert "head.weight" in bb.Mask.dense(model)


@pytest.mark.parametrize(
    ("wrap", "name"),
    [
        (nn.utils.parametrizations.weight_norm, "0.parametrizations.weight.original1"),
        (nn.utils.parametrizations.spectral_norm, "0.parametrizations.weight.original"),
        (lambda layer: nn.utils.prune.identity(layer, "weight"), "0.weight_orig"),
    ],
)
def test_a_weight_that_is_computed_first_is_no_node(wrap, name):
    graph = bb.trace(nn.Sequential(wrap(nn.Linear(4, 6)), nn.ReLU()), X)
    assert [node.kind for node in graph.nodes] == ["input", "layer", "site", "output"]
    assert graph.nodes[1].weight == name
    assert graph.uncalled == ()


def test_a_product_of_two_weights_names_both():
    class LowRank(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Parameter(torch.randn(6, 2)), nn.Parameter(torch.randn(2, 4))

        def forward(self, x):
            return functional.linear(x, self.a @ self.b)

    node = bb.trace(LowRank(), X).nodes[1]
    assert (node.kind, node.weights, node.weight) == ("layer", ("a", "b"), None)


def test_layers_that_nothing_calls_are_named():
    model = Net(lambda net, x: net.used(x), used=nn.Linear(4, 3), left=nn.Linear(3, 3), norm=nn.BatchNorm1d(3))
    assert bb.trace(model, X).uncalled == ("left.weight",)


MOVES = {
    "reshape": lambda x: x.reshape(2, 2, 2, 64),
    "flatten": lambda x: x.flatten(1),
    "view": lambda x: x.view(2, -1),
    "view_as": lambda x: x.view_as(torch.zeros(2, 2, 128)),
    "permute": lambda x: x.permute(0, 2, 3, 1),
    "a tuple": lambda x: torch.permute(x, (0, 2, 3, 1)),
    "keywords": lambda x: torch.transpose(input=x, dim0=1, dim1=2),
    "chunk": lambda x: x.chunk(2, 1)[1],
    "split": lambda x: torch.split(x, [1, 3], dim=1)[1],
    "slices": lambda x: x[:, 1:3, None, ::2],
    "a list": lambda x: x[:, [3, 1, 0, 2]],
    "index_select": lambda x: x.index_select(1, torch.tensor([3, 1])),
    "mT": lambda x: x.mT,
    "pad": lambda x: functional.pad(x, (0, 0, 0, 0, 1, 1)),
    "pixel_shuffle": lambda x: functional.pixel_shuffle(x, 2),
    "roll": lambda x: torch.roll(x, 1, 1),
    "unbind": lambda x: x.unbind(1)[2],
    "expand": lambda x: x[:, :1].expand(-1, 3, -1, -1),
}


@pytest.mark.parametrize("name", MOVES)
def test_moves_can_be_replayed(name):
    """Channels, numbered, go where the values went."""
    move = MOVES[name]
    graph = bb.trace(Net(lambda net, x: move(x)), IMAGES)
    found = numbers = torch.arange(IMAGES.numel()).reshape(IMAGES.shape)
    known = {0: numbers}
    for node in graph.nodes[1:-1]:
        assert node.kind == Kind.MOVE
        known[node.index] = found = replay(node, known[node.inputs[0]])
        assert found.shape == node.shape
    assert torch.equal(known[graph.nodes[-1].inputs[0]], move(numbers))


def test_what_is_written_through_a_view_enters_the_whole():
    def run(net, x):
        both = torch.zeros(2, 6)
        both[:, :3] = net.a(x)
        both[:, 3:].copy_(net.b(x))
        return functional.relu(both)

    graph = bb.trace(Net(run, a=nn.Linear(4, 3), b=nn.Linear(4, 3)), X)
    above = ancestors(graph, graph.nodes[-1].index)
    assert {node.weight for node in graph.nodes if node.index in above and node.weight} == {"a.weight", "b.weight"}
    assert graph.sites[0].feed is None


@dataclass
class Batch:
    values: torch.Tensor
    name: str = "a batch"


@pytest.mark.parametrize(
    ("example", "forward"),
    [
        (X, None),
        ((X,), None),
        ({"input": X}, None),
        ([{"x": X}, "text"], lambda net, batch: net(batch[0]["x"])),
        (Batch(X), lambda net, batch: net(batch.values)),
        (X.numpy(), lambda net, batch: net(torch.from_numpy(batch))),
        ((X, torch.zeros(2)), lambda net, batch: net[1](net[0](batch[0]))),
    ],
    ids=["tensor", "tuple", "mapping", "nested", "object", "array", "parts"],
)
def test_an_example_in_any_form(example, forward):
    graph = bb.trace(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), example, forward)
    assert [node.kind for node in graph.nodes] == ["input", "layer", "site", "output"]
    assert (graph.sites[0].name, graph.unseen) == ("1", ())


def test_one_pass_is_enough_and_the_model_is_left_as_it_was():
    passes = []
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(), nn.ReLU()).train()
    model[1].eval()
    handle = model.register_forward_hook(lambda *_: passes.append(random.random() + np.random.rand()))
    state, drawn = copy.deepcopy(model.state_dict()), (torch.get_rng_state(), random.getstate())
    bb.trace(model, X)
    handle.remove()
    assert len(passes) == 1
    assert [module.training for module in model] == [True, False, True, True]
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), drawn[0])
    assert random.getstate() == drawn[1]
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert torch.backends.mha.get_fastpath_enabled()


def test_the_graph_keeps_no_tensor_of_the_model_alive():
    graph = bb.trace(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), X)
    assert graph == bb.trace(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), X + 1)
    assert hash(graph) == hash(copy.deepcopy(graph))


def test_wrappers_are_looked_through():
    graph = bb.trace(nn.DataParallel(nn.Sequential(nn.Linear(4, 3), nn.ReLU())), X)
    assert graph.sites[0].feed.weight == "0.weight"


def test_autocast_and_inference_mode_around_it_change_nothing():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Flatten(), nn.ReLU6())
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
        graph = bb.trace(model, torch.randn(2, 4))
    assert graph == bb.trace(model, X)
