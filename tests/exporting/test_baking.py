"""What leaves is plain, and gives the same: norms, scalars and parametrizations folded, or left where they must be."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import fuse_conv_bn_eval, parametrizations, parametrize, prune, weight_norm

import budbreak as bb
from budbreak import activations
from budbreak.activations import ActivationModule
from budbreak.errors import InvariantBroken
from budbreak.exporting import SparseLinear, bake

IMAGE = (3, 4, 6, 6)


def trained(model):
    """Numbers as after a training, in float64: statistics, gains and scalars of either sign."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for tensor in (module.running_mean, module.weight, module.bias):
                if tensor is not None:
                    tensor.data.normal_()
            if module.running_var is not None:
                module.running_var.uniform_(0.3, 2)
        elif isinstance(module, ActivationModule):
            for scalar in module.parameters():
                scalar.data.uniform_(0.4, 1.6)
    return model.double()


def same(model, x, baked):
    """Equal but for rounding in float64; the model is left in training mode, and runs in eval mode here."""
    model = copy.deepcopy(model).eval()
    torch.testing.assert_close(baked.model(x), model(x), rtol=1e-9, atol=1e-9)


def kinds_in(model):
    return {type(module) for module in model.modules()}


LAYERS = {
    "conv": (nn.Conv2d(4, 6, 3, bias=False), IMAGE),
    "grouped": (nn.Conv2d(4, 6, 3, groups=2, padding=1), IMAGE),
    "depthwise": (nn.Conv2d(4, 4, 3, groups=4, bias=False), IMAGE),
    "reflecting": (nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"), IMAGE),
    "transposed": (nn.ConvTranspose2d(4, 6, 3, bias=False), IMAGE),
    "grouped transposed": (nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2), IMAGE),
    "conv1d": (nn.Conv1d(4, 6, 3), (3, 4, 6)),
    "conv3d": (nn.Conv3d(4, 6, 3, groups=2, bias=False), (3, 4, 4, 4, 4)),
    "linear": (nn.Linear(4, 6, bias=False), (3, 4)),
}
NORMS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("kind", LAYERS)
def test_norms_are_folded_into_each_kind_of_layer(kind, affine):
    layer, shape = LAYERS[kind]
    units = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
    model = trained(nn.Sequential(copy.deepcopy(layer), NORMS[len(shape)](units, affine=affine), nn.ReLU()))
    x = torch.randn(shape, dtype=torch.float64)
    baked = bake(model, x)
    assert (baked.folded, baked.left) == (("norm of 1 into 0",), ())
    assert type(baked.model[1]) is nn.Identity
    same(model, x, baked)


@pytest.mark.parametrize("kind", LAYERS)
def test_one_alpha_for_each_unit_is_folded_into_each_kind_of_layer(kind):
    layer, shape = LAYERS[kind]
    units = (4,) + (1,) * (len(shape) - 2)
    model = trained(nn.Sequential(activations.Tanh(trainable=True, per="unit").module(units), copy.deepcopy(layer)))
    x = torch.randn(shape, dtype=torch.float64)
    baked = bake(model, x)
    assert baked.folded == ("alpha of 0 into 1",)
    same(model, x, baked)


def test_a_folded_convolution_has_the_numbers_that_torch_gives_it():
    model = trained(nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6))).eval()
    baked, theirs = bake(model, torch.randn(IMAGE, dtype=torch.float64)).model, fuse_conv_bn_eval(*model)
    torch.testing.assert_close(baked[0].weight, theirs.weight.detach())
    torch.testing.assert_close(baked[0].bias, theirs.bias.detach())


class Wired(nn.Module):
    """A convolution, a norm, and what a test does with them."""

    def __init__(self, wire, **more):
        super().__init__()
        self.conv, self.bn, self.wire = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), wire
        for name, module in more.items():
            self.add_module(name, module)

    def forward(self, x):
        return self.wire(self, x)


def tied(model):
    model.other.weight = model.conv.weight
    return model


STAYING = {
    "after a sum": Wired(lambda m, x: m.bn(m.conv(x) + x)),
    "read before the norm, too": Wired(lambda m, x: m.bn(y := m.conv(x)) * y),
    "a layer called twice": Wired(lambda m, x: m.bn(m.conv(m.conv(x)))),
    "a norm called twice": Wired(lambda m, x: m.bn(m.conv(m.bn(x)))),
    "a tied weight": tied(Wired(lambda m, x: m.bn(m.conv(x)) + m.other(x), other=nn.Conv2d(4, 4, 3, padding=1))),
    "a weight that is read": Wired(lambda m, x: m.bn(m.conv(x)) * m.conv.weight.mean()),
    "behind an activation": Wired(lambda m, x: m.bn(m.conv(x).relu())),
    "other units": Wired(lambda m, x: m.norm(m.fc(x.flatten(2))), fc=nn.Linear(36, 5), norm=nn.BatchNorm1d(4)),
}


@pytest.mark.parametrize("case", STAYING)
def test_norms_stay_where_no_layer_alone_can_take_them_over(case):
    model, x = trained(STAYING[case]), torch.randn(IMAGE, dtype=torch.float64)
    baked = bake(model, x)
    assert (baked.folded, len(baked.left)) == ((), 2 if case == "other units" else 1)
    same(model, x, baked)


def test_norms_without_statistics_stay():
    model = nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)).double()
    x = torch.randn(IMAGE, dtype=torch.float64)
    assert bake(model, x).left == ("1",)
    same(model, x, bake(model, x))


@pytest.mark.parametrize("per", ["site", "unit"])
@pytest.mark.parametrize("kind", activations.ALL)
def test_every_operator_with_trained_scalars(kind, per):
    """Between a grouped convolution, a pool, and two layers that take what it gives."""
    act = kind(trainable=True, per=per).module((4, 1, 1) if per == "unit" else ())
    head = Wired(lambda m, x: m.conv(x).mean((2, 3)) + m.fc(x.mean((2, 3))), fc=nn.Linear(4, 4))
    del head.bn
    model = trained(nn.Sequential(nn.Conv2d(4, 4, 3, groups=2), act, nn.AvgPool2d(2), head))
    x = torch.randn(IMAGE, dtype=torch.float64)
    baked = bake(model, x)
    same(model, x, baked)
    form = {"alpha", "beta"} <= set(kind().scalars) and kind not in (activations.SRS,)
    assert ("alpha of 1 into 3.conv, 3.fc" in baked.folded) == (form or kind is activations.Identity)
    assert not any(parameter.requires_grad for parameter in baked.model.parameters())
    if form and kind in (activations.ReLU, activations.Swish, activations.GELU, activations.Mish, activations.SELU):
        assert type(baked.model[1]).__module__.startswith("torch.nn.")  # nothing of ours is left


@pytest.mark.parametrize(
    ("sign", "pool", "folded"),
    [(1, nn.MaxPool2d(2), True), (-1, nn.MaxPool2d(2), False), (-1, nn.AvgPool2d(2), True)],
    ids=["positive, maximum", "negative, maximum", "negative, mean"],
)
def test_alpha_passes_a_maximum_only_if_it_is_positive(sign, pool, folded):
    act = activations.Tanh(alpha=1.5 * sign).module()
    model = nn.Sequential(nn.Conv2d(4, 4, 3), act, pool, nn.Flatten(), nn.Linear(16, 3)).double()
    x = torch.randn(IMAGE, dtype=torch.float64)
    baked = bake(model, x)
    assert ("alpha of 1 into 4" in baked.folded) == folded
    same(model, x, baked)


def test_one_alpha_for_each_unit_follows_its_channel_through_flattening():
    act = activations.Sin(trainable=True, per="unit").module((4, 1, 1))
    model = trained(nn.Sequential(nn.Conv2d(4, 4, 3), act, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3)))
    x = torch.randn(IMAGE, dtype=torch.float64)
    baked = bake(model, x)
    assert baked.folded == ("beta of 1 into 0", "alpha of 1 into 4")
    same(model, x, baked)


def test_scalars_stay_where_nothing_can_take_them_over():
    """Behind a sum and before one: as a factor, but for a homogeneous operator, whose two become one."""
    wire = lambda m, x: m.act(m.conv(x) + x) + x  # noqa: E731
    for operator in (activations.Softplus(), activations.ReLU()):
        model = trained(Wired(wire, act=type(operator)(trainable=True).module()))
        x = torch.randn(IMAGE, dtype=torch.float64)
        assert bake(model, x).folded == ()
        same(model, x, bake(model, x))


def test_an_activation_that_is_called_twice_has_constants_of_its_own():
    model = trained(Wired(lambda m, x: m.act(m.conv(m.act(x))), act=activations.Swish(trainable=True).module()))
    x = torch.randn(IMAGE, dtype=torch.float64)
    baked = bake(model, x)
    assert baked.folded == ()
    assert ActivationModule not in kinds_in(baked.model)
    same(model, x, baked)


def test_a_model_that_is_an_activation():
    model = trained(activations.Rational(trainable=True).module())
    x = torch.randn(3, 5, dtype=torch.float64)
    same(model, x, bake(model, x))


class Doubled(nn.Module):
    def forward(self, weight):
        return 2 * weight


COMPUTED = {
    "pruned": lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
    "pruned twice": lambda layer: prune.l1_unstructured(prune.random_unstructured(layer, "weight", 0.2), "weight", 2),
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "a parametrization of one's own": lambda layer: parametrize.register_parametrization(layer, "weight", Doubled()),
}


@pytest.mark.parametrize("how", COMPUTED)
def test_computed_weights_become_plain_ones(how):
    model = nn.Sequential(COMPUTED[how](nn.Linear(4, 6).double()), nn.BatchNorm1d(6)).double()
    trained(model)
    x = torch.randn(3, 4, dtype=torch.float64)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    baked = bake(model, x)
    assert set(baked.model.state_dict()) == {"0.weight", "0.bias"}
    same(model, x, baked)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_weight_norm_by_hooks():
    model, x = nn.Sequential(weight_norm(nn.Linear(4, 6).double())), torch.randn(3, 4, dtype=torch.float64)
    assert set(bake(model, x).model.state_dict()) == {"0.weight", "0.bias"}
    same(model, x, bake(model, x))


def test_the_model_stays_as_it_is():
    model = nn.Sequential(
        nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), activations.ReLU(trainable=True).module()
    )
    before = copy.deepcopy(model.state_dict())
    baked = bake(model, torch.randn(IMAGE))
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert {name: value.tolist() for name, value in model.state_dict().items()} == {
        name: value.tolist() for name, value in before.items()
    }
    assert kinds_in(baked.model) == {nn.Sequential, nn.Conv2d, nn.Identity, nn.ReLU}
    assert not baked.model.training


def test_searched_and_compacted_networks():
    model = nn.Sequential(nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 5))
    x = torch.randn(IMAGE)
    with torch.no_grad():
        model[0].weight[2:5] = 0
        model[0].bias[2:5] = 0
    searched = bb.replace_activations(model, {"2": activations.GELU(trainable=True)}, example=x)
    searched[2].alpha.data.fill_(1.7)
    small = bb.compact(searched, x).model
    baked = bake(small, x)
    assert baked.folded == ("norm of 1 into 0", "alpha of 2 into 4")
    torch.testing.assert_close(baked.model(x), searched.eval()(x).detach(), rtol=1e-4, atol=1e-5)


def test_what_cannot_be_folded_is_named():
    def wire(m, x):
        return m.bn(m.conv(x)) + float(m.conv.weight.detach().numpy().sum())  # numpy, which no trace sees

    model = trained(Wired(wire))
    with pytest.raises(InvariantBroken, match=r"cannot be baked: .*, after the norm of bn into conv"):
        bake(model, torch.randn(IMAGE, dtype=torch.float64))


def test_functions_that_use_a_layer_by_its_weight():
    model = trained(Wired(lambda m, x: m.bn(functional.conv2d(x, m.conv.weight, m.conv.bias))))
    x = torch.randn(IMAGE, dtype=torch.float64)
    assert bake(model, x).left == ("bn",)
    same(model, x, bake(model, x))


class Same(nn.Conv2d):
    """Pads by itself, as EfficientNet's."""

    def forward(self, x):
        return functional.conv2d(
            functional.pad(x, (1, 1, 1, 1)), self.weight, self.bias, self.stride, groups=self.groups
        )


class Standardized(nn.Conv2d):
    def forward(self, x):
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return functional.conv2d(x, weight / weight.std((1, 2, 3), keepdim=True), self.bias)


class WithoutBias(nn.Conv2d):
    def forward(self, x):
        return functional.conv2d(x, self.weight)


class Squared(nn.Linear):
    def forward(self, x):
        return functional.linear(x, self.weight**2, self.bias)


@pytest.mark.parametrize(
    ("layer", "left"),
    [
        (Same(4, 6, 3, bias=False), ()),
        (Same(4, 4, 3, groups=4), ()),
        (Standardized(4, 6, 3), ("1",)),
        (WithoutBias(4, 6, 3, bias=False), ("1",)),
        (Squared(4, 6), ("1",)),
    ],
    ids=["pads", "depthwise", "standardizes", "without bias", "squares"],
)
def test_a_class_made_from_a_layer_takes_over_a_norm_if_its_outputs_scale(layer, left):
    x = torch.randn(IMAGE if layer.weight.dim() == 4 else (3, 4), dtype=torch.float64)
    model = trained(nn.Sequential(layer, NORMS[x.dim()](len(layer.weight)), nn.ReLU()))
    baked = bake(model, x)
    assert baked.left == left
    same(model, x, baked)


def test_beta_goes_into_a_class_made_from_a_layer_alpha_does_not():
    model = trained(nn.Sequential(Same(4, 6, 3), activations.Tanh(alpha=2.0, beta=3.0).module(), Same(6, 2, 3)))
    x = torch.randn(IMAGE, dtype=torch.float64)
    baked = bake(model, x)
    assert baked.folded == ("beta of 1 into 0",)
    same(model, x, baked)


def test_sparse_rows_become_dense_ones():
    layers = [SparseLinear(nn.Linear(4, 6)), nn.ReLU(), SparseLinear(nn.Linear(6, 3, bias=False))]
    model, x = nn.Sequential(*layers), torch.randn(3, 4)
    baked = bake(model, x)
    assert [type(module) for module in baked.model] == [nn.Linear, nn.ReLU, nn.Linear]
    torch.testing.assert_close(baked.model(x), model(x))


def test_what_has_hooks_stays_with_them():
    model = nn.Sequential(
        nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(), activations.Tanh(alpha=2.0).module(), nn.Linear(4, 2)
    ).double()  # fmt: skip
    for module in list(model)[1:4]:
        module.register_forward_hook(lambda _, inputs, given: 3 * given + 1)
    x = torch.randn(3, 4, dtype=torch.float64)
    baked = bake(trained(model), x)
    assert baked.left == ("1",)
    same(model, x, baked)


def test_scalars_that_are_not_trained_are_no_rounder_than_the_model():
    model = nn.Sequential(nn.Linear(4, 4), activations.Symlog(alpha=0.7, beta=-1.1).module(), nn.Linear(4, 3)).double()
    x = torch.randn(3, 4, dtype=torch.float64)
    torch.testing.assert_close(bake(model, x).model(x), model(x), rtol=1e-13, atol=1e-13)


def test_what_draws_in_training_alone_is_what_it_gives_in_eval_mode():
    model = nn.Sequential(nn.Linear(4, 6), nn.RReLU(0.1, 0.5), nn.Linear(6, 2)).eval()
    example = torch.randn(5, 4)
    baked = bake(model, example)
    assert (type(baked.model[1]), baked.model[1].negative_slope) == (nn.LeakyReLU, 0.3)
    assert torch.equal(baked.model(example), model(example))
