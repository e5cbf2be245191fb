"""What dead_neurons cannot see is named, and what has no answer is refused."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import budbreak as bb
from budbreak.errors import EmptyBatches, InvalidValue, MissingEvidence, NoSites, NotFinite
from budbreak.evidence import UnitCounts, Unseen

X = torch.randn(8, 4)


class Net(nn.Module):
    def __init__(self, act, **more):
        super().__init__()
        self.fc1, self.relu, self.fc2, self.act = nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 6), act
        for name, module in more.items():
            self.add_module(name, module)

    def forward(self, x):
        return self.act(self.fc2(self.relu(self.fc1(x))))


class Functions(nn.Module):
    """A block whose activation is a function."""

    def __init__(self, act):
        super().__init__()
        self.fc, self.call = nn.Linear(6, 3), act

    def forward(self, x):
        return self.call(self.fc(x))


FUNCTIONS = {
    "F.relu": functional.relu,
    "torch.relu": torch.relu,
    ".relu()": torch.Tensor.relu,
    ".relu_()": torch.Tensor.relu_,
    "F.gelu": functional.gelu,
    "F.silu": lambda x: functional.silu(x, inplace=True),
    "F.leaky_relu": functional.leaky_relu,
    "F.softplus": functional.softplus,
    "torch.sigmoid": torch.sigmoid,
    ".tanh()": torch.Tensor.tanh,
    "F.threshold": lambda x: functional.threshold(x, 0.0, 0.0),
    ".clamp()": lambda x: x.clamp(min=0),
    ".clamp_()": lambda x: x.clamp_(min=0),
    "torch.clamp_min": lambda x: torch.clamp_min(x, 0),
    "torch.clip": lambda x: torch.clip(x, -1, 1),
    "torch.maximum": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "torch.max": lambda x: torch.max(x, torch.tensor(0.0)),
    "F.hardtanh": lambda x: functional.hardtanh(x, 0, 1),
}
SMOOTH_FUNCTIONS = ("F.gelu", "F.silu", "F.leaky_relu", "F.softplus", "torch.sigmoid", ".tanh()", "torch.clip")


def site_name(name):
    return name.removeprefix("F.").removeprefix("torch.").strip(".()").strip("_")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functional_activations_are_sites(name):
    model = Net(Functions(FUNCTIONS[name]))
    with torch.no_grad():
        model.act.fc.weight[1] = 0
    result = bb.dead_neurons(model, X.split(3), threshold=0.01)
    out = model(X)
    assert [site.site for site in result.sites] == ["relu", f"act.{site_name(name)}"]
    assert (result.sites[1].weight, result.sites[1].units, result.sites[1].static_units) == ("act.fc.weight", 3, 1)
    assert result.sites[1].samples == 8
    assert result.sites[1].total == pytest.approx(float((out.abs() <= 0.01).double().mean()))
    assert result.unseen == ()
    at_zero = bb.dead_neurons(model, [X])
    assert at_zero.sites[1].needs_threshold == (name in SMOOTH_FUNCTIONS)


def test_functional_activations_alone_are_enough():
    model = nn.Sequential(nn.Linear(4, 6), Functions(torch.relu))
    (site,) = bb.dead_neurons(model, [X]).sites
    assert site.site == "1.relu"


class Limited(nn.Module):
    """An activation whose limit is a part of the model."""

    def __init__(self, call):
        super().__init__()
        self.fc, self.call, self.attribute = nn.Linear(6, 3), call, torch.zeros(())
        self.register_buffer("zero", torch.zeros(1))

    def forward(self, x):
        return self.call(self, self.fc(x))


@pytest.mark.parametrize(
    "call",
    [
        lambda net, x: torch.maximum(net.zero, x),
        lambda net, x: torch.maximum(x, net.attribute),
        lambda net, x: x.clamp(min=net.zero),
        lambda net, x: x.clamp_(min=torch.tensor(0.0)),
    ],
    ids=["maximum with a buffer", "maximum with an attribute", "clamp at a buffer", "clamp at a tensor made here"],
)
def test_limits_that_are_tensors_of_the_model_are_limits(call):
    model = Net(Limited(call))
    result = bb.dead_neurons(model, X.split(3))
    assert [(site.weight, site.needs_threshold) for site in result.sites] == [
        ("fc1.weight", False),
        ("act.fc.weight", False),
    ]
    assert result.sites[1].total == pytest.approx(float((model(X) == 0).double().mean()))
    assert result.unseen == ()


UNCLEAR = {
    "torch.clip": lambda x: torch.clip(x, x.flip(1), x.flip(1) + 1),
    "F.glu": lambda x: functional.glu(torch.cat([x, x], 1)),
    "torch.exp": torch.exp,
    "torch.maximum": lambda x: torch.maximum(x, x.flip(1)),
    ".gt()": lambda x: x * (x > 0),
    "torch.clamp": lambda x: torch.clamp(x, min=0.5),
}


@pytest.mark.parametrize("name", UNCLEAR)
def test_nonlinearities_that_may_be_anything_are_named(name):
    result = bb.dead_neurons(Net(Functions(UNCLEAR[name])), [X, X])
    assert [site.site for site in result.sites] == ["relu"]
    (said,) = result.unseen
    assert said.startswith(f"{name} called in act (test_blind_spots.py:")
    assert f"not seen, and not in these numbers: {said}" in str(result)


def test_a_model_of_nothing_else_is_refused_by_name():
    model = nn.Sequential(nn.Linear(4, 6), Functions(torch.exp))
    with pytest.raises(NoSites, match=r"torch\.exp called in 1 \(test_blind_spots\.py:") as caught:
        bb.dead_neurons(model, [X])
    assert isinstance(caught.value, MissingEvidence)


def test_nothing_unseen_is_said_where_all_is_seen():
    result = bb.dead_neurons(Net(nn.Sequential(nn.Dropout(), nn.ReLU6(), nn.Softmax(1))), [X])
    assert (result.unseen, result.remarks) == ((), ())


def test_clamps_that_are_no_activation_are_not_named():
    model = Net(
        Functions(lambda x: x / x.norm(dim=1, keepdim=True).clamp(min=1e-6) + x.sum().clamp(min=0).detach() * 0)
    )
    assert bb.dead_neurons(model, [X]).unseen == ()


def test_a_line_that_runs_often_is_named_once():
    block = Functions(torch.exp)
    model = Net(nn.Sequential(block, nn.Linear(3, 6), block))
    assert len(bb.dead_neurons(model, [X, X]).unseen) == 1


def test_gates_of_recurrent_layers_are_named_and_activations_within_layers_of_torch_are_sites():
    encoder = nn.TransformerEncoderLayer(6, 2, 8, batch_first=True)
    model = Net(nn.Sequential(nn.Unflatten(1, (1, 6)), encoder, nn.GRU(6, 3, batch_first=True)))
    result = bb.dead_neurons(model, [X, X])
    assert [(site.site, site.weight) for site in result.sites] == [
        ("relu", "fc1.weight"),
        ("act.1.relu", "act.1.linear1.weight"),
    ]
    (said,) = result.unseen
    assert said.startswith("the nonlinearities inside gru in act.2 (rnn.py:")


class GELUActivation(nn.Module):
    """As in transformers: no class of torch, and the function is an attribute."""

    def __init__(self):
        super().__init__()
        self.act = functional.gelu

    def forward(self, input):
        return self.act(input)


class Swish(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(x)


class NewGELU(nn.Module):
    def forward(self, x):
        return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * torch.pow(x, 3))))


class SquaredReLU(nn.Module):
    def forward(self, x):
        return torch.square(functional.relu(x))


class Clipped(nn.Module):
    def forward(self, x):
        return x.clamp(0, 1)


class OpaqueKernel(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return torch.from_numpy(np.maximum(x.detach().numpy(), 0))


class FusedReLU(nn.Module):
    """Nothing shows inside but the name."""

    def forward(self, x):
        return OpaqueKernel.apply(x)


@pytest.mark.parametrize("kind", [SquaredReLU, Clipped, FusedReLU])
def test_activations_of_other_packages_are_sites(kind):
    model = Net(kind())
    result = bb.dead_neurons(model, [X[:3], X[3:]])
    zeros = (model(X) == 0).double().mean()
    assert [(s.site, s.weight, s.units, s.needs_threshold) for s in result.sites][1:] == [
        ("act", "fc2.weight", 6, False)
    ]
    assert 0 < result.sites[1].total < 1
    assert result.sites[1].total == pytest.approx(float(zeros))
    assert result.unseen == ()


@pytest.mark.parametrize("kind", [GELUActivation, Swish, NewGELU])
def test_smooth_activations_of_other_packages_are_sites_that_need_a_threshold(kind):
    model = Net(kind())
    result = bb.dead_neurons(model, [X])
    assert [(s.site, s.needs_threshold) for s in result.sites] == [("relu", False), ("act", True)]
    assert result.unseen == ()
    with_threshold = bb.dead_neurons(model, [X], threshold=0.05)
    assert [s.needs_threshold for s in with_threshold.sites] == [False, False]
    assert with_threshold.sites[1].total == pytest.approx(float((model(X).abs() <= 0.05).double().mean()))


class Affine(nn.Module):
    def forward(self, x):
        return x * 2 + 1


class Normalise(nn.Module):
    def forward(self, x):
        return x / (x.exp().sum(1, keepdim=True))


class Softened(nn.Module):
    """A softmax written out, which nobody can tell from an activation."""

    def forward(self, x):
        return x.exp() / x.exp().sum(1, keepdim=True)


class Pooled(nn.Module):
    def forward(self, x):
        return functional.relu(x).unflatten(1, (3, 2)).mean(2)


class Joined(nn.Module):
    def forward(self, x, y):
        return functional.relu(x + y)


@pytest.mark.parametrize(
    ("kind", "sites", "unseen"), [(Affine, [], 0), (Normalise, [], 0), (Softened, [], 1), (Pooled, ["act.relu"], 0)]
)
def test_modules_that_do_something_else_are_no_sites(kind, sites, unseen):
    result = bb.dead_neurons(Net(kind()), [X])
    assert [s.site for s in result.sites] == ["relu", *sites]
    assert len(result.unseen) == unseen


def test_a_function_in_a_module_of_two_tensors_is_a_site():
    model = Net(Joined())
    result = bb.dead_neurons(model, [X], forward=lambda m, x: m.act(m.fc2(m.relu(m.fc1(x))), torch.ones(8, 6)))
    assert [(s.site, s.weight) for s in result.sites] == [("relu", "fc1.weight"), ("act.relu", None)]


SMOOTH = [
    nn.GELU(), nn.SiLU(), nn.Mish(), nn.Sigmoid(), nn.Tanh(), nn.ELU(), nn.SELU(), nn.CELU(), nn.Softplus(),
    nn.Softsign(), nn.LogSigmoid(), nn.Tanhshrink(), nn.LeakyReLU(), nn.PReLU(), nn.RReLU(), nn.Hardtanh(),
    nn.Threshold(0.0, 0.5),
]  # fmt: skip
EXACT = [
    nn.ReLU(), nn.ReLU6(), nn.Hardswish(), nn.Hardsigmoid(), nn.Hardtanh(0, 1), nn.Hardshrink(), nn.Softshrink(),
    nn.Threshold(0.1, 0.0), nn.LeakyReLU(0.0),
]  # fmt: skip


@pytest.mark.parametrize("act", [*SMOOTH, *EXACT], ids=str)
def test_zeros_of_torch_s_activations_are_as_seen_on_a_grid(act):
    """Exact means: zero on an interval, not just where the curve crosses. Float64, so that nothing underflows."""
    grid = act.double()(torch.linspace(-4, 4, 8001, dtype=torch.float64) + 1e-4).detach()
    on_an_interval = int((grid == 0).sum()) > 10
    assert on_an_interval == (act in EXACT)
    (_, site) = bb.dead_neurons(Net(act.float()), [X]).sites
    assert site.needs_threshold == (not on_an_interval)
    act.float()


def test_smooth_sites_are_left_out_of_the_overall_rate_and_say_so():
    result = bb.dead_neurons(Net(nn.Sigmoid()), [X])
    assert result.total == result.sites[0].total > 0
    assert result.static == result.sites[0].static
    assert [line.rpartition("threshold")[0] != "" for line in str(result).splitlines()[1:3]] == [False, True]
    assert "left out, smooth activations need a threshold > 0: act" in str(result)


def test_only_smooth_activations_are_refused_at_threshold_zero():
    model = nn.Sequential(nn.Linear(4, 3), nn.GELU(), nn.Linear(3, 3), nn.Tanh())
    with pytest.raises(NoSites, match=r"no exact zeros: 1; 3\n.*\n.*threshold=0\.01"):
        bb.dead_neurons(model, [X])
    assert bb.dead_neurons(model, [X], threshold=0.01).remarks == ()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 5, 5)])
def test_nan_is_refused_with_the_name_of_the_site(dtype, shape):
    first = nn.Linear(4, 3) if len(shape) == 2 else nn.Conv2d(4, 3, 1)
    model = nn.Sequential(first, nn.ReLU()).to(dtype)
    x = torch.randn(shape).to(dtype)
    bb.dead_neurons(model, [x])
    x[2, 1] = math.nan
    with pytest.raises(NotFinite, match=r"site '1' gave NaN in \d+ of \d+ outputs"):
        bb.dead_neurons(model, [torch.randn(shape).to(dtype), x])


def test_infinite_outputs_are_active():
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Identity(), nn.LeakyReLU(0.0))
    with torch.no_grad():
        model[0].weight.fill_(1.0)
    assert bb.dead_neurons(model, [torch.tensor([[math.inf], [-1.0]])]).total == 0.5
    both = bb.dead_neurons(nn.Sequential(nn.Linear(1, 1), nn.Hardshrink()), [torch.tensor([[math.inf], [-math.inf]])])
    assert both.total == 0.0


@pytest.mark.parametrize("batches", [[X[:0]], [X[:0], X[:0]]])
def test_empty_batches_are_refused(batches):
    with pytest.raises(EmptyBatches, match="the batches hold no samples"):
        bb.dead_neurons(Net(nn.ReLU()), batches)


def test_an_empty_batch_among_others_adds_nothing():
    model = Net(nn.ReLU())
    with_empty = bb.dead_neurons(model, [X[:0], X[:3], X[:0], X[3:]])
    assert with_empty == bb.dead_neurons(model, [X])
    assert [s.weight for s in with_empty.sites] == ["fc1.weight", "fc2.weight"]


@pytest.mark.parametrize("threshold", ["0", None, True, math.nan, -1, torch.tensor(0.1), [0.0]])
def test_a_threshold_is_a_number(threshold):
    with pytest.raises(InvalidValue, match=r"threshold is .*\nit must be a finite number >= 0\nwrite threshold="):
        bb.dead_neurons(Net(nn.ReLU()), [X], threshold=threshold)


@pytest.mark.parametrize("threshold", [0, 1, np.float32(0.5), np.float64(0.5)])
def test_any_number_is_a_threshold(threshold):
    assert bb.dead_neurons(Net(nn.ReLU()), [X], threshold=threshold).threshold == threshold


Y = torch.zeros(8, dtype=torch.long)


@pytest.mark.parametrize(
    "batches", [X, (X, Y), [X, Y], (X, torch.zeros(8))], ids=["x", "(x, y)", "[x, y]", "(x, floats)"]
)
def test_a_single_batch_is_refused(batches):
    with pytest.raises(InvalidValue, match=r"batches=\[\(x, y\)\]"):
        bb.dead_neurons(Net(nn.ReLU()), batches)


def test_tensors_of_one_kind_are_batches_of_inputs():
    model = Net(nn.ReLU())
    assert bb.dead_neurons(model, X.split(3)) == bb.dead_neurons(model, [X[:2], X[2:]]) == bb.dead_neurons(model, [X])


@pytest.mark.parametrize(
    ("mask", "said"),
    [({"fc1.weight": torch.ones(5, 4)}, "mask is"), ("mask.safetensors", "mask is"), (bb.Mask, "mask is")],
)
def test_what_is_no_mask_is_refused(mask, said):
    with pytest.raises(InvalidValue, match=said):
        bb.dead_neurons(Net(nn.ReLU()), [X], mask=mask)


def test_a_list_or_a_lazy_layer_is_no_model():
    with pytest.raises(InvalidValue, match="model is"):
        bb.dead_neurons([nn.Linear(4, 3), nn.ReLU()], [X])
    with pytest.raises(InvalidValue, match="no shape yet"):
        bb.dead_neurons(nn.Sequential(nn.LazyLinear(3), nn.ReLU()), [X])


def test_the_probe_of_what_is_unseen_works_alone_and_beside_others():
    model = Net(Functions(torch.exp))
    alone = bb.probe(model, [Unseen()], batches=[X])[Unseen()]
    assert alone == bb.probe(model, [UnitCounts(), Unseen()], batches=[X])[Unseen()]
    assert len(alone) == 1
