"""What cannot be compacted is said, and everything is as it was."""

import itertools

import pytest
import torch
from torch import nn

import budbreak as bb
from budbreak.compaction import measure_gains
from budbreak.errors import CannotTrace, InvalidValue, LayerCollapsed, MaskMismatch, NotFinite, UnknownName
from budbreak.measuring import Meter


def mlp(*sizes):
    layers = [layer for pair in itertools.pairwise(sizes) for layer in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*layers[:-1]).double()


X = torch.randn(2, 3, dtype=torch.float64)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: bb.compact(mlp, X), InvalidValue, "it must be an nn.Module"),
        (lambda: bb.compact(mlp(3, 4, 2), X[:, :2]), InvalidValue, "the model does not take the example"),
        (lambda: bb.compact(mlp(3, 4, 2), X, mask={}), InvalidValue, "it must be a Mask"),
        (lambda: bb.compact(mlp(3, 4, 2), X, mask=bb.Mask.dense(mlp(3, 5, 2))), MaskMismatch, "only the architecture"),
        (lambda: bb.compact(mlp(3, 4, 2), X, keep=["0.wieght"]), UnknownName, "'0.weight'"),
        (lambda: bb.compact(mlp(3, 4, 2), X, keep="0.weight"), InvalidValue, r"write keep=\['0.weight'\]"),
        (lambda: bb.compact(mlp(3, 4, 2), X, approximate="no"), InvalidValue, "approximate is 'no'"),
        (lambda: bb.compact(mlp(3, 4, 2), X, tolerance=-1), InvalidValue, "tolerance is -1"),
        (lambda: bb.compact(mlp(3, 4, 2), X * torch.nan), NotFinite, "output 0 of the model has 4 values"),
        (lambda: bb.compact(torch.jit.script(mlp(3, 4, 2)), X), CannotTrace, "cannot be traced"),
        (lambda: measure_gains(mlp(3, 4, 2), mlp(3, 2, 2), X, batches=[0]), InvalidValue, "batches is 0"),
    ],
    ids=[
        "class",
        "example",
        "mask",
        "other-mask",
        "keep",
        "keep-text",
        "approximate",
        "tolerance",
        "nan",
        "script",
        "batches",
    ],
)
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_wrong_arguments(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_a_network_whose_outputs_are_constants_is_refused_with_the_layer():
    model = mlp(3, 4, 5, 2)
    model[2].weight.data.zero_()
    with pytest.raises(LayerCollapsed, match=r"nothing passes '2.weight'"):
        bb.compact(model, X)


def test_without_layers_no_weight_is_named():
    class Product(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Parameter(torch.zeros(5, 3)), nn.Parameter(torch.ones(2, 5))

        def forward(self, x):
            return torch.einsum("oi,bi->bo", self.second, torch.einsum("oi,bi->bo", self.first, x).relu())

    with pytest.raises(LayerCollapsed, match=r"no output of Product depends on its inputs(\n|$)"):
        bb.compact(Product(), torch.ones(4, 3))


def test_a_layer_beside_others_keeps_one_unit_and_is_named():
    class Beside(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.inner, self.back, self.last = (nn.Linear(4, 4) for _ in range(4))

        def forward(self, x):
            x = self.first(x).relu()
            return self.last(x + self.back(self.inner(x).relu()))

    model = Beside().double()
    model.inner.weight.data.zero_()
    compacted = bb.compact(model, torch.randn(2, 4, dtype=torch.float64))
    assert (compacted.model.inner.out_features, compacted.model.back.in_features) == (1, 1)
    assert [str(one) for one in compacted.left] == [
        "inner.weight: 1 dead of 4 units stay: a layer keeps at least one unit"
    ]
    assert compacted.difference < 1e-12


def test_outputs_are_never_removed():
    model = mlp(3, 4, 2)
    model[2].weight.data[0] = 0
    assert bb.compact(model, X).model[2].out_features == 2


def test_sizes_that_are_spelt_out_leave_their_units():
    class Spelt(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.more, self.last = nn.Conv2d(1, 4, 1), nn.Linear(16, 5), nn.Linear(5, 2)

        def forward(self, x):
            return self.last(self.more(self.conv(x).view(-1, 16)).relu())

    model = Spelt().double()
    with torch.no_grad():
        model.more.weight[:, :4] = 0
        model.last.weight[:, 2] = 0
    compacted = bb.compact(model, torch.randn(2, 1, 2, 2, dtype=torch.float64))
    assert (compacted.model.conv.out_channels, compacted.model.more.out_features) == (4, 4)
    (left,) = compacted.left
    assert (left.name, left.units, left.of) == ("conv.weight", 1, 4)
    assert "sizes were given to view (" in left.why


def test_units_without_which_the_code_does_not_run_stay():
    class Halves(nn.Module):
        def __init__(self):
            super().__init__()
            self.enter, self.right, self.last = nn.Linear(3, 8), nn.Linear(4, 6), nn.Linear(10, 2)

        def forward(self, x):
            left, right = self.enter(x).relu().chunk(2, 1)  # as many as the smaller model happens to have
            return self.last(torch.cat([left, self.right(right).relu()], 1))

    model = Halves().double()
    with torch.no_grad():
        model.enter.weight[5:] = model.enter.bias[5:] = 0
        model.last.weight[:, 6] = 0
    compacted = bb.compact(model, torch.randn(2, 3, dtype=torch.float64))
    assert (compacted.model.enter.out_features, compacted.model.right.out_features) == (8, 5)
    (left,) = compacted.left
    assert (left.name, left.units, left.of) == ("enter.weight", 3, 4)
    assert left.why.startswith("without them the model does not take the example: ")


def test_a_unit_whose_constant_is_scaled_by_something_living_stays():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.gate, self.last = nn.Linear(3, 4), nn.Linear(3, 1), nn.Linear(4, 2)

        def forward(self, x):
            return self.last(self.first(x) * self.gate(x).relu())

    model = Scaled().double()
    with torch.no_grad():
        model.first.weight[0], model.gate.bias[0] = 0, -100.0  # the gate is shut on the example, not everywhere
    compacted = bb.compact(model, X, approximate=True)
    assert compacted.model.first.out_features == 4
    with torch.no_grad():
        assert float((model(1e3 * X) - compacted.model(1e3 * X)).abs().max()) < 1e-9


def test_wrappers_are_taken_off():
    model = mlp(3, 4, 2)
    model[2].weight.data[:, 0] = 0
    compacted = bb.compact(torch.compile(model, backend="eager"), X)
    assert [type(layer) for layer in compacted.model] == [nn.Linear, nn.ReLU, nn.Linear]
    assert compacted.model[0].out_features == 3


def test_gains_are_counted_and_measured_side_by_side():
    model = mlp(3, 40, 2)
    model[2].weight.data[:, :30] = 0
    compacted = bb.compact(model, X)
    gains = measure_gains(model, compacted.model, X, batches=(1, 5), meter=Meter(2, patience=0.0, shortest=0.0))
    assert (gains.before.parameters, gains.after.parameters) == (242, 62)
    assert (gains.before.macs, gains.after.macs) == (2 * 200, 2 * 50)
    assert (gains.before.bytes, gains.after.bytes) == (8 * 242, 8 * 62)
    assert [one.batch for one in gains.latencies] == [1, 5]
    lines = str(gains).splitlines()
    assert lines[0].split() == ["dense", "compact", "dense", "/", "compact"]
    assert lines[1].split() == ["parameters", "242", "62", "3.90"]
    assert lines[-1] == "cpu time, 1 thread, eval mode"
    assert model.training


def test_a_bias_that_is_computed_takes_nothing_over():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.weight = nn.Linear(3, 4), nn.Parameter(torch.randn(2, 4))
            self.shift = nn.Parameter(torch.randn(2))

        def forward(self, x):
            return nn.functional.linear(self.first(x).relu(), self.weight, self.shift * 2)

    model = Scaled().double()
    with torch.no_grad():
        model.first.weight[:2], model.first.bias[:2] = 0, torch.tensor([1.0, -1.0])
    compacted = bb.compact(model, X)
    assert compacted.model.first.out_features == 3
    assert "which has no bias to take it over" in compacted.left[0].why
