"""What rewinding and resuming put back is everything: buffers, extra state, optimizer state in its own dtypes."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import LBFGS, SGD, Adafactor, NAdam, Optimizer

import budbreak as bb
from budbreak.errors import InvalidValue, MaskMismatch
from budbreak.live import Snapshot, TrainingState, load_state, model_state, rewind
from budbreak.testing import mlp, separable

X, Y = separable(48, noise=1.0)


class Counting(nn.Module):
    """A linear layer with a counter that state_dict leaves out, a cache made in the first pass, and extra state."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 3)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64), persistent=False)
        self.register_buffer("cache", None, persistent=False)
        self.temperature = 1.0

    def forward(self, x):
        self.calls += 1
        if self.cache is None or len(self.cache) != len(x):
            self.cache = torch.arange(len(x)).float()[:, None]
        self.temperature *= 0.9
        return self.fc(x) * (1 + 0.01 * float(self.calls)) / self.temperature + 0 * self.cache

    def get_extra_state(self):
        return {"temperature": self.temperature, "scale": torch.tensor([2.0])}

    def set_extra_state(self, state):
        self.temperature = state["temperature"]


def counting(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(Counting())


def train(model, optimizer, steps=2, x=X, y=Y):
    def closure():
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        return loss

    for _ in range(steps):
        if isinstance(optimizer, LBFGS):
            optimizer.step(closure)
        else:
            closure()
            optimizer.step()


def test_buffers_that_are_not_persistent_and_extra_state_return():
    model = counting()
    snapshot = Snapshot.of(model)
    assert set(snapshot.state) == {"0.fc.weight", "0.fc.bias", "0.calls"}
    before = model[0](X)
    train(model, SGD(model.parameters(), lr=0.1))
    rewind(model, snapshot, bb.Mask.dense(model))
    assert int(model[0].calls) == 0
    assert model[0].cache is None
    assert model[0].temperature == 1.0
    assert torch.equal(model[0](X), before)


def test_they_return_in_an_average_as_well():
    average = torch.optim.swa_utils.AveragedModel(counting())
    taken = TrainingState.of([SGD(average.parameters(), lr=0.1)], [average])
    before = average(X)
    average(X)
    taken.restore([SGD(average.parameters(), lr=0.1)], [average])
    assert int(average.module[0].calls) == 0
    assert average.module[0].cache is None
    assert torch.equal(average(X), before)


def test_they_are_part_of_the_hash():
    def digest(change):
        model = counting()
        change(model[0])
        return Snapshot.of(model).digest

    changes = [
        lambda layer: None,
        lambda layer: layer.calls.add_(1),
        lambda layer: setattr(layer, "temperature", 0.5),
        lambda layer: setattr(layer, "cache", torch.zeros(1)),
    ]
    assert len({digest(change) for change in changes}) == len(changes)


def test_a_cache_that_has_grown_is_put_back_as_it_was():
    model = counting()
    model(X[:4])
    snapshot = Snapshot.of(model)
    model(X)
    rewind(model, snapshot, bb.Mask.dense(model))
    assert model[0].cache.shape == (4, 1)


def test_a_state_dict_of_a_file_may_lack_them():
    model = counting()
    model(X)
    load_state(model, {n: torch.zeros_like(t) for n, t in counting().state_dict().items() if "extra" not in n})
    assert int(model[0].calls) == 1
    assert not model[0].fc.weight.any()


def test_a_buffer_that_is_part_of_the_state_dict_may_not_change_its_shape():
    model = nn.BatchNorm1d(3)
    snapshot = Snapshot.of(model)
    model.running_mean = torch.zeros(4)
    with pytest.raises(MaskMismatch, match="'running_mean' is"):
        load_state(model, snapshot.state)


def test_names_are_those_of_the_state_dict():
    for model in (mlp(), nn.Sequential(*[nn.BatchNorm1d(3)] * 2)):
        assert list(model_state(model)) == list(model.state_dict())


def carry_out(make, folder, stop_after=None, dtype=torch.float64, network=mlp):
    """Three levels; ``stop_after``: leave in that epoch, and go on from the store in new objects."""
    torch.manual_seed(0)
    model = network().to(dtype)
    optimizer = make(model)
    epochs = 0
    plan = bb.Plan(schedule=bb.schedules.Geometric(rate=0.3, levels=2))
    with bb.iterate(model, optimizer, plan, store=folder) as levels:
        for level in levels:
            for _ in level.epochs(2):
                train(model, optimizer, 2, X.to(dtype))
                epochs += 1
                if epochs == stop_after:
                    raise KeyboardInterrupt
    return model, levels.history


def bits_of(model, history):
    state = {n: t.detach().clone() for n, t in model_state(model).items()}
    return state, [(r.rewound, r.end_digest) for r in history]


class Slow(Optimizer):
    """Moments in float32, whatever the weights are."""

    def __init__(self, parameters):
        super().__init__(parameters, {})

    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                state.setdefault("mean", torch.zeros_like(p, dtype=torch.float32))
                state["mean"].mul_(0.9).add_(p.grad.float())
                p.data.add_(state["mean"].to(p.dtype), alpha=-1e-2)


MAKERS = {
    "nadam float64": (lambda m: NAdam(m.parameters(), lr=0.01), torch.float64, mlp),
    "float32 moments of bfloat16": (lambda m: Slow(m.parameters()), torch.bfloat16, mlp),
    "adafactor bfloat16": (lambda m: Adafactor(m.parameters()), torch.bfloat16, mlp),
    "momentum of an optimizer within": (lambda m: Resharing(m.parameters(), lr=0.1, momentum=0.9), torch.float32, mlp),
    "directions of lbfgs": (lambda m: LBFGS(m.parameters(), max_iter=3), torch.float64, mlp),
    "buffers and extra state": (lambda m: SGD(m.parameters(), lr=0.1, momentum=0.9), torch.float32, counting),
}


@pytest.mark.parametrize("what", MAKERS)
@pytest.mark.parametrize("stop", [2, 4])
def test_a_resumed_run_has_the_bits_of_one_that_went_through(tmp_path, what, stop):
    make, dtype, network = MAKERS[what]
    expected, records = bits_of(*carry_out(make, tmp_path / "through", dtype=dtype, network=network))
    with pytest.raises(KeyboardInterrupt):
        carry_out(make, tmp_path / "torn", stop_after=stop, dtype=dtype, network=network)
    found, again = bits_of(*carry_out(make, tmp_path / "torn", dtype=dtype, network=network))
    assert again == records
    assert all(torch.equal(found[n], expected[n]) for n in expected)


def test_state_returns_in_its_own_dtype():
    model = mlp().double()
    optimizer = NAdam(model.parameters(), lr=0.01)
    train(model, optimizer, 2, X.double())
    taken = TrainingState.of([optimizer], [])
    before = {k: v.clone() for k, v in optimizer.state[model[0].weight].items()}
    assert before["mu_product"].dtype == torch.float32
    train(model, optimizer, 1, X.double())
    taken.restore([optimizer], [])
    for key, value in optimizer.state[model[0].weight].items():
        assert value.dtype == before[key].dtype
        assert torch.equal(value, before[key])


class Unstorable(nn.Linear):
    def get_extra_state(self):
        return {"when": object()}

    def set_extra_state(self, state):
        pass


def test_extra_state_that_cannot_be_stored_is_refused_before_training():
    model = nn.Sequential(Unstorable(8, 3))
    optimizer = SGD(model.parameters(), lr=0.1)
    plan = bb.Plan(schedule=bb.schedules.OneShot(0.5), rewind_to=None)
    with pytest.raises(InvalidValue, match=r"get_extra_state\(\) of '0': cannot store object at '/when'") as caught:
        bb.iterate(model, optimizer, plan).__enter__()
    assert "let it return" in caught.value.fix


class SAM(Optimizer):
    """Only as much of it as matters here: an optimizer within, which has the momentum."""

    def __init__(self, parameters, **options):
        super().__init__(parameters, options)
        self.base_optimizer = SGD(self.param_groups, **options)
        self.param_groups = self.base_optimizer.param_groups

    def step(self, closure=None):
        self.base_optimizer.step()


class Resharing(SAM):
    """As the usual implementation has it."""

    def load_state_dict(self, state_dict):
        super().load_state_dict(state_dict)
        self.base_optimizer.param_groups = self.param_groups


@pytest.mark.parametrize("kind", [SAM, Resharing])
def test_the_momentum_of_an_optimizer_within_returns(kind):
    model = mlp()
    optimizer = kind(model.parameters(), lr=0.1, momentum=0.9)
    train(model, optimizer)
    groups = optimizer.param_groups[0]
    momentum = optimizer.base_optimizer.state[model[0].weight]["momentum_buffer"].clone()
    taken = copy.deepcopy(TrainingState.of([optimizer], []))
    train(model, optimizer)
    groups["lr"] = 0.7
    taken.restore([optimizer], [])
    assert torch.equal(optimizer.base_optimizer.state[model[0].weight]["momentum_buffer"], momentum)
    # one group for both, as before: whoever holds it (a scheduler, say) goes on holding it
    assert optimizer.param_groups[0] is optimizer.base_optimizer.param_groups[0] is groups
    assert groups["lr"] == 0.1


def test_state_that_is_no_tensor_returns_as_it_was():
    """Torch's own load_state_dict makes '<generator object ...>' of a string."""
    model = mlp()
    optimizer, weight = SGD(model.parameters(), lr=0.1), model[0].weight
    noted = {"phase": "warm", "losses": [1.5, 2.5], "of": {"any": (1, None, "kind", b"bytes")}}
    optimizer.state[weight] = copy.deepcopy(noted)
    TrainingState.of([optimizer], []).restore([optimizer], [])
    assert optimizer.state[weight] == noted


class Sharing(Optimizer):
    """A wrapper that has the very state of the optimizer within, and counts on it."""

    def __init__(self, optimizer):
        super().__init__(optimizer.param_groups, {})
        self.optimizer, self.state, self.param_groups = optimizer, optimizer.state, optimizer.param_groups

    def step(self, closure=None):
        self.optimizer.step()


def test_a_state_that_is_shared_stays_shared():
    model = mlp()
    inner = SGD(model.parameters(), lr=0.1, momentum=0.9)
    optimizer = Sharing(inner)
    plan = bb.Plan(schedule=bb.schedules.Geometric(rate=0.3, levels=2))
    with bb.iterate(model, optimizer, plan) as levels:
        for _ in levels:
            train(model, optimizer)
    assert optimizer.state is inner.state
    assert len(levels.history) == 3


@pytest.mark.parametrize("how", ["a group", "a parameter"])
def test_a_group_added_after_the_rewind_point_is_refused_at_the_next_step(how):
    model = mlp()
    optimizer = SGD(list(model.parameters())[:-1], lr=0.1)
    plan = bb.Plan(schedule=bb.schedules.OneShot(0.5))
    with bb.iterate(model, optimizer, plan) as levels:
        for _ in levels:
            train(model, optimizer, 1)
            if how == "a group":
                optimizer.add_param_group({"params": [model[4].bias]})
            else:
                optimizer.param_groups[0]["params"].append(model[4].bias)
            before = model[0].weight.clone()
            with pytest.raises(InvalidValue, match=r"the optimizer's groups hold \[.*\] parameters, not \[5\]"):
                train(model, optimizer, 1)
            assert torch.equal(model[0].weight, before)
            break


def test_a_sparse_buffer_is_refused_before_training():
    model = nn.Sequential(nn.Linear(8, 3))
    model.register_buffer("neighbours", torch.eye(3).to_sparse(), persistent=False)
    plan = bb.Plan(schedule=bb.schedules.OneShot(0.5))
    with pytest.raises(InvalidValue, match=r"'neighbours' is a tensor of layout torch\.sparse_coo"):
        bb.iterate(model, SGD(model.parameters(), lr=0.1), plan).__enter__()
