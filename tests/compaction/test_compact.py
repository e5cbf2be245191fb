"""A compact model gives what the dense one gives, with fewer units, and the dense one stays as it was."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import IMAGES, apart, image_net, kill, output, widths
from torch import nn
from torch.nn.utils import parametrizations

import budbreak as bb
from budbreak.compaction import CompactionPlan


@pytest.mark.parametrize("ways", [("makes",), ("reads",), ("makes", "reads")], ids="+".join)
@pytest.mark.parametrize("name", IMAGES)
def test_outputs_are_equal_and_units_are_gone(name, ways):
    model, images = image_net(name)
    kill(model, images[:1], 0.5, **dict.fromkeys(ways, True))
    before = copy.deepcopy(model.state_dict())
    compacted = bb.compact(model, images[:2])
    assert compacted.difference < 1e-12
    assert apart(model, compacted.model, images) < 1e-12, "on other images, too"
    assert compacted.after.parameters < compacted.before.parameters
    assert compacted.after.macs < compacted.before.macs
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())


@pytest.mark.parametrize("name", IMAGES)
def test_the_compact_model_learns_and_has_nothing_left_to_compact(name):
    model, images = image_net(name)
    kill(model, images[:1], 0.5, reads=True)
    smaller = bb.compact(model, images).model
    smaller.train()(images).sum().backward()
    assert all(parameter.grad is not None for parameter in smaller.parameters())
    again = bb.compact(smaller.eval(), images)
    assert again.after == again.before


def test_of_a_positive_dead_bias_the_next_layer_takes_over_what_it_gave():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3), nn.Sigmoid(), nn.Linear(3, 2)).double()
    with torch.no_grad():
        model[0].weight[1:3] = 0
        model[0].bias[1:3] = torch.tensor([2.0, -1.0])
        model[2].weight[0] = 0
        model[2].weight[0, 1] = 5.0  # of the dead unit only
    inputs = torch.randn(8, 3, dtype=torch.float64)
    compacted = bb.compact(model, inputs)
    smaller = compacted.model
    assert widths(smaller) == [2, 2, 2]
    assert [one.indices for one in compacted.plan.kept if one.name.endswith("weight") and one.dim == 0] == [
        (0, 3),
        (1, 2),
    ]
    constant = torch.sigmoid(model[2].bias[0] + 5.0 * 2.0)
    assert torch.allclose(smaller[2].bias, model[2].bias[1:] + 2.0 * model[2].weight[1:, 1])
    assert torch.allclose(smaller[4].bias, model[4].bias + constant * model[4].weight[:, 0])
    assert apart(model, smaller, inputs) < 1e-15
    without = copy.deepcopy(smaller)
    without[4].bias.data.copy_(model[4].bias)
    assert apart(model, without, inputs) > 0.1, "dropping the constant would show"


def test_a_dead_channel_gives_what_its_norm_shifts_by():
    model = nn.Sequential(nn.Conv2d(1, 3, 3, bias=False), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 2, bias=False))
    with torch.no_grad():
        model[0].weight[1] = 0
        model[1].bias[:] = torch.tensor([0.1, 0.7, -0.2])
    model = model.double().eval()
    images = torch.randn(2, 1, 6, 6, dtype=torch.float64)
    compacted = bb.compact(model, images)
    assert compacted.plan.biases == ("3.bias",), "it had none"
    assert torch.allclose(compacted.model[3].bias, 0.7 * model[3].weight[:, 1].sum((1, 2)))
    assert (compacted.model[1].num_features, compacted.difference < 1e-15) == (2, True)


def padded(shift):
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 3, padding=1)).double()
    with torch.no_grad():
        model[0].weight[1] = 0
        model[0].bias[1] = shift
    return model, torch.randn(2, 1, 9, 9, dtype=torch.float64)


def test_a_constant_before_zero_padding_stays_and_is_named():
    model, images = padded(0.5)
    compacted = bb.compact(model, images)
    assert widths(compacted.model) == [3, 2]
    assert str(compacted.left[0]) == (
        "0.weight: 1 dead of 3 units stay: a constant enters 2.weight, "
        "which makes different values of it at borders (padding) or by strides"
    )


def test_with_consent_it_goes_and_only_borders_differ():
    model, images = padded(0.5)
    compacted = bb.compact(model, images, approximate=True)
    assert widths(compacted.model) == [2, 2]
    error = (output(model, images) - output(compacted.model, images)).abs()
    assert float(error[..., 1:-1, 1:-1].max()) < 1e-12 < compacted.difference == float(error.max())
    with pytest.raises(bb.errors.InvariantBroken, match=r"without the dead units of '0.weight': an output differs"):
        bb.compact(model, images, approximate=True, tolerance=1e-6)


@pytest.mark.parametrize("shift", [-0.5, 0.0])
def test_a_constant_of_zero_goes_whatever_the_padding(shift):
    model, images = padded(shift)
    assert widths(bb.compact(model, images).model) == [2, 2]


def test_a_single_position_does_not_hide_the_border():
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 3, padding=1), nn.AdaptiveAvgPool2d(1)
    ).double()
    with torch.no_grad():
        model[0].weight[1], model[0].bias[1] = 0, 0.5
    compacted = bb.compact(model, torch.randn(2, 1, 3, 3, dtype=torch.float64))
    larger = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    assert apart(model, compacted.model, larger) < 1e-12


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.floats(0.3, 0.95))
def test_exactly_the_dead_units_of_an_mlp_go(seed, sparsity):
    """Against a fixed point by hand: backwards what is read, forwards what is fed."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6), nn.GELU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)
    ).double()
    weights = [model[at].weight for at in (0, 2, 4, 6)]
    mask = bb.Mask({f"{at}.weight": torch.rand(model[at].weight.shape) > sparsity for at in (0, 2, 4, 6)})
    kept = [mask[f"{at}.weight"].numpy() & (weight.detach().numpy() != 0) for at, weight in zip((0, 2, 4, 6), weights)]  # noqa: B905
    fed, read = [[True] * 4], [[True] * 3]
    for entry in kept:
        fed.append([any(k and f for k, f in zip(row, fed[-1], strict=True)) for row in entry])
    for entry in reversed(kept):
        read.insert(0, [any(k and r for k, r in zip(column, read[0], strict=True)) for column in entry.T])
    inputs = torch.randn(5, 4, dtype=torch.float64)
    if not any(fed[-1]):
        with pytest.raises(bb.errors.LayerCollapsed, match="no output of Sequential depends on its inputs"):
            bb.compact(model, inputs, mask=mask)
        return
    expected = [sum(f and r for f, r in zip(*both, strict=True)) for both in zip(fed[1:-1], read[1:-1], strict=True)]
    compacted = bb.compact(model, inputs, mask=mask)
    assert widths(compacted.model)[:-1] == [max(count, 1) for count in expected]
    dense = copy.deepcopy(model)
    bb.live.apply_mask(dense, mask)
    assert apart(dense, compacted.model, torch.randn(5, 4, dtype=torch.float64)) < 1e-12


@pytest.mark.parametrize(
    ("name", "seed"),
    [("resnet-20", 0), *((name, seed) for name in ("densenet", "grouped", "mobilenet") for seed in (1, 2))],
)
def test_random_masks_of_single_weights_and_of_units(name, seed):
    model, images = image_net(name, seed)
    kept = {key: torch.rand(entry.shape) > 0.6 for key, entry in bb.Mask.dense(model).items()}
    for entry in kept.values():
        entry[torch.rand(len(entry)) < 0.3] = False
        entry[0] = True
    mask = bb.Mask(kept)
    compacted = bb.compact(model, images[:2], mask=mask)
    bb.live.apply_mask(model, mask)
    assert apart(model, compacted.model, images) < 1e-12


def test_modules_say_their_new_sizes():
    model, images = image_net("grouped")
    kill(model, images, 0.5, reads=True, seed=3)
    smaller = bb.compact(model, images).model
    assert 0 < smaller.enter.out_channels < 8
    assert smaller.enter.out_channels == smaller.slopes.num_parameters == smaller.grouped.in_channels
    assert smaller.grouped.groups == smaller.grouped.in_channels // 2 == smaller.grouped.out_channels // 3
    assert smaller.grouped.out_channels == smaller.up.in_channels
    assert smaller.up.out_channels == smaller.line.in_channels
    assert (
        smaller.line.out_channels == smaller.norm.num_channels == smaller.norm.num_groups * 2 == smaller.out.in_features
    )


def bare_batch_norm(units):
    return nn.BatchNorm2d(units, affine=False, track_running_stats=False)


@pytest.mark.parametrize(
    ("norm", "batched"), [(nn.InstanceNorm2d, True), (nn.InstanceNorm2d, False), (bare_batch_norm, True)]
)
@pytest.mark.filterwarnings("error")
def test_norms_that_hold_no_tensor_say_their_new_sizes_and_do_not_warn(norm, batched, tmp_path):
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 6, 3), norm(6), nn.ReLU(), nn.Conv2d(6, 4, 3), norm(4), nn.Flatten(1)]
    model, x = nn.Sequential(*layers, nn.Linear(64, 2)), torch.randn(2, 3, 8, 8)
    if not batched:
        model, x = model[:5], x[0]
    model[0].weight.data[[1, 4]] = model[0].bias.data[[1, 4]] = 0
    compacted = bb.compact(model, x)
    assert (compacted.model[1].num_features, model[1].num_features) == (4, 6)
    torch.testing.assert_close(compacted.model(2 * x), model(2 * x))
    compacted.plan.save(tmp_path / "plan.json")
    again = CompactionPlan.load(tmp_path / "plan.json").apply(copy.deepcopy(model))
    assert again[1].num_features == 4


def test_heads_of_attention_and_hidden_units_of_a_vit_go():
    model, images = image_net("vit")
    with torch.no_grad():
        for layer, heads in zip(model.blocks, ((1,), (0, 2)), strict=True):
            for head in heads:
                layer.self_attn.out_proj.weight[:, 4 * head : 4 * head + 4] = 0
            layer.linear2.weight[:, ::2] = 0
    compacted = bb.compact(model, images)
    assert [layer.self_attn.num_heads for layer in compacted.model.blocks] == [2, 1]
    assert [layer.linear1.out_features for layer in compacted.model.blocks] == [8, 8]
    assert [one.units for one in compacted.left] == [0]
    assert "layer_norm in blocks.0.norm1 takes its mean over them" in compacted.left[0].why


def test_weight_norm_keeps_what_its_norms_count():
    model = nn.Sequential(
        *(parametrizations.weight_norm(nn.Linear(*size)) for size in ((4, 6), (6, 5), (5, 2)))
    ).double()
    with torch.no_grad():
        model[0].parametrizations.weight.original0[0] = 0  # a constant, and its column counts in the norm
        model[2].parametrizations.weight.original1[:, 2] = 0  # nobody reads it
    inputs = torch.randn(4, 4, dtype=torch.float64)
    compacted = bb.compact(model, inputs)
    assert [layer.weight.shape[0] for layer in compacted.model] == [6, 4, 2]
    assert "whose columns count in its norm" in compacted.left[0].why
    assert compacted.difference < 1e-15


def test_recurrent_layers_are_left_and_named():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.enter, self.gru, self.hidden, self.out = (
                nn.Linear(3, 4),
                nn.GRU(4, 5),
                nn.Linear(5, 6),
                nn.Linear(6, 2),
            )

        def forward(self, x):
            return self.out(self.hidden(self.gru(self.enter(x))[0]).relu())

    model = Net().double()
    with torch.no_grad():
        model.out.weight[:, :3] = 0
    compacted = bb.compact(model, torch.randn(4, 2, 3, dtype=torch.float64))
    assert {(one.name, one.why) for one in compacted.left} == {
        ("enter.weight", "enters gru in gru"),
        ("gru.weight_ih_l0", "is inside gru in gru"),
    }
    assert compacted.model.hidden.out_features == 3


def test_embeddings_and_tied_weights_stay():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.inner, self.out = nn.Embedding(7, 4), nn.Linear(4, 4), nn.Linear(4, 7, bias=False)
            self.out.weight = self.table.weight

        def forward(self, x):
            return self.out(self.inner(self.table(x)).relu())

    model = Tied().double()
    with torch.no_grad():
        model.inner.weight[0], model.inner.weight[:, 0] = 0, 0
        model.table.weight[:, 0] = 0
    compacted = bb.compact(model, torch.randint(7, (2, 5)))
    assert compacted.model.table.weight.shape == (7, 4)
    assert compacted.model.out.weight is compacted.model.table.weight


def test_what_a_mask_prunes_is_taken_as_zero():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    mask = bb.Mask({"0.weight": torch.tensor([[1], [0], [1], [1]]).expand(4, 3), "2.weight": torch.ones(2, 4)})
    assert widths(bb.compact(model, torch.randn(2, 3), mask=mask).model) == [3, 2]
    assert int((model[0].weight == 0).sum()) == 0


def test_float32_and_modes():
    model, images = image_net("resnet")
    model, images = kill(model, images, 0.4, reads=True).float().train(), images.float()
    compacted = bb.compact(model, images)
    assert 0 <= compacted.difference < 1e-5
    assert all(module.training for module in [*model.modules(), *compacted.model.modules()])


def test_a_printed_result_says_what_was_bought():
    model, images = padded(0.5)
    text = str(bb.compact(model, images))
    assert text.startswith("parameters 86 -> 86, MACs of the example")
    assert "largest difference of an output on the example: 0\n0.weight: 1 dead of 3 units stay" in text
