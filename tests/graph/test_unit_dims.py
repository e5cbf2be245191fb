"""Where the units lie: each site of odd networks against a count by hand in numpy, which is told the axes."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import budbreak as bb


class Net(nn.Module):
    """Modules by name, and a forward given as a function of (net, x)."""

    def __init__(self, run, **modules):
        super().__init__()
        self.run = run
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, *inputs):
        return self.run(self, *inputs)


def se_block():
    def run(net, x):
        h = net.relu(net.norm(net.conv(x)))
        s = net.gate(net.up(net.act(net.down(h.mean((2, 3))))))
        return net.last(h * s.view(len(x), -1, 1, 1) + h)

    return Net(
        run,
        conv=nn.Conv2d(3, 8, 3, padding=1), norm=nn.BatchNorm2d(8), relu=nn.ReLU(), down=nn.Linear(8, 4),
        act=nn.ReLU(), up=nn.Linear(4, 8), gate=nn.Hardsigmoid(), last=nn.ReLU(),
    )  # fmt: skip


def generator():
    return nn.Sequential(
        nn.Linear(5, 4 * 3 * 3), nn.ReLU(), nn.Unflatten(1, (4, 3, 3)), nn.ConvTranspose2d(4, 6, 2, groups=2), nn.ReLU()
    )


def film():
    def run(net, x, z):
        scale, shift = net.film(z).chunk(2, dim=1)
        return net.relu(net.conv(x) * scale[:, :, None, None] + shift.reshape(len(z), -1, 1, 1))

    return Net(run, conv=nn.Conv2d(3, 6, 3), film=nn.Linear(4, 12), relu=nn.ReLU())


def film_of_squared_images():
    """Scales come last before the sum: the last layer that ran is Linear, the units are still channels."""

    def run(net, x, z):
        h = net.conv(x)
        return net.relu(torch.addcmul(h, h, net.film(z).unsqueeze(-1).unsqueeze(-1)))

    return Net(run, conv=nn.Conv2d(3, 6, 3), film=nn.Linear(4, 6), relu=nn.ReLU())


def feed_forward():
    return nn.Sequential(nn.Embedding(11, 6), nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 2))


def embedding_alone():
    return nn.Sequential(nn.Embedding(11, 6), nn.ReLU(), nn.Linear(6, 2))


def patchify():
    def run(net, x):
        return net.relu(net.fc(net.norm(net.conv(x).flatten(2).transpose(1, 2))))

    return Net(run, conv=nn.Conv2d(3, 8, 2, stride=2), norm=nn.LayerNorm(8), fc=nn.Linear(8, 5), relu=nn.ReLU())


def patches_without_linear():
    return Net(lambda n, x: n.relu(n.conv(x).flatten(2).transpose(1, 2)), conv=nn.Conv2d(3, 8, 2, 2), relu=nn.ReLU())


def concatenation():
    def run(net, x):
        return net.relu(net.norm(torch.cat([net.one(x), net.two(x)], dim=1)))

    modules = {"one": nn.Conv2d(3, 4, 1), "two": nn.Conv2d(3, 5, 1), "norm": nn.BatchNorm2d(9), "relu": nn.ReLU()}
    return Net(run, **modules)


def tokens_with_class_token():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Parameter(torch.randn(1, 1, 8))
            self.fc, self.relu = nn.Linear(4, 8), nn.ReLU()

        def forward(self, x):
            return self.relu(torch.cat([self.first.expand(len(x), -1, -1), self.fc(x)], dim=1))

    return Tokens()


def recurrent():
    def run(net, x):
        return net.relu2(net.fc(net.relu1(net.gru(x)[0])))

    return Net(run, gru=nn.GRU(4, 6, batch_first=True), relu1=nn.ReLU(), fc=nn.Linear(6, 5), relu2=nn.ReLU())


def packed():
    def run(net, x):
        packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([5, 2, 1, 4, 5, 3]), True, enforce_sorted=False)
        padded, _ = nn.utils.rnn.pad_packed_sequence(net.gru(packed)[0], batch_first=True)
        return net.relu2(net.fc(net.relu1(padded)))

    return Net(run, gru=nn.GRU(4, 6, batch_first=True), relu1=nn.ReLU(), fc=nn.Linear(6, 5), relu2=nn.ReLU())


def attention():
    def run(net, x):
        return net.relu(net.norm(x + net.attention(x, x, x)[0]))

    return Net(run, attention=nn.MultiheadAttention(8, 2, batch_first=True), norm=nn.LayerNorm(8), relu=nn.ReLU())


def heads_by_hand():
    """A kernel attention: ReLU on [N, heads, T, size]; its units are heads x size."""

    def run(net, x):
        n, t, _ = x.shape
        return net.relu(net.query(x).view(n, t, 2, 4).transpose(1, 2))

    return Net(run, query=nn.Linear(8, 8), relu=nn.ReLU())


def shuffled_channels():
    def run(net, x):
        n, c, h, w = (y := net.conv(x)).shape
        return net.relu(y.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w))

    return Net(run, conv=nn.Conv2d(3, 8, 3), relu=nn.ReLU())


def channels_last_tokens():
    """Swin and ConvNeXt: channels to the back, a Linear on them, channels to the front again."""

    def run(net, x):
        return net.relu2(net.fc(net.relu1(net.conv(x).permute(0, 2, 3, 1))).permute(0, 3, 1, 2))

    return Net(run, conv=nn.Conv2d(3, 8, 3), relu1=nn.ReLU(), fc=nn.Linear(8, 5), relu2=nn.ReLU())


def mixed_products():
    """x @ W of a plain parameter (the Conv1D of GPT-2), then a graph's adjacency from the left."""

    class Products(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.fc = nn.Parameter(torch.randn(4, 7)), nn.Linear(7, 6)
            self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()

        def forward(self, x):
            n, t, c = x.shape
            h = self.relu1(torch.addmm(torch.zeros(7), x.view(-1, c), self.weight).view(n, t, 7))
            return self.relu2(torch.rand(t, t) @ self.fc(h))

    return Products()


class Einsum(nn.Module):
    """Each equation on x [N, T, C], a weight and neighbours."""

    def __init__(self, equation):
        super().__init__()
        self.equation, self.relu, self.fc = equation, nn.ReLU(), nn.Linear(4, 6)
        self.weight, self.near = nn.Parameter(torch.randn(4, 6)), torch.rand(5, 5)

    def forward(self, x):
        operands = {"W": self.weight, "A": self.near, "x": x, "h": self.fc(x)}
        names, _, equation = self.equation.partition(": ")
        return self.relu(torch.einsum(equation, *(operands[name] for name in names)))


def max_over_units():
    return nn.Sequential(nn.Linear(6, 8), nn.MaxPool1d(2), nn.ReLU())


def single_image():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())


IMAGES, TOKENS = (6, 3, 7, 5), (6, 5, 4)
CHANNELS, LAST = (1,), (-1,)
# name of the site -> axes of its units
CASES = {
    "squeeze and excitation": (se_block, [IMAGES], {"relu": CHANNELS, "act": LAST, "gate": LAST, "last": CHANNELS}),
    "Unflatten, ConvTranspose": (generator, [(6, 5)], {"1": LAST, "4": CHANNELS}),
    "FiLM": (film, [IMAGES, (6, 4)], {"relu": CHANNELS}),
    "FiLM, Linear last": (film_of_squared_images, [IMAGES, (6, 4)], {"relu": CHANNELS}),
    "Embedding, Linear": (feed_forward, ["ids"], {"2": LAST}),
    "Embedding alone": (embedding_alone, ["ids"], {"1": LAST}),
    "ViT patches, Linear": (patchify, [(6, 3, 8, 8)], {"relu": LAST}),
    "ViT patches": (patches_without_linear, [(6, 3, 8, 8)], {"relu": LAST}),
    "concatenation": (concatenation, [IMAGES], {"relu": CHANNELS}),
    "class token": (tokens_with_class_token, [TOKENS], {"relu": LAST}),
    "GRU": (recurrent, [TOKENS], {"relu1": LAST, "relu2": LAST}),
    "packed sequences": (packed, [TOKENS], {"relu1": LAST, "relu2": LAST}),
    "attention": (attention, [(6, 5, 8)], {"relu": LAST}),
    "heads": (heads_by_hand, [(6, 5, 8)], {"relu": (1, 3)}),
    "channel shuffle": (shuffled_channels, [IMAGES], {"relu": CHANNELS}),
    "permuted images": (channels_last_tokens, [IMAGES], {"relu1": LAST, "relu2": CHANNELS}),
    "plain products": (mixed_products, [TOKENS], {"relu1": LAST, "relu2": LAST}),
    "einsum with a weight": (lambda: Einsum("xW: ntc,co->nto"), [TOKENS], {"relu": LAST}),
    "einsum, units in the middle": (lambda: Einsum("xW: ntc, co -> not"), [TOKENS], {"relu": CHANNELS}),
    "einsum with neighbours": (lambda: Einsum("Ah: st,nto->nso"), [TOKENS], {"relu": LAST}),
    "einsum with dots": (lambda: Einsum("xW: ...c,co->...o"), [TOKENS], {"relu": LAST}),
    "MaxPool1d over units": (max_over_units, [(6, 6)], {"2": LAST}),
    "one image without a batch": (single_image, [(3, 7, 5)], {"1": (0,)}),
    "Conv1d": (lambda: nn.Sequential(nn.Conv1d(3, 5, 3), nn.ReLU()), [(6, 3, 9)], {"1": CHANNELS}),
    "ConvTranspose1d": (lambda: nn.Sequential(nn.ConvTranspose1d(3, 5, 3), nn.ReLU()), [(6, 3, 9)], {"1": CHANNELS}),
    "one channel": (lambda: nn.Sequential(nn.Conv2d(3, 1, 3), nn.Flatten(), nn.ReLU()), [IMAGES], {"2": LAST}),
    "mean of positions": (
        lambda: Net(lambda n, x: n.relu(n.conv(x).amax((2, 3))), conv=nn.Conv2d(3, 5, 3), relu=nn.ReLU()),
        [IMAGES],
        {"relu": LAST},
    ),
}


def inputs_of(shapes):
    return [torch.randint(0, 11, (6, 5)) if shape == "ids" else torch.randn(shape) for shape in shapes]


def outputs_of(model, inputs):
    """The output of each activation module, by plain hooks."""
    found = {}

    def keep(name):
        return lambda module, args, output: found.update({name: output.detach().numpy().copy()})

    handles = [
        m.register_forward_hook(keep(n)) for n, m in model.named_modules() if isinstance(m, nn.ReLU | nn.Hardsigmoid)
    ]
    with torch.no_grad():
        model.eval()(*inputs)
    for handle in handles:
        handle.remove()
    return found


def count_by_hand(output, axes):
    """(units, positions, share of zeros, share that is zero on every sample) of one site."""
    axes = tuple(axis % output.ndim for axis in axes)
    others = [axis for axis in range(output.ndim) if axis not in axes]
    per_unit = output.transpose(*axes, *others).reshape(math.prod(output.shape[a] for a in axes), -1)
    zero = per_unit == 0
    if output.ndim - 1 in axes:  # units last: every token is a sample
        return len(zero), 1, zero.mean(), zero.all(1).mean()
    samples = output.shape[0] if 0 not in axes else 1
    apart = zero.reshape(len(zero), samples, -1)  # units, samples, positions
    return len(zero), apart.shape[2], zero.mean(), apart.all(1).mean()


@pytest.mark.parametrize("case", CASES)
def test_units_lie_where_they_lie(case):
    build, shapes, axes = CASES[case]
    model, inputs = build(), inputs_of(shapes)
    with torch.no_grad():
        for parameter in model.parameters():  # some units die on every sample
            if parameter.dim() == 1:
                parameter[::3] = -3.0
    result = bb.dead_neurons(model, [tuple(inputs)], forward=lambda m, batch: m(*batch))
    outputs = outputs_of(model, inputs)
    assert [site.site for site in result.sites] == list(axes)
    zeros = count = 0
    for site in result.sites:
        units, positions, total, permanent = count_by_hand(outputs[site.site], axes[site.site])
        assert (site.units, site.positions) == (units, positions)
        assert site.total == pytest.approx(total)
        assert site.permanent == pytest.approx(permanent)
        assert not site.assumed
        zeros, count = zeros + units * positions * total, count + units * positions
    assert result.total == pytest.approx(zeros / count)


@pytest.mark.parametrize(
    ("build", "shape", "weight", "site"),
    [
        (patches_without_linear, (6, 3, 8, 8), "conv.weight", "relu"),
        (heads_by_hand, (6, 5, 8), "query.weight", "relu"),
        (generator, (6, 5), "3.weight", "4"),
        (lambda: nn.Sequential(nn.ConvTranspose1d(3, 5, 3), nn.ReLU()), (6, 3, 9), "0.weight", "1"),
        (lambda: nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.ReLU()), (6, 4, 9, 9), "0.weight", "1"),
    ],
)
def test_static_units_are_those_whose_output_no_longer_moves(build, shape, weight, site):
    """With half of a weight's slices gone and no bias, a static unit gives 0 on any input: seen from outside."""
    model = build()
    with torch.no_grad():
        entry = model.get_parameter(weight)
        entry[torch.rand(entry.shape[0]) < 0.5] = 0
        entry[:, torch.rand(entry.shape[1]) < 0.5] = 0
        entry[0] = entry[:, 0] = 0
        for name, parameter in model.named_parameters():
            if name == f"{weight.removesuffix('.weight')}.bias":
                parameter.zero_()
    result = bb.dead_neurons(model, [torch.randn(shape)])
    (found,) = [s for s in result.sites if s.site == site]
    owner = model.get_submodule(weight.removesuffix(".weight"))
    seen = []
    owner.register_forward_hook(lambda module, args, output: seen.append(output.detach().numpy()))
    model(torch.randn(shape) * 10)
    axis = -1 if isinstance(owner, nn.Linear) else 1
    still = int((np.moveaxis(seen[0], axis, 0).reshape(seen[0].shape[axis], -1) == 0).all(1).sum())
    assert found.weight == weight
    assert found.static_units == still > 0


class Transposed(nn.Module):
    """The Conv1D of GPT-2: its weight is [inputs, units]."""

    def __init__(self):
        super().__init__()
        self.weight, self.relu = nn.Parameter(torch.randn(4, 6)), nn.ReLU()
        self.bias = nn.Parameter(torch.zeros(6))

    def forward(self, x):
        return self.relu(torch.addmm(self.bias, x.view(-1, 4), self.weight).view(*x.shape[:-1], 6))


class Product(Transposed):
    def forward(self, x):
        return self.relu(x @ self.weight)


@pytest.mark.parametrize(
    ("build", "inputs", "weight"),
    [
        (Transposed, torch.randn(7, 5, 4), "weight"),
        (Product, torch.randn(7, 5, 4), "weight"),
        (lambda: nn.Sequential(nn.Embedding(9, 6), nn.ReLU()), torch.arange(9).view(3, 3), "0.weight"),
    ],
)
def test_weights_whose_units_are_columns(build, inputs, weight):
    model = build()
    with torch.no_grad():
        model.get_parameter(weight)[:, [1, 4]] = 0
        model.get_parameter(weight)[2] = 0  # a row is no unit
    (site,) = bb.dead_neurons(model, [inputs], prunable=lambda name, module, parameter: name == weight).sites
    assert (site.weight, site.units, site.static_units) == (weight, 6, 2)


@pytest.mark.parametrize(
    ("wrap", "name"),
    [
        (nn.utils.parametrizations.spectral_norm, "0.parametrizations.weight.original"),
        (lambda layer: nn.utils.prune.identity(layer, "weight"), "0.weight_orig"),
        (lambda layer: layer, "0.weight"),
    ],
)
def test_a_weight_that_is_computed_from_a_parameter_is_that_parameter(wrap, name):
    model = nn.Sequential(wrap(nn.Linear(4, 6)), nn.ReLU())
    mask = bb.Mask({name: torch.tensor([[True] * 4] * 3 + [[False] * 4] * 3)})
    result = bb.dead_neurons(model, [torch.randn(7, 4)], mask=mask, prunable=lambda n, module, parameter: n == name)
    assert [(s.weight, s.static_units) for s in result.sites] == [(name, 3)]


def test_a_normalised_weight_is_that_weight_too():
    """weight_norm allows no empty rows, so that none is static, but the rows are named."""
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 6)), nn.ReLU())
    name = "0.parametrizations.weight.original1"
    (site,) = bb.dead_neurons(model, [torch.randn(7, 4)], prunable=bb.including(name)).sites
    assert (site.weight, site.static_units) == (name, 0)


def test_what_a_weight_divides_is_not_zero_where_it_is():
    run = lambda net, x: torch.relu(nn.functional.linear(x, torch.ones(6, 4) / net.fc.weight))  # noqa: E731
    (site,) = bb.dead_neurons(Net(run, fc=nn.Linear(4, 6)), [torch.randn(7, 4)]).sites
    assert site.weight is None


def test_pooling_over_units_loses_their_weight():
    """The maximum of a pruned unit and a living one is not static."""
    model = max_over_units()
    with torch.no_grad():
        model[0].weight[0], model[0].bias[:] = 0, 0
    (site,) = bb.dead_neurons(model, [torch.randn(20, 6)]).sites
    assert (site.units, site.weight, site.static_units) == (4, None, 0)


class Opaque(torch.autograd.Function):
    """What a trace cannot look into, as a kernel of somebody's own would be."""

    @staticmethod
    def forward(ctx, x):
        return torch.from_numpy(x.detach().numpy() * 1.0)


@pytest.mark.parametrize(
    ("shape", "units", "positions", "assumed"),
    [((4, 6), 6, 1, False), ((4, 6, 5), 6, 5, True), ((4, 6, 5, 3), 6, 15, True), ((4, 2, 3, 5, 3), 2, 45, True)],
)
def test_an_unknown_unit_dimension_follows_the_rule_and_is_named(shape, units, positions, assumed):
    model = Net(lambda net, x: net.relu(Opaque.apply(x)) * net.fc.weight.sum(), fc=nn.Linear(2, 2), relu=nn.ReLU())
    result = bb.dead_neurons(model, [torch.randn(shape)])
    (site,) = result.sites
    assert (site.units, site.positions, site.assumed) == (units, positions, assumed)
    assert ("relu: units assumed in dimension 1" in str(result)) == assumed


def test_experts_that_are_reached_in_a_later_batch_are_followed_too():
    """Routing by the data: the second expert runs in the second batch only, and is fed by its own weight."""

    def run(net, x):
        return net.second(x) if x.sum() > 0 else net.first(x)

    def expert():
        return nn.Sequential(nn.Linear(4, 3), nn.ReLU())

    model = Net(run, first=expert(), second=expert())
    with torch.no_grad():
        model.second[0].weight[1] = 0
    batches = [-torch.ones(2, 7, 4), torch.ones(2, 7, 4), torch.ones(2, 7, 4)]
    sites = bb.dead_neurons(model, batches).sites
    assert [(s.site, s.weight, s.units, s.samples, s.static_units) for s in sites] == [
        ("first.1", "first.0.weight", 3, 14, 0),
        ("second.1", "second.0.weight", 3, 28, 1),
    ]


def test_only_the_first_pass_is_watched():
    """The trace costs as much as a pass: once every activation has been met, later passes run bare."""
    modes = []

    def run(net, x):
        modes.append(torch._C._len_torch_function_stack())
        return net.relu(net.fc(x))

    bb.dead_neurons(Net(run, fc=nn.Linear(3, 3), relu=nn.ReLU()), torch.randn(5, 2, 3).unbind())
    assert modes == [1, 0, 0, 0, 0]


@pytest.mark.slow  # loading dynamo takes seconds
def test_a_compiled_part_is_followed_like_any_other():
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 5), nn.ReLU()), nn.Linear(5, 3), nn.ReLU())
    x = torch.randn(6, 4)
    expected = bb.dead_neurons(model, [x, x])
    model[0] = torch.compile(model[0], backend="eager")
    model(x)  # compiled before it is looked at, and again afterwards
    found = bb.dead_neurons(model, [x, x])
    assert [(s.units, s.total, s.static) for s in found.sites] == [(s.units, s.total, s.static) for s in expected.sites]
    assert [s.weight for s in found.sites] == ["0._orig_mod.0.weight", "1.weight"]
    assert torch.equal(model(x), model[2](model[1](model[0]._orig_mod(x))))


def test_what_listeners_compute_is_no_part_of_the_model():
    """A probe that calls torch, as counting does, is neither followed nor mistaken for an unseen activation."""

    @dataclass(frozen=True)
    class Shares:
        def start(self, context):
            context.on_activation(lambda site, output: torch.relu(output.reshape(-1)))
            return context.unseen

    assert bb.probe(nn.Sequential(nn.Linear(3, 3), nn.ReLU()), [Shares()], batches=[torch.ones(2, 3)])[Shares()] == ()


def test_a_reshaped_functional_chain_keeps_its_weight():
    """F.linear on a parameter, moved about: still fed by that weight alone."""

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.relu = nn.Linear(4, 6), nn.ReLU()

        def forward(self, x):
            return self.relu(functional.linear(x, self.fc.weight).unsqueeze(1).squeeze(1).clone())

    assert [s.weight for s in bb.dead_neurons(Own(), [torch.randn(3, 4)]).sites] == ["fc.weight"]
