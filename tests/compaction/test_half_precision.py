"""Models of half precision are compared in float32, where rounding hides nothing, and stay what they are."""

import pytest
import torch
from torch import nn

import budbreak as bb
from budbreak.compaction import propagate
from budbreak.errors import InvariantBroken

HALF = [torch.bfloat16, torch.float16]


class Net(nn.Module):
    """Of which half the units are dead, with constants that matter; norms may stay float32 beside it."""

    def __init__(self, dtype=torch.float32, way=""):
        super().__init__()
        torch.manual_seed(0)
        self.way, self.first, self.second, self.last = way, nn.Linear(8, 32), nn.Linear(32, 32), nn.Linear(32, 5)
        self.register_buffer("scale", torch.rand(32))
        with torch.no_grad():
            for layer in (self.first, self.second):
                layer.weight[:16] = 0
                layer.bias.normal_()
        self.to(dtype)

    def forward(self, x):
        if self.way == "spelt out":
            x = x.to(torch.bfloat16)
        units = nn.functional.gelu(self.first(x)) * self.scale
        if self.way == "nearly constant":
            units = units * (1 + 0.001 * len(x))
        outputs = self.last(self.second(units).relu())
        return outputs if self.way else outputs.float()


def x(dtype):
    return torch.randn(6, 8, generator=torch.Generator().manual_seed(1)).to(dtype)


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_outputs_that_are_cast_to_float32_are_not_held_to_its_precision(dtype, tmp_path):
    model = Net(dtype).eval()
    compacted = bb.compact(model, x(dtype))
    assert compacted.model.first.out_features == compacted.model.second.out_features == 16
    assert {tensor.dtype for tensor in compacted.model.state_dict().values()} == {dtype}
    assert {tensor.dtype for tensor in model.state_dict().values()} == {dtype}
    given, found = model(x(dtype)).detach(), compacted.model(x(dtype)).detach()
    assert compacted.difference == float((given - found).abs().max())
    compacted.save(tmp_path / "compact")
    assert torch.equal(bb.load_compact(tmp_path / "compact", Net(dtype)).eval()(x(dtype)), found)


def test_constants_are_rounded_once():
    """As in the compact float32 model, but for the biases, to half a unit in their last place."""
    half = bb.compact(Net(torch.bfloat16).eval(), x(torch.bfloat16)).model.state_dict()
    wide = bb.compact(Net(torch.bfloat16).float().eval(), x(torch.bfloat16).float()).model.state_dict()
    assert all(torch.equal(half[name], wide[name].bfloat16()) for name in wide)


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_what_is_only_nearly_a_constant_is_refused(dtype):
    with pytest.raises(InvariantBroken, match=r"'first\.weight'"):
        bb.compact(Net(dtype, "nearly constant").eval(), x(dtype))


def test_code_that_spells_its_precision_out_is_compared_in_that():
    found = bb.compact(Net(torch.bfloat16, "spelt out").eval(), x(torch.bfloat16), tolerance=0.1)
    assert found.model.first.out_features == 16
    assert found.model.first.weight.dtype == torch.bfloat16


def test_a_tolerance_holds_for_the_half_precision_too():
    with pytest.raises(InvariantBroken, match=r"over 1e-05, in bfloat16"):
        bb.compact(Net(torch.bfloat16).eval(), x(torch.bfloat16), tolerance=1e-5)


def test_dtypes_stay_mixed_and_biases_are_added_in_those_of_their_weights():
    model = nn.Sequential(nn.Linear(8, 6), nn.Sigmoid(), nn.Linear(6, 4, bias=False), nn.Tanh(), nn.Linear(4, 2))
    with torch.no_grad():
        model[0].weight[:3] = 0
    model[2].bfloat16()
    compacted = bb.compact(model.eval(), x(torch.float32), forward=_forward)
    assert compacted.plan.biases == ("2.bias",)
    assert {name: tensor.dtype for name, tensor in compacted.model.named_parameters() if "2." in name} == {
        "2.weight": torch.bfloat16,
        "2.bias": torch.bfloat16,
    }
    assert compacted.model[0].weight.dtype == torch.float32


def _forward(model, batch):
    for layer in model:
        weight = getattr(layer, "weight", None)
        batch = layer(batch if weight is None else batch.to(weight.dtype))
    return batch


def test_dead_connections_are_dropped_with_the_same_care():
    model = Net(torch.bfloat16).eval()
    found = propagate(model, x(torch.bfloat16))
    assert found.mask.kept_in("second.weight") == 16 * 16
    assert found.difference < 1e-5
    before = model(x(torch.bfloat16)).detach()
    found.apply(model)
    assert float((model(x(torch.bfloat16)).detach() - before).abs().max()) < 0.05
