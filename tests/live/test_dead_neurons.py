import copy
import json
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import relu
from torch.utils.data import DataLoader, TensorDataset

import budbreak as bb
from budbreak.errors import EmptyBatches, InvalidValue, MaskMismatch, NoSites, UnknownName
from budbreak.testing import residual_cnn


def linear(weight, bias=None):
    layer = nn.Linear(len(weight[0]), len(weight), bias=bias is not None)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
        if bias is not None:
            layer.bias.copy_(torch.tensor(bias))
    return layer


def golden_model():
    """Three units, two inputs: unit 0 = x0, unit 1 = -x0 + 2 x1, unit 2 has no weight left."""
    return nn.Sequential(linear([[1.0, 0.0], [-1.0, 2.0], [0.0, 0.0]]), nn.ReLU())


GOLDEN_X = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 1.0], [-2.0, -2.0]])
# pre-activations, one row a sample: unit 0, unit 1
#   ( 1, 0):   1,  -1
#   (-1, 0):  -1,   1
#   ( 1, 1):   1,   1
#   (-2,-2):  -2,  -2
# zero after ReLU: unit 0 in 2 of 4, unit 1 in 2 of 4, unit 2 (static) in 4 of 4.


def naive(outputs, threshold=0.0):
    """The share of zeros among outputs, by comparing one by one."""
    flat = outputs.detach().double().reshape(-1).tolist()
    return sum(abs(v) <= threshold for v in flat) / len(flat)


def test_golden_numbers():
    r = bb.dead_neurons(golden_model(), [GOLDEN_X])
    assert r.total == pytest.approx(8 / 12)  # 2 + 2 + 4 of 3 units x 4 samples
    assert r.static == pytest.approx(1 / 3)
    assert r.dynamic == pytest.approx(4 / 12)  # 2 + 2
    assert r.permanent == pytest.approx(1 / 3)  # unit 2 alone
    assert r.dynamic_alive == pytest.approx(0.5)  # (4 / 12) / (2 / 3)
    assert r.samples == 4
    (site,) = r.sites
    assert (site.site, site.weight, site.units, site.positions, site.static_units) == ("1", "0.weight", 3, 1, 1)


def test_permanent_without_static():
    """A unit that a large negative bias keeps silent is permanent, and dynamic, not static."""
    model = nn.Sequential(linear([[1.0, 0.0], [0.0, 1.0]], bias=[0.0, -100.0]), nn.ReLU())
    r = bb.dead_neurons(model, [GOLDEN_X])
    # unit 0: zero in 2 of 4; unit 1: zero in 4 of 4
    assert (r.total, r.static, r.dynamic, r.permanent) == (0.75, 0.0, 0.75, 0.5)
    assert r.dynamic_alive == 0.75


def test_all_units_static():
    model = nn.Sequential(linear([[0.0, 0.0]]), nn.ReLU())
    r = bb.dead_neurons(model, [GOLDEN_X])
    assert (r.total, r.static, r.dynamic, r.dynamic_alive) == (1.0, 1.0, 0.0, 0.0)


def test_sites_weigh_by_their_outputs():
    """A site of 3 units and one of 1: the mean is over 4 outputs, not over 2 sites."""
    model = nn.Sequential(
        linear([[1.0, 0.0], [-1.0, 2.0], [0.0, 0.0]]), nn.ReLU(), linear([[1.0, 1.0, 1.0]], bias=[1.0]), nn.ReLU()
    )
    r = bb.dead_neurons(model, [GOLDEN_X])
    assert [s.outputs for s in r.sites] == [3, 1]
    assert r.total == pytest.approx((8 + 0) / 16)
    assert r.static == pytest.approx(1 / 4)


def test_static_and_dynamic_are_all_zeros_of_a_relu_mlp_without_biases():
    model = nn.Sequential(
        *[layer for i in range(3) for layer in (nn.Linear(12, 12, bias=False), nn.ReLU())], nn.Linear(12, 2, bias=False)
    )
    mask = bb.prune(model, sparsity=0.9)
    assert any(not row.any() for name in mask for row in mask[name]), "some units are static"
    x = torch.randn(50, 12)
    r = bb.dead_neurons(model, x.split(7), mask=mask)
    zeros, h = [], x
    for i in range(3):
        h = model[2 * i + 1](model[2 * i](h))
        zeros.append(h)
    expected = naive(torch.cat(zeros, 1))
    assert r.static > 0
    assert r.dynamic > 0
    assert r.static + r.dynamic == pytest.approx(r.total)
    assert r.total == pytest.approx(expected)
    rows = [not row.any() for name in list(mask)[:3] for row in mask[name]]
    assert r.static == pytest.approx(sum(rows) / len(rows))


def test_a_static_unit_kept_alive_by_a_bias_is_static_but_not_zero():
    model = nn.Sequential(linear([[0.0, 0.0], [0.0, 0.0]], bias=[0.5, -0.5]), nn.ReLU())
    r = bb.dead_neurons(model, [GOLDEN_X])
    # both units static; unit 0 gives 0.5 always, unit 1 gives 0 always
    assert (r.static, r.total, r.dynamic, r.permanent) == (1.0, 0.5, 0.0, 0.5)


def test_a_static_filter_kept_alive_by_batchnorm_is_static_but_not_zero():
    model = nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.BatchNorm2d(2), nn.ReLU())
    with torch.no_grad():
        model[0].weight.zero_()
        model[1].bias.copy_(torch.tensor([0.3, -0.3]))
    r = bb.dead_neurons(model, [torch.randn(5, 1, 6, 6)])
    assert (r.static, r.total, r.dynamic) == (1.0, 0.5, 0.0)
    assert r.sites[0].weight == "0.weight"


class Residual(nn.Module):
    """One block; ``kind`` says how the sum is written."""

    def __init__(self, kind, inplace=False):
        super().__init__()
        self.kind = kind
        self.stem, self.conv = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.relu = nn.ReLU(inplace=inplace)

    def forward(self, x):
        x = self.relu(self.stem(x))
        y = self.norm(self.conv(x))
        if self.kind == "plus":
            y = y + x
        elif self.kind == "in place":
            y += x
        elif self.kind == "add_":
            y.add_(x)
        elif self.kind == "torch.add out":
            torch.add(y, x, out=y)
        return self.relu(y)


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("kind", ["plus", "in place", "add_", "torch.add out"])
def test_residual_sums_are_excluded_from_static(kind, inplace):
    model = Residual(kind, inplace)
    with torch.no_grad():
        model.stem.weight[0] = 0
        model.conv.weight[:2] = 0
    r = bb.dead_neurons(model, [torch.randn(4, 1, 5, 5)])
    assert [(s.site, s.weight, s.static_units) for s in r.sites] == [("relu", "stem.weight", 1), ("relu#1", None, 0)]


def test_without_the_sum_the_same_site_is_static():
    """The control of the test above."""
    model = Residual("none", inplace=True)
    with torch.no_grad():
        model.conv.weight[:2] = 0
    r = bb.dead_neurons(model, [torch.randn(4, 1, 5, 5)])
    assert [(s.site, s.weight, s.static_units) for s in r.sites] == [
        ("relu", "stem.weight", 0),
        ("relu#1", "conv.weight", 2),
    ]


def test_pooling_and_dropout_between_weight_and_site():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Dropout(0.5), nn.MaxPool2d(2), nn.Identity(), nn.ReLU())
    with torch.no_grad():
        model[0].weight[1] = 0
    (site,) = bb.dead_neurons(model, [torch.randn(4, 1, 6, 6)]).sites
    assert (site.weight, site.units, site.positions, site.static_units) == ("0.weight", 2, 4, 1)


def test_what_lies_between_otherwise_breaks_the_chain():
    for between in (nn.Softmax(1), nn.LayerNorm(6), nn.ELU(), nn.MaxPool1d(2)):
        model = nn.Sequential(nn.Linear(6, 6), between, nn.Identity(), nn.ReLU())
        assert bb.dead_neurons(model, [torch.randn(4, 6)]).sites[-1].weight is None, between


def test_a_norm_by_the_batch_s_statistics_breaks_it_unless_units_are_its_channels():
    for weighted, shape, weight in ((nn.Linear(6, 6), (4, 3, 6), None), (nn.Conv1d(3, 3, 1), (4, 3, 6), "0.weight")):
        model = nn.Sequential(weighted, nn.BatchNorm1d(3, track_running_stats=False), nn.ReLU())
        assert bb.dead_neurons(model, [torch.randn(shape)]).sites[0].weight == weight


@pytest.mark.parametrize(
    ("norm", "weight"),
    [
        (nn.InstanceNorm1d(6), "0.weight"),
        (nn.InstanceNorm1d(6, affine=True, track_running_stats=True), "0.weight"),
        (nn.GroupNorm(6, 6), "0.weight"),
        (nn.GroupNorm(3, 6), None),
        (nn.GroupNorm(1, 6), None),
    ],
    ids=["instance", "instance with running statistics", "a group each", "two a group", "one group"],
)
def test_a_norm_of_each_sample_breaks_it_where_units_meet(norm, weight):
    """A unit without weights left is zero behind a norm of its own, whatever the others are."""
    model = nn.Sequential(nn.Conv1d(3, 6, 2), norm, nn.ReLU())
    with torch.no_grad():
        model[0].weight[4] = 0
    (site,) = bb.dead_neurons(model, [torch.randn(4, 3, 5)]).sites
    assert (site.weight, site.static_units) == (weight, 0 if weight is None else 1)


def test_moving_units_about_does_not_break_it():
    model = nn.Sequential(nn.Linear(6, 6), nn.Unflatten(1, (2, 3)), nn.ReLU())
    with torch.no_grad():
        model[0].weight[4] = 0
    (site,) = bb.dead_neurons(model, [torch.randn(4, 6)]).sites
    assert (site.weight, site.units, site.positions, site.static_units) == ("0.weight", 6, 1, 1)


def test_relu6_counts_zeros_and_not_the_saturated():
    model = nn.Sequential(linear([[1.0]]), nn.ReLU6())
    r = bb.dead_neurons(model, [torch.tensor([[-1.0], [0.0], [3.0], [7.0], [8.0]])])
    assert r.total == pytest.approx(2 / 5)


def test_gelu_needs_a_threshold_and_the_result_says_which():
    model = nn.Sequential(linear([[1.0]]), nn.GELU())
    x = torch.tensor([[-3.0], [-0.001], [0.5], [2.0]])
    # GELU(-3) = -3 * P(Z < -3) = -0.004; GELU(-0.001) = -0.0005; GELU(0.5) = 0.35; GELU(2) = 1.95
    with pytest.raises(NoSites, match="no exact zeros"):
        bb.dead_neurons(model, [x])
    r = bb.dead_neurons(model, [x], threshold=0.01)
    assert (r.total, r.threshold) == (0.5, 0.01)
    assert bb.dead_neurons(model, [x], threshold=0.4).total == 0.75
    assert "|output| <= 0.01" in str(r)


@pytest.mark.parametrize("threshold", [-0.1, float("nan"), float("inf")])
def test_a_threshold_out_of_range_is_refused(threshold):
    with pytest.raises(InvalidValue, match="threshold is"):
        bb.dead_neurons(golden_model(), [GOLDEN_X], threshold=threshold)


def test_every_uses_each_nth_batch():
    model, batches = golden_model(), list(GOLDEN_X.split(1))
    r = bb.dead_neurons(model, batches, every=3)  # batches 0 and 3
    assert r.samples == 2
    assert r.total == pytest.approx(bb.dead_neurons(model, [GOLDEN_X[[0, 3]]]).total)
    for bad in (0, -1, 1.5):
        with pytest.raises(InvalidValue, match="every is"):
            bb.dead_neurons(model, batches, every=bad)


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = golden_model()

    def forward(self, pixels, labels=None):
        return self.body(pixels)


def test_any_iterable_of_batches_gives_the_same():
    model = golden_model()
    expected = bb.dead_neurons(model, [GOLDEN_X])
    y = torch.zeros(4)
    forms = {
        "list": list(GOLDEN_X.split(1)),
        "generator": (part for part in GOLDEN_X.split(3)),
        "pairs": [(GOLDEN_X, y)],
        "lists": [[GOLDEN_X[:1], y[:1]], [GOLDEN_X[1:], y[1:]]],
        "loader": DataLoader(TensorDataset(GOLDEN_X, y), batch_size=3, shuffle=True),
        "doubled": [GOLDEN_X, GOLDEN_X],
    }
    for name, batches in forms.items():
        r = bb.dead_neurons(model, batches)
        assert (r.total, r.static, r.dynamic, r.permanent, r.dynamic_alive) == (
            expected.total,
            expected.static,
            expected.dynamic,
            expected.permanent,
            expected.dynamic_alive,
        ), name
    assert bb.dead_neurons(Named(), [{"pixels": GOLDEN_X, "labels": y}]).total == expected.total


def test_no_batches_and_exhausted_iterators_are_refused():
    with pytest.raises(EmptyBatches, match="yielded nothing"):
        bb.dead_neurons(golden_model(), [])
    once = iter([GOLDEN_X])
    bb.dead_neurons(golden_model(), once)
    with pytest.raises(EmptyBatches, match="exhausted"):
        bb.dead_neurons(golden_model(), once)


def collect(model, x):
    """Post-activation outputs by plain hooks, in forward order."""
    found = []
    handles = [
        m.register_forward_hook(lambda _m, _i, out: found.append(out.detach().clone()))
        for m in model.modules()
        if isinstance(m, nn.ReLU)
    ]
    with torch.no_grad():
        model.eval()(x)
    for handle in handles:
        handle.remove()
    return found


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_conv_counts_agree_with_naive_ones(memory_format, dtype):
    model = residual_cnn().to(dtype).to(memory_format=memory_format)
    bb.prune(model, sparsity=0.6)
    with torch.no_grad():
        model.stem.weight[1] = 0
    x = torch.randn(300, 3, 6, 6).to(dtype).to(memory_format=memory_format)  # more than a byte can count
    r = bb.dead_neurons(model, [x])
    outputs = collect(model, x)
    assert len(r.sites) == len(outputs) == 3
    for site, out in zip(r.sites, outputs, strict=True):
        zero = (out == 0).double()  # [N, C, H, W]
        static = torch.tensor([not row.any() for row in model.get_parameter(site.weight)]) if site.weight else None
        dynamic = zero if static is None else zero * (~static)[None, :, None, None]
        assert (site.units, site.positions, site.samples) == (4, 36, 300)
        assert site.total == pytest.approx(float(zero.mean()))
        assert site.dynamic == pytest.approx(float(dynamic.mean()))
        assert site.permanent == pytest.approx(float((zero.mean(0) == 1).double().mean()))
    assert r.sites[0].static_units == 1
    assert r.dtype == str(dtype).removeprefix("torch.")


def test_positions_of_one_unit_count_apart():
    """One filter, identity: dead where the picture is negative. Positions of a 1 x 2 picture: (0, always dead)."""
    model = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.ReLU())
    with torch.no_grad():
        model[0].weight.fill_(1.0)
    x = torch.tensor([[[[1.0, -1.0]]], [[[-1.0, -2.0]]]])
    r = bb.dead_neurons(model, [x])
    # position 0 is zero in 1 of 2 samples, position 1 in 2 of 2
    assert (r.total, r.permanent) == (0.75, 0.5)


def test_conv1d_and_conv3d_units():
    for conv, shape in ((nn.Conv1d, (7,)), (nn.Conv3d, (3, 4, 5))):
        model = nn.Sequential(conv(2, 3, 1), nn.ReLU())
        x = torch.randn(6, 2, *shape)
        (site,) = bb.dead_neurons(model, [x]).sites
        out = model(x)
        assert (site.units, site.positions) == (3, out[0, 0].numel())
        assert site.total == pytest.approx(naive(out))


def test_token_models_count_each_token_as_a_sample():
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    batches = [torch.randn(3, 6, 4), torch.randn(2, 9, 4)]  # [B, T, D] of different lengths
    (site,) = bb.dead_neurons(model, batches).sites
    assert (site.units, site.positions, site.samples) == (5, 1, 3 * 6 + 2 * 9)
    outputs = torch.cat([model[:2](b).reshape(-1, 5) for b in batches])
    assert site.total == pytest.approx(naive(outputs))


def test_images_of_different_sizes_are_refused():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU())
    with pytest.raises(MaskMismatch, match=r"site '1' gave \(2, 3, 3\) after \(2, 4, 4\)"):
        bb.dead_neurons(model, [torch.randn(1, 1, 4, 4), torch.randn(1, 1, 3, 3)])


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2, 2)

    def forward(self, x):
        return relu(self.fc(x))


def test_a_functional_activation_is_a_site():
    model = Functional()
    (site,) = bb.dead_neurons(model, [GOLDEN_X]).sites
    assert (site.site, site.weight, site.units) == ("relu", "fc.weight", 2)
    assert site.total == pytest.approx(naive(model(GOLDEN_X)))


class Linear(nn.Module):
    """An activation that no forward pass calls."""

    def __init__(self):
        super().__init__()
        self.fc, self.unused = nn.Linear(2, 2), nn.ReLU()

    def forward(self, x):
        return self.fc(x)


def test_an_activation_that_is_never_called_is_no_site():
    with pytest.raises(NoSites, match="no site was reached in Linear") as caught:
        bb.dead_neurons(Linear(), [GOLDEN_X])
    assert "F.relu" in str(caught.value)


def hook_count(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in model.modules())


def test_the_model_is_left_untouched():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Dropout(0.5), nn.ReLU(), nn.Linear(3, 1))
    model.train()
    model[1].eval()  # a frozen norm in a training model
    model[0].weight.requires_grad_(False)
    model[0].register_forward_hook(lambda *_: None)
    model[4].weight.grad = torch.ones(1, 3)
    state = copy.deepcopy(model.state_dict())
    modes = [m.training for m in model.modules()]
    torch.manual_seed(4)
    np.random.seed(4)
    random.seed(4)
    before = (torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate())
    loader = DataLoader(TensorDataset(GOLDEN_X), batch_size=2, shuffle=True)
    bb.dead_neurons(model, loader)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before[1:]
    assert [m.training for m in model.modules()] == modes
    assert hook_count(model) == 1
    assert all(torch.equal(t, state[n]) for n, t in model.state_dict().items())
    assert torch.equal(model[4].weight.grad, torch.ones(1, 3))
    assert model[4].bias.grad is None
    assert [p.requires_grad for p in model.parameters()] == [False, True, True, True, True, True]


class Raising(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.relu = nn.Linear(2, 2), nn.ReLU()

    def forward(self, x):
        x = self.relu(self.fc(x))
        raise RuntimeError("mine")


def test_hooks_go_and_modes_return_even_when_the_forward_raises():
    model = Raising().train()
    with pytest.raises(InvalidValue, match="mine"):
        bb.dead_neurons(model, [GOLDEN_X])
    assert hook_count(model) == 0
    assert all(m.training for m in model.modules())


def test_the_result_says_where_static_comes_from():
    model = golden_model()
    assert bb.dead_neurons(model, [GOLDEN_X]).mask == "zeros of the model"
    r = bb.dead_neurons(model, [GOLDEN_X], mask=bb.Mask.dense(model))
    assert r.mask == "given"
    assert (r.static, r.dynamic, r.total) == (0.0, pytest.approx(8 / 12), pytest.approx(8 / 12))
    assert "static from: given" in str(r)


def test_a_mask_of_another_model_is_refused():
    with pytest.raises(UnknownName, match=r"did you mean '0\.weight'"):
        bb.dead_neurons(golden_model(), [GOLDEN_X], mask=bb.Mask({"7.weight": torch.ones(3, 2)}))
    with pytest.raises(MaskMismatch):
        bb.dead_neurons(golden_model(), [GOLDEN_X], mask=bb.Mask({"0.weight": torch.ones(4, 2)}))


@pytest.mark.parametrize("batches", [1, 3])
def test_a_forward_that_bypasses_the_model_s_own_call(batches):
    """An encoder used alone: each batch adds to the same sites, though model.forward never runs."""
    model = Named()
    data = [GOLDEN_X] * batches
    r = bb.dead_neurons(model, data, forward=lambda m, batch: m.body(batch))
    assert [(s.site, s.weight, s.samples) for s in r.sites] == [("body.1", "body.0.weight", 4 * batches)]
    assert r.total == pytest.approx(8 / 12)


def test_a_forward_that_calls_the_model_twice_counts_both():
    r = bb.dead_neurons(golden_model(), [GOLDEN_X[:2], GOLDEN_X[2:]], forward=lambda m, b: (m(b), m(b + 0)))
    assert [(s.site, s.samples) for s in r.sites] == [("1", 8)]
    assert r.total == pytest.approx(8 / 12)


def test_a_compiled_or_wrapped_model_is_looked_through():
    r = bb.dead_neurons(nn.DataParallel(golden_model()), [GOLDEN_X])
    assert [s.weight for s in r.sites] == ["0.weight"]


def test_the_table_holds_every_site():
    text = str(bb.dead_neurons(Residual("plus"), [torch.randn(2, 1, 5, 5)]))
    lines = text.splitlines()
    assert len(lines) == 5  # head, two sites, all, foot
    assert lines[1].endswith("stem.weight")
    assert lines[2].endswith("no weight alone")
    assert "2 samples" in lines[-1]
    json.dumps(text)


class ResidualLine(nn.Module):
    """A Conv1d with a skip around it: nothing names the units of the sum but the convolution before it."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(8, 8, 3, padding=1)
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.relu(self.conv(x) + x)


def test_units_behind_a_sum_lie_where_the_last_layer_put_them():
    model = ResidualLine()
    x = torch.randn(10, 8, 7)
    with torch.no_grad():
        model.conv.weight[3], model.conv.bias[3], x[:, 3] = 0, -1, 0  # channel 3 is dead on every sample
    (site,) = bb.dead_neurons(model, [x]).sites
    assert (site.units, site.positions, site.samples) == (8, 7, 10)
    assert site.permanent == pytest.approx(1 / 8)
