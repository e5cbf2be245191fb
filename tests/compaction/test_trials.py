"""A compact model is compared on other inputs, too: their numbers, or how many there are, may decide what runs."""

from collections import namedtuple
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import budbreak as bb
from budbreak.compaction import measure_gains
from budbreak.compaction.trials import others_like, trials_of
from budbreak.errors import InvariantBroken
from budbreak.measuring import Meter

X = torch.full((4, 3), 0.5) + 0.1 * torch.arange(12.0).reshape(4, 3)


class Decides(nn.Module):
    def __init__(self, way):
        super().__init__()
        self.way, self.first = way, nn.Linear(3, 6)
        self.one, self.other = nn.Linear(6, 2), nn.Linear(6, 2)
        with torch.no_grad():
            self.first.weight[:3] = 0
            self.first.bias[:3] = 1.0

    def forward(self, x):
        units = self.first(x).relu()
        if self.way == "by the number of samples":
            return self.one(units * len(x))
        if self.way == "by the inputs":
            return self.one(units) if x[0, 0] < X.mean() else self.other(units)
        if self.way == "not" or (self.way == "refuses others" and torch.equal(x, X)):
            return self.one(units)
        raise ValueError(f"{len(x)} samples")


@pytest.mark.parametrize("way", ["by the number of samples", "by the inputs"])
def test_what_the_code_decides_by_its_inputs_is_not_compacted(way):
    model = Decides(way)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(InvariantBroken, match=r"'first.weight'(.|\n)*drawn at random like the example") as caught:
        bb.compact(model, X)
    assert "keep=['first.weight']" in str(caught.value)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert bb.compact(model, X, keep=["first.weight"]).plan.kept == ()
    assert bb.compact(model, X, approximate=True).plan.kept, "whoever consents sees to it herself"


@pytest.mark.parametrize("way", ["not", "refuses others"])
def test_inputs_that_the_model_does_not_take_tell_nothing(way):
    assert bb.compact(Decides(way), X).model.first.out_features == 3
    trials = trials_of(Decides(way).eval(), X, None, None)
    assert [len(trial.batch) for trial in trials] == ([4, 1, 5] if way == "not" else [4])


def test_other_batches_have_another_size_and_other_numbers_of_the_same_kind():
    Pair = namedtuple("Pair", "x ids")
    torch.manual_seed(0)
    example = Pair(5 + 2 * torch.randn(400, 8), torch.arange(400))
    one, more = others_like(example)
    assert (one.x.shape, more.x.shape, type(more)) == ((1, 8), (401, 8), Pair)
    assert more.ids.tolist() == [*range(400), 0]
    assert torch.allclose(more.x[:1] - 5, 5 - one.x, atol=0.1), "mirrored"
    assert float(more.x.mean()) == pytest.approx(5, abs=0.2)
    assert float(more.x.std()) == pytest.approx(2, abs=0.1)


def test_sizes_stay_where_a_tensor_counts_something_else():
    nodes, edges = torch.randn(5, 2), torch.tensor([[0, 4], [3, 1]])
    for batch in others_like((nodes, edges)):
        assert batch[0].shape == nodes.shape
        assert not torch.equal(batch[0], nodes)
        assert torch.equal(batch[1], edges)
    masked = torch.tensor([[0.0, float("-inf")], [0.0, 0.0]])
    assert all(torch.equal(batch[1], masked) for batch in others_like((nodes, masked)))
    assert others_like(SimpleNamespace(x=nodes)) == []


def test_a_tolerance_below_rounding_holds_for_the_example_alone():
    trials = trials_of(Decides("not").eval(), X, None, 1e-30)
    assert [trial.tolerances for trial in trials] == [(1e-30,), (None, 1e-30), (None, 1e-30)]


def test_gains_are_measured_on_named_tuples():
    Pair = namedtuple("Pair", "x y")

    class Adds(Decides):
        def forward(self, x, y):
            return super().forward(x) + y

    model, example = Adds("not"), Pair(X, torch.ones(4, 2))
    meter = Meter(2, patience=0.0, shortest=0.0)
    gains = measure_gains(model, bb.compact(model, example).model, example, batches=(1, 9), meter=meter)
    assert [one.batch for one in gains.latencies] == [1, 9]
