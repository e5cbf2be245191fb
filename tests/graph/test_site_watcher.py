"""Each site is heard in each pass, with what entered it and what it gave, and at little cost."""

import contextlib
from collections import defaultdict

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from traced import Net

import budbreak as bb
from budbreak.evidence import Gradients, UnitCounts
from budbreak.graph import SiteWatcher

X = torch.randn(6, 4)


def watch(model, batches, *, keep_inputs=True):
    """{site: [(input, output) of each call]} over all batches, and what was not seen."""
    heard = defaultdict(list)

    def listen(site, given, output):
        heard[site.name].append((given.clone(), output.clone()))

    names = {id(parameter): name for name, parameter in model.named_parameters()}
    watcher = SiteWatcher(model, names, listen, keep_inputs=keep_inputs)
    with watcher, torch.no_grad():
        for batch in batches:
            with watcher.following():
                model(batch)
            watcher.end_pass()
    return heard, watcher.unseen


FORMS = {
    "module": lambda: nn.ReLU(),
    "module in place": lambda: nn.ReLU(inplace=True),
    "F.relu": lambda: functional.relu,
    "F.relu in place": lambda: lambda x: functional.relu(x, inplace=True),
    "F.relu by position": lambda: lambda x: functional.relu(x, True),
    ".relu_()": lambda: torch.Tensor.relu_,
    ".clamp_()": lambda: lambda x: x.clamp_(min=0),
    "maximum": lambda: lambda x: torch.maximum(torch.zeros_like(x), x),
    "out": lambda: lambda x: torch.clamp(x, min=0, out=x),
}


@pytest.mark.parametrize("form", FORMS)
def test_inputs_and_outputs_are_those_of_the_nonlinearity_in_every_pass(form):
    act = FORMS[form]()
    model = nn.Sequential(
        nn.Linear(4, 3), act if isinstance(act, nn.Module) else Net(lambda net, x: net.act(net.fc(x)))
    )
    if not isinstance(act, nn.Module):
        model[1].act, model[1].fc = act, nn.Linear(3, 3)
    batches = [X, X - 1, X + 1]
    heard, unseen = watch(model, batches)
    ((name, calls),) = heard.items()
    assert (name.partition(".")[0], len(calls), unseen) == ("1", 3, ())
    for batch, (given, output) in zip(batches, calls, strict=True):
        before = model[0](batch) if isinstance(act, nn.Module) else model[1].fc(model[0](batch))
        torch.testing.assert_close(given, before.detach())
        torch.testing.assert_close(output, before.detach().clamp(min=0))


class SquaredInPlace(nn.Module):
    """An activation in two steps, both in place."""

    def forward(self, x):
        return x.relu_().square_()


class Halved(nn.Module):
    """No activation as a whole: what the function gave is overwritten before the module ends."""

    def forward(self, x):
        return functional.relu(x).mul_(0.5)[:, :2]


def test_modules_of_several_steps_in_place():
    model = nn.Sequential(nn.Linear(4, 3), SquaredInPlace(), nn.Linear(3, 3), Halved())
    heard, _ = watch(model, [X, X, X])
    assert list(heard) == ["1", "3.relu"]
    first = model[0](X).detach()
    second = model[2](first.clamp(min=0) ** 2).detach()
    for given, output in heard["1"]:
        torch.testing.assert_close(given, first)
        torch.testing.assert_close(output, first.clamp(min=0) ** 2)
    for given, output in heard["3.relu"]:
        torch.testing.assert_close(given, second)
        torch.testing.assert_close(output, second.clamp(min=0))


def test_nothing_is_copied_for_those_who_listen_to_outputs_only():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(inplace=True))
    heard, _ = watch(model, [X, X], keep_inputs=False)
    assert all(torch.equal(given, output) for given, output in heard["1"])


def modes(build):
    """How many modes are on in each of four passes."""
    found = []

    def run(net, x):
        found.append(torch._C._len_torch_function_stack())
        return build(net, x)

    return found, run


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda net, x: net.relu(net.fc(x)), [1, 0, 0, 0]),
        (lambda net, x: functional.relu(net.fc(x)), [1, 1, 1, 1]),
        (lambda net, x: net.fc(x), [1, 1, 1, 1]),
    ],
    ids=["module", "function", "none"],
)
def test_a_mode_is_on_only_where_a_function_is_a_site(build, expected):
    found, run = modes(build)
    model = Net(run, fc=nn.Linear(4, 3), relu=nn.ReLU())
    if "relu" not in build.__code__.co_names:
        with contextlib.suppress(bb.errors.NoSites):
            bb.dead_neurons(model, [X] * 4)
    else:
        if "functional" in build.__code__.co_names:
            del model.relu
        bb.dead_neurons(model, [X] * 4)
    assert found == expected


def test_hooks_stay_on_sites_only():
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 2))
    hooked = []

    def forward(net, batch):
        hooked.append([bool(module._forward_hooks) for module in net])
        return net(batch)

    bb.dead_neurons(model, [X, X, X], forward=forward)
    assert hooked == [[True] * 4, [False, False, True, False], [False, False, True, False]]


def expert():
    return Net(lambda net, x: functional.relu(net.fc(x)), fc=nn.Linear(4, 3))


@pytest.mark.parametrize("empty", [False, True], ids=["not called", "called with nothing"])
def test_experts_with_functions_that_only_a_later_batch_reaches(empty):
    def run(net, x):
        positive = x.sum(1) > 0
        parts = [net.first(x[~positive]), net.second(x[positive])] if empty or positive.any() else [net.first(x)]
        return torch.cat(parts)

    model = Net(run, first=expert(), second=expert())
    with torch.no_grad():
        model.second.fc.weight[1] = 0
    result = bb.dead_neurons(model, [-X.abs(), X.abs(), X])
    counts = int((X.sum(1) > 0).sum())
    assert [(s.site, s.weight, s.samples, s.static_units) for s in result.sites] == [
        ("first.relu", "first.fc.weight", 12 - counts, 0),
        ("second.relu", "second.fc.weight", 6 + counts, 1),
    ]


def test_branches_of_one_module_are_sites_of_their_own():
    def run(net, x):
        if x.sum() > 0:
            return functional.relu(net.a(x))
        return functional.relu(net.b(x))

    result = bb.dead_neurons(Net(run, a=nn.Linear(4, 3), b=nn.Linear(4, 3)), [X.abs(), -X.abs(), X.abs()])
    assert [(s.site, s.weight, s.samples) for s in result.sites] == [
        ("relu", "a.weight", 12),
        ("relu#1", "b.weight", 6),
    ]


def test_a_function_that_only_a_later_batch_meets_is_named():
    """All weights are known by then, so that nobody expects it."""

    def run(net, x):
        x = functional.relu(net.fc(x))
        return torch.tanh(x) if len(x) < 6 else x

    result = bb.dead_neurons(Net(run, fc=nn.Linear(4, 3)), [X, X[:2]])
    assert [site.site for site in result.sites] == ["relu"]
    (said,) = result.unseen
    assert said.startswith("torch.tanh called in the model itself (test_site_watcher.py:")
    assert said.endswith("in a later batch")


def test_loops_number_their_calls_and_may_run_longer_later():
    def run(net, x):
        for _ in range(2 if len(x) == 6 else 3):
            x = functional.relu(net.fc(x))
        return x

    result = bb.dead_neurons(Net(run, fc=nn.Linear(4, 4)), [X, X[:2]])
    assert [(s.site, s.samples, s.weight) for s in result.sites] == [
        ("relu", 8, "fc.weight"),
        ("relu#1", 8, "fc.weight"),
        ("relu#2", 2, None),
    ]


def test_a_function_within_a_module_that_is_a_site_is_not_heard_twice():
    class Act(nn.Module):
        def forward(self, x):
            return functional.relu(x) * 2

    model = Net(lambda net, x: functional.relu(net.act(net.fc(x))), fc=nn.Linear(4, 3), act=Act())
    heard, _ = watch(model, [X, X, X])
    assert {name: len(calls) for name, calls in heard.items()} == {"act": 3, "relu": 3}


def test_a_relu_whose_forward_is_called_directly():
    model = Net(lambda net, x: net.relu.forward(net.relu.forward(net.fc(x))), fc=nn.Linear(4, 3), relu=nn.ReLU())
    heard, _ = watch(model, [X, X])
    assert {name: len(calls) for name, calls in heard.items()} == {"relu#1": 2, "relu#2": 2}


def test_what_listeners_compute_is_no_part_of_the_model_in_any_pass():
    heard = []

    def listen(site, given, output):
        heard.append(site.name)
        functional.relu(output)

    model = nn.Sequential(expert(), nn.ReLU())
    with SiteWatcher(model, {}, listen) as watcher:
        for _ in range(3):
            with watcher.following():
                model(X)
            watcher.end_pass()
    assert heard == ["0.relu", "1"] * 3
    assert watcher.unseen == ()


def test_what_a_checkpoint_computes_again_is_counted_once():
    inner = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), expert())

    def run(net, x):
        return net.last(checkpoint(net.inner, net.stem(x), use_reentrant=False))

    model = Net(run, stem=nn.Linear(4, 4), inner=inner, last=nn.Linear(3, 2))
    batches = [(X, torch.zeros(6).long())] * 3
    evidence = bb.probe(model, [UnitCounts(), Gradients()], batches=batches, loss=functional.cross_entropy)
    samples = {name: count.samples for name, count in evidence[UnitCounts()].items()}
    assert samples == {"inner.1": 18, "inner.2.relu": 18}


def test_an_encoder_of_torch_with_padding_runs_unfused_in_every_pass():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation=nn.ReLU())
    model = nn.TransformerEncoder(layer, 2).eval()
    padding = torch.zeros(2, 5).bool()
    padding[0, 3:] = True
    tokens = torch.randn(2, 5, 8)
    result = bb.dead_neurons(model, [tokens] * 3, forward=lambda net, x: net(x, src_key_padding_mask=padding))
    assert [(s.site, s.samples, s.weight) for s in result.sites] == [
        (f"layers.{i}.activation", 30, f"layers.{i}.linear1.weight") for i in (0, 1)
    ]


class Wrapper(nn.Module):
    """As data-parallel wrappers do: the model is a child by another name."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, *args, **kwargs):
        return self.module(*args, **kwargs)


def test_wrappers_inside_are_modules_like_others():
    sites = bb.dead_neurons(Wrapper(nn.DataParallel(expert())), [X, X]).sites
    assert [(s.site, s.samples) for s in sites] == [("module.module.relu", 12)]


@pytest.mark.slow  # loading dynamo takes seconds
def test_functions_in_a_compiled_part_are_heard_like_others():
    model = nn.Sequential(expert(), nn.Linear(3, 3), nn.ReLU())
    expected = bb.dead_neurons(model, [X, X])
    model[0] = torch.compile(model[0], backend="eager")
    model(X)
    found = bb.dead_neurons(model, [X, X])
    assert [(s.samples, s.total) for s in found.sites] == [(s.samples, s.total) for s in expected.sites]
    assert [s.weight for s in found.sites] == ["0._orig_mod.fc.weight", "1.weight"]


def test_a_model_without_any_site_is_refused_as_before():
    with pytest.raises(bb.errors.NoSites, match="no site was reached in Linear"):
        bb.dead_neurons(nn.Linear(4, 3), [X])
