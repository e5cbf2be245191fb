"""The papers' networks: exact sizes, a module for each activation, draws that depend on the seed alone."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn import functional

from budbreak.errors import InvalidValue, UnknownName
from budbreak.networks import INITIALISATIONS, NETWORKS, build
from budbreak.networks.efficientnet import MBConv, SafsMBConv
from budbreak.networks.factory import count_parameters
from budbreak.networks.resnet import BasicBlock, SafsBlock


@dataclass(frozen=True)
class Task:
    shape: tuple[int, int, int] = (3, 32, 32)
    classes: int = 10


MNIST = Task((1, 28, 28))


@pytest.mark.parametrize(
    ("name", "task", "parameters"),
    [
        # 784 * 300 + 300 + 300 * 100 + 100 + 100 * 10 + 10
        ("lenet-300-100", MNIST, 266_610),
        # 6 * 26 + 16 * 151 + 120 * 401 + 84 * 121 + 10 * 85
        ("lenet-5", MNIST, 61_706),
        # 144 + 4,608 + 9,216 + 18,432, two numbers for each of 144 channels, 650
        ("bn-cnn", MNIST, 33_338),
        # 269,722 of option A and two shortcuts: 16 * 32 + 64 and 32 * 64 + 128
        ("resnet-20", Task(), 272_474),
        # 64 * 100 + 100 + 100 * 50 + 50 + 50 * 10 + 10
        ("mlp", Task((1, 8, 8)), 12_060),
    ],
)
def test_the_number_of_parameters(name: str, task: Task, parameters: int) -> None:
    assert count_parameters(build(name, task, seed=0)) == parameters


LARGE = {name for name in NETWORKS if name.startswith(("efficientnet", "resnet-18", "vgg"))}
"""Without values, on the meta device, they take no time."""


def outlined(name: str, task: Task) -> nn.Module:
    """A network whose weights have shapes and no values."""
    with torch.device("meta"):
        return NETWORKS[name](task.shape, task.classes).eval()


@pytest.mark.parametrize(
    ("name", "task", "parameters", "weights"),
    [
        # published, for three channels and 1000 classes; without 2 * 21,008 of norms, 9,340 biases of fc1 and fc2, fc's
        ("efficientnet-b0", Task((3, 224, 224), 1000), 5_288_548, 5_236_192),
        # 3.23 million, as the code of SAFS builds it
        ("efficientnet-b0-safs", Task((3, 16, 16), 1000), 3_229_879, 3_187_168),
        # 150 + 2,400 + 256 * 120 + 120 * 84 + 840, and 236 biases
        ("lenet-5-safs", MNIST, 44_426, 44_190),
        # 11.17 million; 9,600 in norms, 10 biases
        ("resnet-18", Task(), 11_173_962, 11_164_352),
        ("resnet-18-safs", Task(), 11_173_962, 11_164_352),
        # 1,728 + 73,728 + 294,912 + 589,824 + 1,179,648 + 3 * 2,359,296 + 5,120; 3 * 2,752 of biases and norms, 10
        ("vgg-11-bn", Task(), 9_231_114, 9_222_848),
        # 14,710,464 of convolutions + 5,120; 3 * 4,224 of biases and norms, 10
        ("vgg-16-bn", Task(), 14_728_266, 14_715_584),
    ],
)
def test_the_number_of_parameters_and_of_weights(name: str, task: Task, parameters: int, weights: int) -> None:
    model = outlined(name, task)
    assert count_parameters(model) == parameters
    assert sum(parameter.numel() for parameter in model.parameters() if parameter.dim() >= 2) == weights


@pytest.mark.parametrize("task", [MNIST, Task((3, 32, 32), 100), Task((3, 21, 17), 7)])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_fits_every_shape(name: str, task: Task) -> None:
    device = torch.device("meta" if name in LARGE else "cpu")
    model = outlined(name, task) if name in LARGE else build(name, task, seed=0).eval()
    assert model(torch.zeros(2, *task.shape, device=device)).shape == (2, task.classes)


@pytest.mark.parametrize(
    ("name", "activations"),
    [
        ("bn-cnn", 4), ("lenet-300-100", 2), ("lenet-5", 4), ("lenet-5-safs", 4), ("mlp", 2), ("resnet-20", 19),
        ("resnet-18", 17), ("resnet-18-safs", 17), ("vgg-11-bn", 8), ("vgg-16-bn", 13),
        ("efficientnet-b0-safs", 49), ("efficientnet-b0", 49),  # stem, head, 15 that expand, 16 depthwise, 16 excite
    ],
)  # fmt: skip
def test_each_activation_is_a_module_used_once(name: str, activations: int) -> None:
    task = MNIST if "lenet" in name or name in ("bn-cnn", "mlp") else Task()
    model, calls = outlined(name, task), list[nn.Module]()
    for module in model.modules():
        if isinstance(module, nn.ReLU | nn.SiLU):
            module.register_forward_hook(lambda module, _inputs, _output: calls.append(module))
    model(torch.zeros(1, *task.shape, device="meta"))
    assert len(calls) == len(set(calls)) == activations


def test_the_block_of_safs_has_its_second_activation_on_the_shortcut() -> None:
    for block in (SafsBlock(3, 5, stride=2).eval(), SafsBlock(3, 3, stride=1).eval()):
        x = torch.randn(2, 3, 6, 6)
        inner = block.bn2(block.conv2(block.bn1(block.conv1(x)).clamp(min=0)))
        torch.testing.assert_close(block(x), inner + block.shortcut(x).clamp(min=0))


def test_the_block_of_efficientnet_excites_before_it_projects_and_that_of_safs_after() -> None:
    x = torch.randn(2, 16, 5, 5)
    block = MBConv(16, 16, 6, stride=1, kernel=5).eval()
    inner = block.depthwise(block.expand(x))
    factors = torch.sigmoid(block.se.fc2(functional.silu(block.se.fc1(inner.mean((2, 3), keepdim=True)))))
    torch.testing.assert_close(block(x), block.project(inner * factors) + x)
    for block in (
        SafsMBConv(16, 16, 6, 1, 3).eval(),
        SafsMBConv(16, 32, 6, 1, 3).eval(),
        SafsMBConv(16, 32, 6, 2, 3).eval(),
    ):
        inner = block.project(block.depthwise(block.expand(x)))
        factors = torch.sigmoid(block.se.fc2(functional.silu(block.se.fc1(inner.mean((2, 3), keepdim=True)))))
        skip = inner if block.stride == 2 else block.shortcut(x)
        torch.testing.assert_close(block(x), inner * factors + skip)


@pytest.mark.parametrize("init", INITIALISATIONS)
@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in LARGE])
def test_the_seed_alone_decides_and_the_global_generator_stays(name: str, init: str) -> None:
    torch.manual_seed(1)
    first = build(name, MNIST, init=init, seed=4).state_dict()
    state = torch.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(2)
    again = build(name, MNIST, init=init, seed=4).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    other = build(name, MNIST, init=init, seed=5).state_dict()
    assert any(not torch.equal(first[key], other[key]) for key in first)


def spread(tensor: torch.Tensor) -> tuple[float, float]:
    values = tensor.detach()
    return float(values.mean()), float(values.std())


def test_kaiming_is_he_normal_with_zero_biases() -> None:
    model = build("resnet-20", Task(), init="kaiming", seed=0)
    mean, std = spread(model.stage3[0].conv1.weight)  # 18,432 draws, of 32 inputs: std known to 0.5 %
    assert abs(mean) < 0.003
    assert std == pytest.approx((2 / (32 * 9)) ** 0.5, rel=0.02)
    assert not model.fc.bias.any()
    assert (model.bn.weight == 1).all()
    assert not model.bn.bias.any()


def test_xavier_is_the_preset_of_the_scripts() -> None:
    model = build("resnet-20", Task((3, 32, 32), 100), init="xavier", seed=0)
    _, std = spread(model.stage3[1].conv1.weight)
    assert std == pytest.approx((2 / (2 * 64 * 9)) ** 0.5, rel=0.02)
    mean, std = spread(model.stage3[0].bn1.weight)  # 64 draws: std known to 9 %
    assert mean == pytest.approx(1, abs=0.01)
    assert std == pytest.approx(0.02, rel=0.3)
    assert spread(model.fc.bias)[1] == pytest.approx(1, rel=0.3)
    assert spread(build("lenet-5", MNIST, init="xavier", seed=0).conv2.bias)[1] > 0.5


def test_lth_draws_uniform_normalisation_scales() -> None:
    model = build("resnet-20", Task(), init="lth", seed=0)
    scales = torch.cat([module.weight.detach() for module in model.modules() if isinstance(module, nn.BatchNorm2d)])
    assert 0 <= float(scales.min()) < 0.02 < 0.98 < float(scales.max()) <= 1
    assert spread(scales)[0] == pytest.approx(0.5, abs=0.05)  # 784 draws: known to 0.01


def test_option_b_shortcuts_stand_only_where_the_shape_changes() -> None:
    names = {name for name, module in build("resnet-20", Task(), seed=0).named_modules() if "shortcut.conv" in name}
    assert names == {"stage2.0.shortcut.conv", "stage3.0.shortcut.conv"}


def test_a_block_adds_its_shortcut_before_the_last_relu() -> None:
    block = BasicBlock(3, 5, stride=2).eval()
    x = torch.randn(2, 3, 6, 6)
    inner = block.bn2(block.conv2(block.bn1(block.conv1(x)).clamp(min=0)))
    expected = (inner + block.shortcut.bn(block.shortcut.conv(x))).clamp(min=0)
    torch.testing.assert_close(block(x), expected)
    plain = BasicBlock(3, 3, stride=1).eval()
    inner = plain.bn2(plain.conv2(plain.bn1(plain.conv1(x)).clamp(min=0)))
    torch.testing.assert_close(plain(x), (inner + x).clamp(min=0))


def test_too_small_images_are_refused() -> None:
    with pytest.raises(InvalidValue, match="8 x 8"):
        build("lenet-5", Task((1, 8, 8)), seed=0)


# --- factories of the user ---------------------------------------------------------------------------------


@pytest.fixture
def user_module(tmp_path, monkeypatch) -> str:
    (tmp_path / "their_nets.py").write_text(
        "import torch\n"
        "from torch import nn\n"
        "def plain():\n    net = nn.Linear(3, 2)\n    nn.init.constant_(net.weight, 7.0)\n    return net\n"
        "def shaped(*, classes, shape):\n    return nn.Linear(shape[0], classes)\n"
        "def counted(classes=5):\n    return nn.Linear(1, classes)\n"
        "def open_ended(**settings):\n    return nn.Linear(settings['shape'][1], settings['classes'])\n"
        "def no_module():\n    return 3\n"
        "def greedy(depth):\n    return None\n"
        "number = 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield "their_nets"
    sys.modules.pop("their_nets", None)


def test_a_factory_gets_what_it_has_parameters_for(user_module: str) -> None:
    task = Task((3, 5, 5), 4)
    assert build(f"{user_module}:shaped", task, seed=0).weight.shape == (4, 3)
    assert build(f"{user_module}:counted", task, seed=0).weight.shape == (4, 1)
    assert build(f"{user_module}:open_ended", task, seed=0).weight.shape == (4, 5)


def test_a_factory_keeps_its_own_weights_unless_told_otherwise(user_module: str) -> None:
    assert (build(f"{user_module}:plain", Task(), seed=0).weight == 7).all()
    assert not (build(f"{user_module}:plain", Task(), init="kaiming", seed=0).weight == 7).any()


def test_a_factory_draws_from_the_seed(user_module: str) -> None:
    first, again, other = (build(f"{user_module}:counted", Task(), seed=seed).weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("resnet20", UnknownName, "resnet-20"),
        ("no_such_package:make", UnknownName, "cannot import"),
        (":make", InvalidValue, "name the module in full"),
        ("their_nets:", InvalidValue, "it is package.module:name"),
        ("their_nets:plane", UnknownName, "did you mean 'plain'"),
        ("their_nets:number", InvalidValue, "is of type int"),
        ("their_nets:no_module", InvalidValue, "returned a int"),
        ("their_nets:greedy", InvalidValue, "depth"),
    ],
)
def test_a_name_that_gives_no_network_is_refused(user_module: str, name: str, error: type[Exception], words: str):
    with pytest.raises(error, match=words):
        build(name, Task(), seed=0)


def test_an_unknown_initialisation_is_refused() -> None:
    with pytest.raises(UnknownName, match="did you mean 'kaiming'"):
        build("mlp", Task(), init="kaming", seed=0)
