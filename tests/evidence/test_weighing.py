"""Gradients over uneven batches are those of the whole set in one batch, whatever form batches and losses have."""

import copy
import functools
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, RandomSampler, TensorDataset

import budbreak as bb
from budbreak.errors import EmptyBatches, InvalidValue
from budbreak.evidence import Gradients
from budbreak.testing import mlp, separable

X, Y = separable(23, noise=1.0)


def uneven(*tensors):
    return list(zip(*(one.split([10, 1, 12]) for one in tensors), strict=True))


def gradients(model, batches, loss, **options):
    return bb.probe(model, [Gradients()], batches=batches, loss=loss, **options)[Gradients()]


def assert_same(found, expected):
    for name in expected:
        # tolerance: float64 sums in another order
        torch.testing.assert_close(found[name], expected[name], rtol=1e-10, atol=1e-13)


def of_one_batch(model, x, y, loss):
    """Autograd over the whole set at once, without any code of ours."""
    parameters = {n: p for n, p in model.named_parameters() if p.dim() >= 2}
    found = torch.autograd.grad(loss(model(x), y), list(parameters.values()))
    return dict(zip(parameters, found, strict=True))


def some_ignored(ignored):
    """Labels of which the first batch ignores 7 of 10, the second 0 of 1, the third 5 of 12."""
    y = Y.clone()
    y[:7] = y[15:20] = ignored
    return y


CLASS_WEIGHT = torch.tensor([1.0, 4.0, 0.25], dtype=torch.float64)


@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        (functional.cross_entropy, Y),
        (nn.CrossEntropyLoss(), some_ignored(-100)),
        (functional.cross_entropy, some_ignored(-100)),
        (nn.CrossEntropyLoss(ignore_index=2), Y),
        (nn.CrossEntropyLoss(ignore_index=255, label_smoothing=0.1), some_ignored(255)),
        (functools.partial(functional.cross_entropy, ignore_index=-1), some_ignored(-1)),
        (nn.CrossEntropyLoss(weight=CLASS_WEIGHT), some_ignored(-100)),
        (functools.partial(functional.nll_loss, weight=CLASS_WEIGHT), Y),
        (nn.CrossEntropyLoss(), functional.one_hot(Y, 3).double()),
        (nn.MSELoss(), functional.one_hot(Y, 3).double()),
        (lambda out, y: functional.cross_entropy(out, y), Y),
        (lambda out, y: functional.cross_entropy(out, y, weight=CLASS_WEIGHT, ignore_index=-1), some_ignored(-1)),
        (lambda out, y: functional.cross_entropy(out, y, ignore_index=0, label_smoothing=0.1), Y),
        (type("Mine", (nn.CrossEntropyLoss,), {})(weight=CLASS_WEIGHT), Y),
        (lambda out, y: functional.kl_div(out, functional.one_hot(y, 3).double(), reduction="batchmean"), Y),
        (lambda out, y: functional.cross_entropy(out, y) + 0.1 * functional.mse_loss(out, out * 0), Y),
        (lambda out, y: functional.mse_loss(out, functional.one_hot(y, 3).double(), weight=out.exp().detach()), Y),
        (lambda out, y: functional.cross_entropy(out, y, reduction="sum") / len(y), Y),
        (lambda out, y: torch.vmap(lambda o, t: functional.mse_loss(o, t.double().expand_as(o)))(out, y).mean(), Y),
        (lambda out, y: torch.vmap(functional.cross_entropy)(out, functional.one_hot(y, 3).double()).mean(), Y),
        (lambda out, y: torch.vmap(lambda o, t: functional.nll_loss(o, t))(out, y).mean(), Y),
    ],
)
def test_torch_losses_weigh_by_what_they_average_over(loss, targets):
    model = mlp().double()
    x = X.double()
    found = gradients(model, uneven(x, targets), loss)
    assert_same(found, of_one_batch(model, x, targets, loss))


@pytest.mark.parametrize("loss", [nn.MSELoss(), functional.cross_entropy])
def test_sequences_of_uneven_length_weigh_by_their_elements(loss):
    model = nn.Sequential(nn.Conv1d(2, 3, 1), nn.Tanh(), nn.Conv1d(3, 4, 1)).double()
    x = torch.randn(1, 2, 9, dtype=torch.float64)
    y = torch.randn(1, 4, 9, dtype=torch.float64) if isinstance(loss, nn.MSELoss) else torch.arange(9)[None] % 4
    expected = of_one_batch(model, x, y, loss)
    assert_same(gradients(model, [(x[..., :7], y[..., :7]), (x[..., 7:], y[..., 7:])], loss), expected)


class Keyworded(nn.Module):
    """Takes a batch of keywords and returns its loss as transformers do."""

    def __init__(self):
        super().__init__()
        self.net = mlp().double()

    def forward(self, flag, input_ids, attention_mask=None, labels=None):
        return functional.cross_entropy(self.net(input_ids), labels)


def as_mappings(labels, **first):
    triples = uneven(X.double(), torch.ones(23, 4), labels)
    return [{**first, "input_ids": x, "attention_mask": a, "labels": y} for x, a, y in triples]


def test_mappings_are_counted_by_their_tensors_whatever_comes_first():
    model = Keyworded()
    expected = of_one_batch(model.net, X.double(), Y, functional.cross_entropy)
    for flag in (True, 3, torch.tensor(1.0), "train", None):
        found = gradients(model, as_mappings(Y, flag=flag), lambda out, batch: out)
        assert_same({n.removeprefix("net."): g for n, g in found.items()}, expected)


def test_a_loss_that_the_model_computes_itself_is_seen():
    model, labels = Keyworded(), some_ignored(-100)
    found = gradients(model, as_mappings(labels, flag=None), lambda out, batch: out)
    expected = of_one_batch(model.net, X.double(), labels, functional.cross_entropy)
    assert_same({n.removeprefix("net."): g for n, g in found.items()}, expected)


def by_hand(out, y):
    """Cross entropy over the labels that are not negative: nobody can see over what it averages."""
    kept = y >= 0
    return (out.logsumexp(1) - out.gather(1, y.clamp(min=0)[:, None])[:, 0])[kept].mean()


def test_ignored_labels_of_a_loss_unknown_to_us_are_asked_for():
    model, labels, x = mlp().double(), some_ignored(-100), X.double()
    batches = uneven(x, labels)
    with pytest.raises(InvalidValue, match=r"the targets hold -100\n.*\ngive samples=lambda batch") as caught:
        gradients(model, batches, by_hand)
    assert "this loss does not say" in str(caught.value)
    found = gradients(model, batches, by_hand, samples=lambda b: (b[1] != -100).sum())
    assert_same(found, of_one_batch(model, x, labels, functional.cross_entropy))
    assert gradients(model, batches[:1], by_hand), "a single batch is the whole set"


def test_a_weight_that_torch_drops_under_its_modes_is_not_lost():
    def loss(out, y):
        return functional.l1_loss(out, y[:, None].expand_as(out), weight=CLASS_WEIGHT.expand_as(out))

    model, x = mlp().double(), X.double()
    assert_same(gradients(model, uneven(x, Y), loss), of_one_batch(model, x, Y, loss))


def test_parts_of_a_loss_that_average_over_different_things_are_asked_about():
    def loss(out, y):
        return functional.cross_entropy(out, y, weight=CLASS_WEIGHT.to(out.dtype)) + out.square().mean()

    with pytest.raises(InvalidValue, match=r"batches of 10 and 1 samples, .*\n.*average over the same\ngive samples="):
        gradients(mlp(), uneven(X, Y), loss)


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = mlp().double()

    def forward(self, pair):
        return self.net(pair[0] + pair[1])


def test_nested_tuples_are_counted_by_their_targets():
    model = TwoInputs()
    x = X.double()
    expected = of_one_batch(model.net, x, Y, functional.cross_entropy)
    for loss in (functional.cross_entropy, lambda out, y: functional.cross_entropy(out, y)):
        found = gradients(model, [((a / 2, a / 2), y) for a, y in uneven(x, Y)], loss)
        assert_same({n.removeprefix("net."): g for n, g in found.items()}, expected)
    nested = [((a / 2, a / 2), {"a": (y,)}) for a, y in uneven(x, Y)]
    found = gradients(model, nested, lambda out, target: functional.cross_entropy(out, target["a"][0]))
    assert_same({n.removeprefix("net."): g for n, g in found.items()}, expected)


def test_edges_and_nodes_are_counted_by_the_targets():
    """A graph's batch: 2 rows of edges beside many nodes; the mean loss is that over the nodes' labels."""
    model = TwoInputs()
    zeros = torch.zeros(1, 8, dtype=torch.float64)
    found = gradients(model, [((a, zeros), y) for a, y in uneven(X.double(), Y)], lambda o, y: o.logsumexp(1).mean())
    parameters = list(model.parameters())
    expected = torch.autograd.grad(model.net(X.double()).logsumexp(1).mean(), parameters)
    names = [n for n, _ in model.named_parameters()]
    assert_same(found, {n: g for n, g in zip(names, expected, strict=True) if g.dim() > 1})


def unknown(out, batch):
    return out.mean()


@pytest.mark.parametrize(
    ("batches", "words"),
    [
        ([{"x": X[:4], "table": X[:3]}, {"x": X[:5], "table": X[:3]}], r"leading dimensions \[3, 4\]"),
        ([{"x": X[:4]}, {"x": X[:4, :, None]}], r"shape \(8,\) in one batch and \(8, 1\) in another"),
        ([{"x": X[:4], "y": -Y[:4]}, {"x": X[:4], "y": Y[:4]}], "the targets hold -2"),
    ],
)
def test_what_cannot_be_weighed_is_asked_for(batches, words):
    def forward(model, batch):
        return model(batch["x"].reshape(-1, 8))

    with pytest.raises(InvalidValue, match=words) as caught:
        gradients(mlp(), batches, unknown, forward=forward)
    assert "samples=" in str(caught.value)
    assert gradients(mlp(), batches, unknown, forward=forward, samples=lambda batch: len(batch["x"]))


def test_batches_of_equal_shapes_weigh_equally_whatever_they_hold():
    batches = [{"x": x, "table": torch.zeros(3)} for x in X[:20].split(5)]
    found = gradients(mlp(), batches, unknown, forward=lambda model, batch: model(batch["x"]))
    expected = gradients(mlp(), [{"x": X[:20]}], unknown, forward=lambda model, batch: model(batch["x"]))
    torch.testing.assert_close(found["0.weight"], expected["0.weight"])


def test_a_batch_in_which_no_label_counts_adds_nothing():
    model = mlp()
    ignored = torch.full((4,), -100)
    batches = [(X[:5], Y[:5]), (X[5:9], ignored)]
    found = gradients(model, batches, functional.cross_entropy)
    expected = gradients(model, batches[:1], functional.cross_entropy)
    assert all(torch.equal(found[n], expected[n]) for n in expected)
    with pytest.raises(EmptyBatches, match="no label of the batches counts"):
        gradients(model, batches[1:], functional.cross_entropy)


@pytest.mark.parametrize("answer", [-1, float("nan"), float("inf"), "4", None, True])
def test_samples_must_be_a_number(answer):
    with pytest.raises(InvalidValue, match=r"samples\(batch\) is"):
        gradients(mlp(), [(X, Y)], functional.cross_entropy, samples=lambda batch: answer)


def test_a_sum_is_no_mean():
    with pytest.raises(InvalidValue, match="reduction 'sum'"):
        gradients(mlp(), [(X, Y)], nn.CrossEntropyLoss(reduction="sum"))


def test_iterate_asks_before_anything_is_trained():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    plan = bb.Plan(criterion=bb.criteria.Taylor(), schedule=bb.schedules.OneShot(0.5))
    batches = [(x, y) for x, y in uneven(X, some_ignored(-100))]
    with pytest.raises(InvalidValue, match="the targets hold -100"):
        bb.iterate(model, optimizer, plan, batches=batches, loss=by_hand)
    with bb.iterate(
        model,
        optimizer,
        plan,
        batches=batches,
        loss=by_hand,
        samples=lambda batch: (batch[1] >= 0).sum(),
    ) as levels:
        for _ in levels:
            for x, y in batches:
                optimizer.zero_grad()
                functional.cross_entropy(model(x), y).backward()
                optimizer.step()
    assert levels.mask.density == 0.5


class Jittered(Dataset):
    """Draws from every generator there is, and from three of its own."""

    def __init__(self):
        self.own_torch = torch.Generator().manual_seed(1)
        self.own_numpy = np.random.default_rng(1)
        self.own_random = random.Random(1)

    def __len__(self):
        return 6

    def __getitem__(self, index):
        noise = np.random.rand() + random.random() + torch.rand(()).item()
        noise += self.own_numpy.random() + self.own_random.random()
        return X[index] + noise + torch.rand(8, generator=self.own_torch), Y[index]


class Augmented(Dataset):
    """Looks through to other data; its transform, one of several, draws from a generator of its own."""

    def __init__(self, *datasets):
        self.datasets, self.transforms = datasets, [Noise()]

    def __len__(self):
        return 6

    def __getitem__(self, index):
        x, y = self.datasets[0][index]
        return self.transforms[0](x), y


class Noise:
    def __init__(self):
        self.own = torch.Generator().manual_seed(4)

    def __call__(self, x):
        return x + torch.rand(8, generator=self.own)


def test_generators_are_found_behind_other_data_sets_and_in_transforms():
    data = Augmented(Jittered())
    own = data.datasets[0].own_numpy, data.transforms[0].own
    before = draws(*own)
    bb.dead_neurons(mlp(), DataLoader(data, batch_size=3))
    assert draws(*own) == before


def draws(*generators):
    """The next numbers of all generators; what is compared are these, not internal states."""
    own = [copy.deepcopy(g) if not isinstance(g, torch.Generator) else g.clone_state() for g in generators]
    state = torch.get_rng_state(), np.random.get_state(), random.getstate()
    found = [torch.rand(2).tolist(), np.random.rand(2).tolist(), random.random()]
    for one in own:
        found.append(torch.rand(2, generator=one).tolist() if isinstance(one, torch.Generator) else one.random())
    torch.set_rng_state(state[0])
    np.random.set_state(state[1])
    random.setstate(state[2])
    return found


@pytest.mark.parametrize("workers", [0, 1])
def test_no_generator_within_reach_moves(workers):
    data = Jittered()
    of_loader, of_sampler = torch.Generator().manual_seed(5), torch.Generator().manual_seed(6)
    sampler = RandomSampler(data, generator=of_sampler)
    loader = DataLoader(data, batch_size=4, sampler=sampler, generator=of_loader, num_workers=workers)
    all_of_them = of_loader, of_sampler, data.own_torch, data.own_numpy, data.own_random
    before = draws(*all_of_them)
    model = mlp()
    bb.dead_neurons(model, loader)
    assert draws(*all_of_them) == before
    gradients(model, loader, functional.cross_entropy)
    assert draws(*all_of_them) == before
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    plan = bb.Plan(criterion=bb.criteria.Taylor(), schedule=bb.schedules.OneShot(0.5))
    bb.iterate(model, optimizer, plan, batches=loader, loss=functional.cross_entropy)
    assert draws(*all_of_them) == before


def test_generators_return_even_when_a_batch_raises():
    def broken():
        np.random.rand()
        raise RuntimeError("mine")
        yield

    before = draws()
    with pytest.raises(RuntimeError, match="mine"):
        bb.dead_neurons(mlp(), broken())
    assert draws() == before


class Counting(nn.Linear):
    """Counts its calls in buffers, in training and out of it."""

    def __init__(self):
        super().__init__(8, 3)
        self.register_buffer("calls", torch.zeros(1))
        self.register_buffer("replaced", torch.zeros(1))

    def forward(self, x):
        self.calls += 1
        self.replaced = self.replaced + 1
        return super().forward(x)


def test_buffers_return_whether_changed_or_replaced():
    model = nn.Sequential(Counting(), nn.ReLU())
    buffers = [model[0].calls, model[0].replaced]
    bb.dead_neurons(model, [X, X])
    assert [model[0].calls, model[0].replaced] == [0, 0]
    assert model[0].calls is buffers[0]
    assert model[0].replaced is buffers[1]


def test_shuffled_loaders_see_what_they_would_have_seen():
    loader = DataLoader(TensorDataset(X, Y), batch_size=5, shuffle=True, generator=torch.Generator().manual_seed(3))
    twin = DataLoader(TensorDataset(X, Y), batch_size=5, shuffle=True, generator=torch.Generator().manual_seed(3))
    gradients(mlp(), loader, functional.cross_entropy)
    for (x, _), (other, _) in zip(loader, twin, strict=True):
        assert torch.equal(x, other)


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        (
            {"flag": None, "input_ids": X.double(), "labels": Y},
            r"a dict\ncross_entropy .*\n.*lambda outputs",
        ),
        ((X, Y.tolist()), r"a list\ncross_entropy compares with a tensor"),
    ],
)
def test_a_loss_of_torch_gets_a_tensor(batch, words):
    with pytest.raises(InvalidValue, match=words):
        gradients(Keyworded() if isinstance(batch, dict) else mlp(), [batch], functional.cross_entropy)


def test_iterate_looks_at_every_batch_of_a_list_first():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    plan = bb.Plan(criterion=bb.criteria.Taylor(), schedule=bb.schedules.OneShot(0.5))
    batches = [(X, Y), (X, Y), (X, some_ignored(-1))]
    with pytest.raises(InvalidValue, match="the targets hold -1"):
        bb.iterate(model, optimizer, plan, batches=batches, loss=by_hand)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru, self.fc = nn.GRU(8, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x):
        return self.fc(self.gru(x[:, None])[0][:, -1])


def test_recurrent_layers_go_without_cudnn_which_has_no_backward_in_eval_mode():
    seen = []

    def loss(out, y):
        seen.append(torch.backends.cudnn.enabled)
        return functional.cross_entropy(out, y)

    gradients(Recurrent(), [(X, Y)], loss)
    gradients(mlp(), [(X, Y)], loss)
    assert seen == [False, True]
    assert torch.backends.cudnn.enabled
