"""Each activation against numbers worked by hand, finite everywhere, exported, and moved about."""

import copy
import dataclasses
import math

import pytest
import torch
from torch import nn

import budbreak as bb
from budbreak import activations
from budbreak.activations import (
    ACON,
    ELU,
    FALU,
    GELU,
    SELU,
    SRS,
    ELiSH,
    Hardswish,
    Identity,
    LeakyReLU,
    LogSigmoid,
    Mish,
    PReLU,
    Rational,
    ReLU,
    ReLU6,
    Sin,
    Softplus,
    SquaredReLU,
    SReLU,
    Swish,
    Symexp,
    Symlog,
    Tanh,
    TanhSoft1,
    TanhSoft2,
)
from budbreak.errors import InvalidValue, UnknownName
from budbreak.masks import every_weight

KINDS = activations.ALL
E1 = math.e
S1, S2 = 1 / (1 + math.exp(-1)), 1 / (1 + math.exp(-2))  # sigmoid(1) = 0.7310586, sigmoid(2) = 0.8807971
L2 = math.log(2)

# (activation, x, value): the formula, worked by hand at a point
POINTS = [
    (ReLU(), -2, 0),
    (ReLU(alpha=3.0, beta=2.0), 2, 12),  # 3 * (2 * 2)
    (ReLU6(), 7, 6),
    (ReLU6(alpha=2.0, beta=0.5), 8, 8),  # 2 * 4
    (LeakyReLU(), -2, -0.02),
    (PReLU(), -2, -0.5),
    (PReLU(slope=2.0), 3, 3),
    (Identity(alpha=-2.0), 3, -6),
    (Hardswish(), 1, 4 / 6),  # 1 * (1 + 3) / 6
    (Hardswish(), 4, 4),
    (Hardswish(), -1, -2 / 6),  # -1 * (-1 + 3) / 6
    (Swish(), 1, S1),
    (Swish(alpha=3.0, beta=2.0), 1, 3 * S2),  # beta only inside the sigmoid
    (GELU(), 1, 0.8413447460685429),  # P(N(0, 1) <= 1)
    (ELU(), -1, 1 / E1 - 1),
    (ELU(alpha=2.0), 3, 6),
    (SELU(), 1, 1.0507009873554805),
    (SELU(), -L2, -0.5 * 1.0507009873554805 * 1.6732632423543772),  # e^-ln 2 - 1 = -1/2
    (Tanh(), L2, 0.6),  # (2 - 1/2) / (2 + 1/2)
    (Softplus(), 0, L2),
    (Softplus(), math.log(3), math.log(4)),
    (LogSigmoid(), 0, -L2),
    (LogSigmoid(), -math.log(3), -math.log(4)),
    (Symlog(), E1 - 1, 1),
    (Symlog(alpha=2.0), 1 - E1, -2),
    (Symexp(), L2, 1),
    (Symexp(), -math.log(3), -2),
    (Symexp(), 50, math.exp(10) - 1),  # the guard
    (Mish(), math.log(E1 - 1), math.log(E1 - 1) * math.tanh(1)),  # softplus is 1 there
    (Sin(beta=math.pi), 0.5, 1),
    (SquaredReLU(), 3, 9),
    (SquaredReLU(), -3, 0),
    (ELiSH(), 1, S1),
    (ELiSH(), -1, (1 / E1 - 1) * (1 - S1)),
    (TanhSoft1(), math.log(3), 0.8 * math.log(4)),  # tanh(ln 3) = (3 - 1/3) / (3 + 1/3)
    (TanhSoft1(alpha=0.0), 5, 0),
    (TanhSoft2(), 0, 0),
    (TanhSoft2(beta=L2 / 2, gamma=1.0), L2, L2 * 0.6),  # tanh(ln 2 / 2 * 2)
    (SRS(), 0, 0),
    (SRS(), 1, 1 / (1 + 1 / E1)),
    (SRS(alpha=2.0, beta=3.0), 3, 3 / (1.5 + 1 / E1)),
    (SRS(alpha=-1.0), 1, 1 / (2 + 1 / E1)),  # the guard: a = b / 2
    (ACON(), 1, S1),  # Swish
    (ACON(p1=2.0, p2=1.0, beta=2.0), 1, S2 + 1),
    (ACON(p1=1.0, p2=1.0), 3, 3),  # linear
    (SReLU(), -1, -0.2),
    (SReLU(left=-1.0, left_slope=0.5, right=2.0, right_slope=3.0), 4, 8),  # 2 + 3 * 2
    (SReLU(left=-1.0, left_slope=0.5, right=2.0, right_slope=3.0), -3, -2),  # -1 + 0.5 * -2
    (FALU(), 1, S1),  # order 0: Swish
    (FALU(order=1.0), 1, S1 + S1 * (1 - S1)),  # its derivative
    (FALU(order=0.5), 1, S1 + 0.5 * S1 * (1 - S1)),
    (FALU(order=2.0), 0, 0.5),  # h = 1/2; 1/2 + 1/2 * (1 - 1)
    (FALU(order=1.5), 1, (h := S1 + S1 * (1 - S1)) + 0.5 * S1 * (1 - 2 * h)),
    (Rational(numerator=(1.0, 2.0), denominator=(-3.0,)), 2, 5 / 7),  # (1 + 4) / (1 + |-6|)
]


def ids(value):
    return str(value) if isinstance(value, activations.Activation) else None


@pytest.mark.parametrize(("activation", "x", "value"), POINTS, ids=ids)
def test_numbers_worked_by_hand(activation, x, value):
    given = torch.tensor(x, dtype=torch.float64)
    assert float(activation(given)) == pytest.approx(value, rel=1e-12, abs=1e-12)
    trained = dataclasses.replace(activation, trainable=True)
    assert trained.module().double()(given).item() == pytest.approx(value, rel=1e-6)  # scalars begin as float32


def test_every_operator_is_worked_by_hand():
    assert {type(activation) for activation, *_ in POINTS} == set(KINDS)


# away from the points where some slope jumps
INPUTS = [-30.0, -3.6, -1.3, -0.4, 0.3, 0.8, 1.7, 2.6, 5.5, 13.0]


def scalars_of(activation, moved=0.07):
    return [
        torch.tensor(value + moved, dtype=torch.float64, requires_grad=True) for value in activation.scalars.values()
    ]


def applied(activation, x, *scalars):
    module = activation.module().to(x.dtype)
    return torch.func.functional_call(module, dict(zip(activation.scalars, scalars, strict=True)), x)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_and_their_gradients_in_float64(kind):
    activation = kind(trainable=True)
    x = torch.tensor(INPUTS, dtype=torch.float64, requires_grad=True)
    given = (x, *scalars_of(activation))
    call = lambda x, *scalars: applied(activation, x, *scalars)  # noqa: E731
    assert torch.autograd.gradcheck(call, given)
    assert torch.autograd.gradgradcheck(call, given)


def test_the_slope_is_right_at_zero_where_autograd_of_the_sign_is_not():
    for activation in (Symlog(), Symexp(), ELiSH(), Mish()):
        x = torch.zeros(3, requires_grad=True)
        for run in (activation, lambda x, f=activation: f.formula(x, 1.0, 1.0)):
            (slope,) = torch.autograd.grad(run(x).sum(), x)
            expected = {ELiSH: 0.5, Mish: 0.6}.get(type(activation), 1.0)  # tanh(ln 2) = 0.6
            torch.testing.assert_close(slope, torch.full((3,), expected))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind().is_closed])
@pytest.mark.parametrize("layout", ["contiguous", "channels last", "turned"])
def test_slices_give_what_the_whole_gives(kind, layout):
    """More values than a slice, in each order of memory; the gradient comes in another order."""
    activation = kind(trainable=True)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 17, 30, 31, generator=generator, dtype=torch.float64)
    x = {"contiguous": x, "channels last": x.to(memory_format=torch.channels_last), "turned": x.transpose(0, 1)}[layout]
    x = x.requires_grad_()
    gradient = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    scalars = scalars_of(activation)
    results = []
    for run in (applied, lambda activation, x, *scalars: activation.formula(x, *scalars)):
        y = run(activation, x, *scalars)
        results.append((y, *torch.autograd.grad(y, [x, *scalars], gradient)))
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs)
    assert results[0][0].is_contiguous(memory_format=torch.channels_last) == (layout == "channels last")


WIDE = {torch.float32: 1e6, torch.bfloat16: 1e6, torch.float16: 6e4}


@pytest.mark.parametrize("dtype", WIDE, ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("trainable", [False, True])
def test_values_and_gradients_are_finite(kind, trainable, dtype):
    most = 250 if (kind, dtype) == (SquaredReLU, torch.float16) else WIDE[dtype]  # 256^2 is no float16
    x = torch.cat([torch.linspace(-most, most, 41), torch.linspace(-120, 120, 241), torch.linspace(-3, 3, 61)])
    x = x.to(dtype).requires_grad_()
    module = kind(trainable=trainable).module().to(dtype)
    y = module(x)
    assert y.dtype == dtype
    assert y.isfinite().all()
    for gradient in torch.autograd.grad(y, [x, *module.parameters()], torch.full_like(y, 0.01)):
        assert gradient.dtype == dtype
        assert gradient.isfinite().all()


@pytest.mark.parametrize(("alpha", "beta"), [(-3.0, 1.0), (0.01, 5.0), (0.0, 0.0), (1.0, -1.0), (0.3, 1.0)])
def test_the_guard_of_srs_keeps_its_denominator_away_from_zero(alpha, beta):
    x = torch.linspace(-60, 60, 4801, dtype=torch.float64)
    b = max(beta, 0.1)
    a = max(alpha, b / 2)
    below = x / a + torch.exp(-x / b)
    least = b / a * (1 + math.log(a / b))
    assert least > 0
    assert below.min() >= least
    torch.testing.assert_close(SRS(alpha=alpha, beta=beta)(x), x / below)


def test_the_guard_of_symexp_acts_beyond_ten_and_nowhere_else():
    x = torch.tensor([9.999, 10.0, 10.001, -9.999, -10.001], dtype=torch.float64, requires_grad=True)
    y = Symexp()(x)
    most = math.exp(10) - 1
    torch.testing.assert_close(
        y.detach(), torch.tensor([math.expm1(9.999), most, most, -math.expm1(9.999), -most], dtype=y.dtype)
    )
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert (slope != 0).tolist() == [True, False, False, True, False]


def test_acon_learns_from_where_it_starts_and_not_from_where_the_code_of_safs_starts_it():
    x = torch.linspace(-3, 3, 61)
    ends = {}
    for name in ("paper", "official-code"):
        module = activations.space(name)[-1].module()
        optimizer = torch.optim.Adam(module.parameters(), lr=0.05)
        for _ in range(30):
            optimizer.zero_grad()
            (module(x) - torch.relu(x)).square().mean().backward()
            optimizer.step()
        ends[name] = {key: float(value) for key, value in module.state_dict().items()}
    assert ends["official-code"]["p1"] == pytest.approx(ends["official-code"]["p2"], abs=1e-6)
    assert ends["official-code"]["beta"] == 1
    assert ends["paper"]["p1"] - ends["paper"]["p2"] > 0.8
    assert ends["paper"]["beta"] > 1.5


def test_rational_starts_close_to_swish():
    x = torch.linspace(-5, 5, 1001)
    assert (Rational()(x) - Swish()(x)).abs().max() < 1e-4


@pytest.mark.parametrize(("kind", "per"), [*((kind, "site") for kind in KINDS), (SRS, "unit"), (Symlog, "unit")])
def test_an_exported_program_gives_the_same(kind, per):
    module = kind(trainable=True, per=per).module((4, 1, 1) if per == "unit" else ()).eval()
    x = torch.linspace(-4, 4, 2 * 4 * 9).view(2, 4, 3, 3)
    program = torch.export.export(module, (x,))
    torch.testing.assert_close(program.module()(x), module(x))
    names = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert all(name.startswith("aten.") for name in names)  # no function of our own: what every exporter knows


@pytest.mark.parametrize("kind", KINDS)
def test_copies_states_and_moves(kind, tmp_path):
    from safetensors.torch import load_file, save_file

    module = kind(trainable=True).module()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1.1).add_(0.05)
    x = torch.linspace(-4, 4, 50)
    save_file(module.state_dict(), tmp_path / "state.safetensors")
    loaded = kind(trainable=True).module()
    loaded.load_state_dict(load_file(tmp_path / "state.safetensors"))
    for same in (copy.deepcopy(module), loaded):
        assert torch.equal(same(x), module(x))
    assert module.to(torch.float64)(x.double()).dtype == torch.float64
    on_meta = kind(trainable=True).module().to("meta")
    assert on_meta(torch.empty(5, device="meta")).shape == (5,)


@pytest.mark.parametrize("kind", KINDS)
def test_transforms_of_functions_see_the_formula(kind):
    module = kind().module()
    x = torch.tensor(INPUTS)
    slopes = torch.func.vmap(torch.func.grad(lambda one: module(one)))(x)
    given = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(module(given).sum(), given)
    torch.testing.assert_close(slopes, expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("per", ["site", "unit"])
def test_the_graph_sees_one_site(kind, per):
    activation = kind(trainable=True, per=per)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), activation.module((4, 1, 1) if per == "unit" else ()))
    x = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    graph = bb.trace(model, x)
    (site,) = graph.sites
    assert (site.name, site.feed and site.feed.weight, site.unit_dims) == ("1", "0.weight", (-3,))
    assert site.exact_zeros == activation.facts.zeros
    assert graph.unseen == ()
    found = bb.dead_neurons(model, [x], threshold=0.05)
    assert found.total == pytest.approx(float((model(x).abs() <= 0.05).double().mean()))


def test_a_module_says_itself_that_it_gives_no_exact_zeros():
    """In bfloat16 the graph sees each call of the formula, relu among them."""
    model = nn.Sequential(nn.Linear(3, 4), SReLU().module()).bfloat16()
    (site,) = bb.trace(model, torch.ones(2, 3, dtype=torch.bfloat16)).sites
    assert not site.exact_zeros


def test_scalars_are_never_weights_that_go():
    model = nn.Sequential(nn.Linear(4, 4), *(kind(trainable=True, per="unit").module((4,)) for kind in KINDS))
    for rule in (bb.masks.conv_and_linear, every_weight, bb.including("*")):
        assert list(bb.Mask.dense(model, rule)) == ["0.weight"]


def test_scalars_have_no_weight_decay():
    relu = ReLU(trainable=True).module()
    model = nn.Sequential(nn.Linear(4, 4), relu, nn.Linear(4, 4), relu, Tanh().module(), PReLU().module())
    groups = activations.parameter_groups(model)
    assert [len(group["params"]) for group in groups] == [4, 3]
    assert list(activations.scalar_parameters(model)) == ["1.alpha", "1.beta", "5.slope"]
    optimizer = torch.optim.SGD(groups, lr=0.1, weight_decay=0.5)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before = model[0].weight.detach().clone()
    optimizer.step()
    assert relu.alpha.item() == 1
    torch.testing.assert_close(model[0].weight.detach(), before * 0.95)
    assert len(activations.parameter_groups(nn.Linear(3, 3))) == 1


def test_odd_inputs():
    for activation in (Mish(), SRS(), Swish(), ReLU()):
        module = activation.module()
        assert module(torch.empty(0, 3)).shape == (0, 3)
        assert module(torch.tensor(1.0)).dim() == 0
        with torch.inference_mode():
            assert module(torch.ones(3)).is_inference()
        x = torch.ones(40_000, requires_grad=True)
        module(x).sum().backward()  # the gradient is expanded from a single number
        assert x.grad is not None
        assert x.grad.unique().numel() == 1


def test_spaces():
    assert len(set(activations.space("paper"))) == 13
    assert [type(one) for one in activations.space("paper")] == [
        type(one) for one in activations.space("official-code")
    ]
    with pytest.raises(UnknownName, match="did you mean 'paper'"):
        activations.space("papers")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: Swish(alpha="1"), "alpha is '1'"),
        (lambda: Swish(beta=math.nan), "beta is nan"),
        (lambda: Swish(beta=True), "beta is True"),
        (lambda: Swish(trainable=1), "trainable is 1"),
        (lambda: Swish(per="channel"), "it is one of 'site', 'unit'"),
        (lambda: Rational(numerator=()), "tuple of coefficients"),
        (lambda: Rational(numerator=(1.0, math.inf)), "a1 is inf"),
        (lambda: Swish(per="unit", trainable=True).module(), "how many units"),
        (lambda: Swish(per="unit").module((3, 0)), "whole numbers > 0"),
        (lambda: Swish(per="unit").module(3), "whole numbers > 0"),
        (lambda: Swish(trainable=True).module((3,)), 'write per="unit"'),
        (lambda: activations.parameter_groups(nn.Linear), "model is"),
    ],
)
def test_wrong_arguments(wrong, words):
    with pytest.raises(InvalidValue, match=words):
        wrong()
