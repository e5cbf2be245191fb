"""What a trace records, compared with what torch.fx makes of the same model."""

import operator

import pytest
import torch
from torch import fx, nn
from zoo import make

import budbreak as bb
from budbreak.graph import Kind

MODULES = {
    nn.Linear: Kind.LAYER,
    nn.Conv2d: Kind.LAYER,
    nn.ConvTranspose2d: Kind.LAYER,
    nn.BatchNorm2d: Kind.NORM,
    nn.ReLU: Kind.SITE,
    nn.MaxPool2d: Kind.POOL,
    nn.AdaptiveAvgPool2d: Kind.POOL,
    nn.Flatten: Kind.MOVE,
}
FUNCTIONS = {
    operator.add: Kind.ADD,
    torch.cat: Kind.CONCAT,
    "relu": Kind.SITE,
    "mean": Kind.POOL,
    "placeholder": Kind.INPUT,
    "output": Kind.OUTPUT,
}


def by_fx(model):
    """(kind, owner, what enters) of each call, in order; an empty Sequential is none."""
    traced = fx.symbolic_trace(model)
    known, calls = {}, []
    for node in traced.graph.nodes:
        module = traced.get_submodule(node.target) if node.op == "call_module" else None
        if isinstance(module, nn.Sequential):
            known[node] = known[node.args[0]]
            continue
        asked = type(module) if module else node.op if node.op in FUNCTIONS else node.target
        known[node] = len(calls)
        owner = node.target if module else ""
        calls.append(({**MODULES, **FUNCTIONS}[asked], owner, tuple(known[source] for source in node.all_input_nodes)))
    return calls


@pytest.mark.parametrize("name", ["mlp", "lenet-5", "resnet-20", "densenet", "separable"])
def test_calls_and_what_enters_them_are_those_of_fx(name):
    model, example = make(name)
    expected = by_fx(model)
    mine = [(node.kind, node.owner, node.inputs) for node in bb.trace(model, example).nodes]
    assert len(mine) == len(expected)
    for (kind, owner, inputs), (its_kind, module, its_inputs) in zip(mine, expected, strict=True):
        assert (kind, inputs) == (its_kind, its_inputs)
        assert not module or owner == module  # of a function, fx does not say who calls it
