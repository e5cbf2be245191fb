"""Surgery: other activations at the sites of a network, whatever calls them."""

import copy
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

import budbreak as bb
from budbreak.activations import GELU, ActivationPlan, Mish, ReLU, Swish, Tanh
from budbreak.errors import CannotTrace, InvalidValue, InvariantBroken, NoSites, UnknownName
from budbreak.networks import lenet_300_100, resnet_20

X = torch.linspace(-2, 2, 24).view(3, 8)
IMAGE = torch.linspace(-2, 2, 2 * 3 * 36).view(2, 3, 6, 6)


class Functional(nn.Module):
    """Functions in all spellings."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.d, self.unused = (nn.Linear(8, 8) for _ in range(5))

    def forward(self, x):
        x = functional.relu(self.a(x))
        x = self.b(x).relu()
        x = torch.relu(self.c(x))
        return self.d(x).clamp(min=0)


class InPlace(nn.Module):
    """Functions that write over what they are given, whose result nobody takes."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x):
        x = self.a(x)
        x.relu_()
        y = self.b(x)
        functional.relu(y, inplace=True)
        return y + x


class Reused(nn.Module):
    """One module, called in three places."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.relu = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8), nn.ReLU()

    def forward(self, x):
        return self.relu(self.c(self.relu(self.b(self.relu(self.a(x))))))


class Block(nn.Module):
    """A block whose activation belongs to somebody else."""

    def __init__(self, act):
        super().__init__()
        self.fc, self.act = nn.Linear(8, 8), act

    def forward(self, x):
        return self.act(self.fc(x))


class Dropping(nn.Module):
    """What it does depends on its mode."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x):
        return self.b(functional.dropout(functional.relu(self.a(x)), 0.5, self.training))


class Nested(nn.Module):
    """Functions in an inner module, in a loop, in a method."""

    def __init__(self):
        super().__init__()
        self.inner, self.layers = Functional(), nn.ModuleList(nn.Linear(8, 8) for _ in range(3))

    def forward(self, x, scale=1.0, *, shift=0.0):
        x = self.inner(x) * scale + shift
        for layer in self.layers:
            x = self.act(layer(x))
        return x

    def act(self, x):
        return functional.silu(x)


class Holding(nn.Module):
    """A function in an attribute, and control flow that depends on values."""

    def __init__(self):
        super().__init__()
        self.fc, self.activation = nn.Linear(8, 8), functional.relu

    def forward(self, x):
        self.last = x
        if x.sum() > 1e9:
            return x
        return self.activation(self.fc(x))


class Branching(nn.Module):
    """Control flow that depends on values, around a function."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)

    def forward(self, x):
        x = self.fc(x)
        if x.sum() > 1e9:
            return x
        return functional.relu(x)


def shared_blocks():
    act = nn.ReLU()
    return nn.Sequential(Block(act), Block(act), Block(act))


def repeated():
    relu = nn.ReLU()
    return nn.Sequential(nn.Linear(8, 8), relu, nn.Linear(8, 8), relu, nn.Linear(8, 8))


def encoder():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="relu")
    return nn.TransformerEncoder(layer, 2)


MODELS = {
    "modules": (lambda: lenet_300_100((1, 2, 4), 3), X),
    "blocks": (lambda: resnet_20((3, 6, 6), 4), IMAGE),
    "functions": (Functional, X),
    "in place": (InPlace, X),
    "reused": (Reused, X),
    "shared": (shared_blocks, X),
    "repeated in a Sequential": (repeated, X),
    "modes": (Dropping, X),
    "nested": (Nested, X),
    "held by an attribute": (Holding, X),
    "encoder": (encoder, X[None]),
    "decoder layer": (lambda: nn.TransformerDecoderLayer(8, 2, 16, batch_first=True), (X[None], X[None])),
    "decoder layer that holds a module": (
        lambda: nn.TransformerDecoderLayer(8, 2, 16, batch_first=True, activation=nn.GELU()),
        (X[None], X[None]),
    ),
    "inplace modules": (lambda: nn.Sequential(nn.Linear(8, 8), nn.ReLU(inplace=True), nn.Linear(8, 8)), X),
}
OWN = {"relu": ReLU(), "clamp": ReLU(), "silu": Swish(), "activation": GELU()}


def make(name):
    torch.manual_seed(0)
    build, example = MODELS[name]
    return build(), example


def call(model, example):
    with torch.no_grad():
        return model(*example) if isinstance(example, tuple) else model(example)


def sites_of(model, example):
    return [site.name for site in bb.trace(model, example).sites]


def own_plan(model, example):
    """Each site with its own operator."""
    sites = sites_of(model, example)
    return ActivationPlan({site: OWN.get(site.rpartition(".")[2].partition("#")[0], ReLU()) for site in sites})


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("training", [False, True])
def test_own_operators_change_no_output_and_no_state(name, training):
    model, example = make(name)
    plan = own_plan(model, example)
    copied = bb.replace_activations(model, plan, example=example)
    assert list(copied.state_dict()) == list(model.state_dict())
    assert all(torch.equal(copied.state_dict()[key], tensor) for key, tensor in model.state_dict().items())
    for one in (model, copied):
        one.train(training)
    torch.manual_seed(1)
    expected = call(model, example)
    torch.manual_seed(1)
    torch.testing.assert_close(call(copied, example), expected)
    assert isinstance(copied, type(model))


@pytest.mark.parametrize("name", MODELS)
def test_each_site_gets_what_the_plan_has_for_it(name):
    model, example = make(name)
    choice = [Swish(), Tanh(), Mish(trainable=True), GELU()]
    sites = sites_of(model, example)
    before = copy.deepcopy(model.state_dict())
    plan = ActivationPlan({site: choice[place % 4] for place, site in enumerate(sites)})
    copied = bb.replace_activations(model, plan, example=example)
    seen = list[object]()
    for module in copied.modules():
        if isinstance(module, bb.activations.ActivationModule):
            module.register_forward_hook(lambda module, given, output: seen.append(module.activation))
    call(copied.eval(), example)
    assert seen == list(plan.values())
    assert all(torch.equal(model.state_dict()[key], tensor) for key, tensor in before.items())
    scalars = {key for key in copied.state_dict() if key.rpartition(".")[2] in ("alpha", "beta")}
    assert len(scalars) == 2 * sum(activation == Mish(trainable=True) for activation in plan.values())
    assert set(copied.state_dict()) - scalars == set(before)
    again = copy.deepcopy(copied)
    torch.testing.assert_close(call(again, example), call(copied, example))
    seen.clear()
    call(again.eval(), example)
    assert seen == list(plan.values())


@pytest.mark.parametrize("name", MODELS)
def test_one_site_alone(name):
    model, example = make(name)
    sites = sites_of(model, example)
    copied = bb.replace_activations(model, {sites[-1]: Tanh()}, example=example)
    assert sum(isinstance(module, bb.activations.ActivationModule) for module in copied.modules()) == 1
    assert not torch.allclose(call(copied.eval(), example), call(model.eval(), example))


@pytest.mark.parametrize("name", ["modules", "blocks", "functions", "modes", "nested", "reused"])
def test_the_copy_is_traced_with_the_same_names_and_feeds(name):
    model, example = make(name)
    sites = bb.trace(model, example).sites
    plan = ActivationPlan.uniform([site.name for site in sites], Swish(trainable=True))
    copied = bb.replace_activations(model, plan, example=example)
    found = bb.trace(copied, example).sites
    assert [(site.name, site.feed, site.unit_dims) for site in found] == [
        (site.name, site.feed, site.unit_dims) for site in sites
    ]
    torch.testing.assert_close(
        call(bb.replace_activations(copied, plan, example=example).eval(), example), call(copied.eval(), example)
    )


def test_a_plan_fits_another_instance_and_a_trained_state_is_loaded():
    model, example = make("functions")
    plan = ActivationPlan.uniform(sites_of(model, example), Swish(trainable=True))
    first = bb.replace_activations(model, plan, example=example)
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.add_(0.1)
    second = bb.replace_activations(Functional(), plan, example=example)
    second.load_state_dict(first.state_dict())
    torch.testing.assert_close(call(second, example), call(first, example))


def test_a_call_in_training_mode_drops_and_in_eval_mode_does_not():
    model, example = make("modes")
    copied = bb.replace_activations(model, {"relu": ReLU()}, example=example)
    assert torch.equal(call(copied.eval(), example), call(copied, example))
    torch.manual_seed(0)
    assert not torch.equal(call(copied.train(), example), call(copied, example))


def test_arguments_and_keywords_stay():
    model, example = make("nested")
    copied = bb.replace_activations(model, {"silu": Swish(), "inner.relu": ReLU()}, example=example)
    with torch.no_grad():
        expected = model(example, 2.0, shift=1.0)
        torch.testing.assert_close(copied(example, 2.0, shift=1.0), expected)
        torch.testing.assert_close(copied(x=example, shift=1.0, scale=2.0), expected)


class Optional(nn.Module):
    """Arguments that choose what it does."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)

    def forward(self, x, mask=None, *, double=False):
        if mask is not None:
            x = x * mask
        x = functional.relu(self.fc(x))
        return x * 2 if double else x


@pytest.mark.parametrize("example", [{"x": X}, {"x": X, "mask": X > 0}, {"x": X, "double": True}])
def test_arguments_that_choose_are_those_of_the_example(example):
    torch.manual_seed(0)
    model = Optional()
    copied = bb.replace_activations(model, {"relu": ReLU()}, example=example)
    with torch.no_grad():
        torch.testing.assert_close(copied(**example), model(**example))
        torch.testing.assert_close(
            copied(*[example["x"], example.get("mask")], double=example.get("double", False)), model(**example)
        )
        if "mask" not in example:
            with pytest.raises(AssertionError, match="mask has been specialized to have value None"):
                copied(X, mask=X > 0)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_the_fused_kernel_of_an_encoder_is_not_used_any_more():
    """In eval mode, without gradients, torch computes ReLU itself, unless told; with padding on nested tensors."""
    model, example = make("encoder")
    model.eval()
    copied = bb.replace_activations(model, own_plan(model, example), example=example)
    padding = torch.tensor([[False, False, True]])
    with torch.no_grad():
        expected = model(example, src_key_padding_mask=padding)[:, :2]
        torch.testing.assert_close(copied(example, src_key_padding_mask=padding)[:, :2], expected)
        other = bb.replace_activations(model, dict.fromkeys(own_plan(model, example), Mish()), example=example)
        fused = other(example, src_key_padding_mask=padding)[:, :2]
        assert not torch.allclose(fused, expected)
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            torch.testing.assert_close(other(example, src_key_padding_mask=padding)[:, :2], fused)
        finally:
            torch.backends.mha.set_fastpath_enabled(True)


def test_per_unit_scalars_lie_along_the_units():
    model, example = make("blocks")
    plan = {"relu": Swish(trainable=True, per="unit"), "stage3.2.relu2": Swish(trainable=True, per="unit")}
    copied = bb.replace_activations(model, plan, example=example)
    assert copied.relu.alpha.shape == (16,)
    assert copied.get_submodule("stage3.2.relu2").beta.shape == (64,)
    with torch.no_grad():
        copied.relu.alpha[3] = 0
    seen = []
    copied.relu.register_forward_hook(lambda module, given, output: seen.append(output))
    call(copied.eval(), example)
    assert not seen[0][:, 3].any()
    assert seen[0][:, 4].any()


def test_scalars_follow_the_dtype_and_the_mode():
    model = make("modules")[0].double()
    copied = bb.replace_activations(model.eval(), {"relu1": Swish(trainable=True)}, example=X.double())
    assert copied.relu1.alpha.dtype == torch.float64
    assert not copied.relu1.training


def test_a_gradient_reaches_scalars_and_weights():
    model, example = make("functions")
    plan = ActivationPlan.uniform(sites_of(model, example), Swish(trainable=True))
    copied = bb.replace_activations(model, plan, example=example)
    copied(example).sum().backward()
    got = {name for name, parameter in copied.named_parameters() if parameter.grad is not None}
    assert got == {name for name, _ in copied.named_parameters() if not name.startswith("unused")}


def test_a_module_called_twice_as_a_whole_has_one_activation_for_both():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Functional()

        def forward(self, x):
            return self.inner(self.inner(x))

    model = Twice()
    sites = sites_of(model, X)
    assert len(sites) == 8
    copied = bb.replace_activations(model, ActivationPlan.uniform(sites, Tanh()), example=X)
    assert sum(isinstance(module, bb.activations.ActivationModule) for module in copied.modules()) == 4
    half = {site: Tanh() for site in sites[:4]}
    with pytest.raises(InvalidValue, match="are one call, which runs 2 times"):
        bb.replace_activations(model, half, example=X)


# --- wrong input -------------------------------------------------------------------------------------------


def test_no_site():
    with pytest.raises(NoSites, match="calls no activation"):
        bb.replace_activations(nn.Linear(8, 8), {"relu": ReLU()}, example=X)


def test_an_unknown_site():
    with pytest.raises(UnknownName, match="did you mean 'relu1'"):
        bb.replace_activations(make("modules")[0], {"relu_1": ReLU()}, example=X)


@pytest.mark.parametrize("plan", [{"relu1": "swish"}, {"relu1": Swish}, {1: Swish()}, ["relu1"], None])
def test_what_is_no_plan(plan):
    with pytest.raises(InvalidValue, match="a plan maps"):
        bb.replace_activations(make("modules")[0], plan, example=X)


def test_what_is_no_model_and_no_example():
    with pytest.raises(InvalidValue, match="model is"):
        bb.replace_activations(nn.ReLU, {"relu1": ReLU()}, example=X)
    with pytest.raises(InvalidValue, match="does not take the example"):
        bb.replace_activations(make("modules")[0], {"relu1": ReLU()}, example=X[:, :3])


def test_control_flow_is_named_with_its_line():
    line = next(
        number
        for number, text in enumerate(Path(__file__).read_text().splitlines(), start=1)
        if "return functional.relu(x)" in text
    )
    with pytest.raises(InvalidValue) as raised:
        bb.replace_activations(Branching(), {"relu": Swish()}, example=X)
    assert f"'relu' (test_surgery.py:{line}) cannot be replaced" in str(raised.value)
    assert f"(test_surgery.py:{line - 2})" in str(raised.value)
    assert "self.act = nn.ReLU()" in str(raised.value)


class Counting(Branching):
    def forward(self, x):
        self.calls = getattr(self, "calls", 0) + 1
        return functional.relu(self.fc(x))


class Buffering(Branching):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(8))

    def forward(self, x):
        self.seen = x.mean(0)
        return functional.relu(self.fc(x))


class Detaching(Branching):
    def forward(self, x):
        with torch.no_grad():
            y = functional.relu(self.fc(x))
        return y + self.fc(x)


class Casting(Branching):
    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return functional.relu(self.fc(x))


class Printing(Branching):
    def forward(self, x):
        return functional.relu(self.fc(x)) * float(x.sum())


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Counting, "it sets self.calls"),
        (Buffering, "it sets self.seen"),
        (Detaching, "it turns gradients or autocast on or off"),
        (Casting, "it turns gradients or autocast on or off"),
        (Printing, "the forward of Printing cannot be rewritten"),
    ],
)
def test_what_a_traced_forward_would_lose_is_refused(kind, words):
    with pytest.raises(InvalidValue, match=words):
        bb.replace_activations(kind(), {"relu": Swish()}, example=X)


def test_a_function_of_two_tensors_is_refused():
    class Maximum(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 8)

        def forward(self, x):
            x = self.fc(x)
            return torch.maximum(x, torch.zeros_like(x))

    with pytest.raises(InvalidValue, match=r"'maximum' .*several tensors"):
        bb.replace_activations(Maximum(), {"maximum": Swish()}, example=X)


def test_what_relies_on_being_overwritten_is_refused():
    class Relying(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.act = nn.Linear(8, 8), nn.ReLU(inplace=True)

        def forward(self, x):
            x = self.fc(x)
            y = self.act(x)
            return y + x

    with pytest.raises(InvariantBroken, match="other outputs"):
        bb.replace_activations(Relying(), {"act": Swish()}, example=X)


def test_a_module_that_is_called_from_elsewhere_is_refused():
    class Elsewhere(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.act = nn.Linear(8, 8), nn.ReLU()
            self.calls = [self.act]

        def forward(self, x):
            return self.calls[0](self.fc(x))

    with pytest.raises(InvalidValue, match="'act' cannot be replaced"):
        bb.replace_activations(Elsewhere(), {"act": Swish()}, example=X)


def test_a_unit_scalar_without_units_is_refused():
    class Single(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.act = nn.Linear(8, 1), nn.ReLU()

        def forward(self, x):
            return self.act(self.fc(x).squeeze(-1))

    with pytest.raises(InvalidValue, match="one scalar for each unit needs units"):
        bb.replace_activations(Single(), {"act": Swish(trainable=True, per="unit")}, example=X)


def test_a_rewritten_model_says_that_it_cannot_be_pickled():
    copied = bb.replace_activations(make("functions")[0], {"relu": Swish()}, example=X)
    with pytest.raises(pickle.PicklingError):
        pickle.dumps(copied)
    pickle.dumps(bb.replace_activations(make("modules")[0], {"relu1": Swish()}, example=X))


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_torchscript_is_refused():
    with pytest.raises((CannotTrace, InvalidValue, NoSites)):
        bb.replace_activations(torch.jit.script(nn.Sequential(nn.Linear(8, 8), nn.ReLU())), {"1": Tanh()}, example=X)
