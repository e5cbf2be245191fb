"""What hold and rewind cannot work with is refused in words, before anything is changed."""

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.optim import SGD

import budbreak as bb
from budbreak.errors import BudbreakError, InvalidValue
from budbreak.live import Snapshot, rewind
from budbreak.testing import mlp


def parts():
    model = mlp()
    return model, SGD(model.parameters(), lr=0.1), bb.prune(model, sparsity=0.5)


HOLDS = {
    "a dictionary": (lambda m, o, k: bb.hold(m, o, dict(k)), "mask is .*a dict"),
    "no mask": (lambda m, o, k: bb.hold(m, o, None), "mask is None"),
    "mask before optimizer": (lambda m, o, k: bb.hold(m, k, o), "optimizer is .*a Mask"),
    "optimizer before model": (lambda m, o, k: bb.hold(o, m, k), "model is .*a SGD"),
    "a list of models": (lambda m, o, k: bb.hold([m], o, k), "model is .*a list"),
    "no optimizer": (lambda m, o, k: bb.hold(m, None, k), "optimizer is None"),
    "an empty list": (lambda m, o, k: bb.hold(m, [], k), "optimizer is .*a list"),
    "a list with a model": (lambda m, o, k: bb.hold(m, [o, m], k), "optimizer is .*a Sequential"),
    "one optimizer twice": (lambda m, o, k: bb.hold(m, [o, o], k), "optimizers 0 and 1 both hold '0.weight'"),
    "a class": (lambda m, o, k: bb.hold(m, SGD, k), "optimizer is the class SGD"),
    "a word": (lambda m, o, k: bb.hold(m, o, k, mask_grads="yes"), "mask_grads is 'yes'"),
    "a mask's tensor": (lambda m, o, k: bb.Mask(k["0.weight"]), "entries of a mask are .*a Tensor"),
    "lists as entries": (lambda m, o, k: bb.Mask({"0.weight": [1, 0]}), "entries of a mask are"),
    "mask before snapshot": (lambda m, o, k: rewind(m, k, Snapshot.of(m)), "mask is .*a Snapshot"),
    "a state_dict": (lambda m, o, k: rewind(m, m.state_dict(), k), "snapshot is .*a OrderedDict"),
    "a snapshot of a list": (lambda m, o, k: Snapshot.of([m]), "model is .*a list"),
}


@pytest.mark.parametrize("what", HOLDS)
def test_what_is_of_the_wrong_kind(what):
    call, words = HOLDS[what]
    model, optimizer, mask = parts()
    before = {n: t.clone() for n, t in model.state_dict().items()}
    with pytest.raises(InvalidValue, match=words) as caught:
        call(model, optimizer, mask)
    assert caught.value.fix
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())
    assert not optimizer._optimizer_step_post_hooks


def test_a_hold_is_not_updated_by_a_dictionary():
    model, optimizer, mask = parts()
    with bb.hold(model, optimizer, mask) as held:
        with pytest.raises(InvalidValue, match=r"mask is .*a dict"):
            held.update(dict(mask))
        assert held.mask is mask


def sharded():
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import distribute_module

    return distribute_module(mlp(), init_device_mesh("cpu", (1,)))


WEIGHTS = {
    "lazy": (lambda: nn.Sequential(nn.LazyLinear(16)), "has no shape yet"),
    "meta": (lambda: nn.Sequential(nn.Linear(8, 16, device="meta")), "on the meta device"),
    "sharded": (sharded, "is a DTensor"),
    "complex128": (lambda: nn.Sequential(nn.Linear(8, 16, dtype=torch.complex128)), r"torch\.complex128"),
}


@pytest.fixture
def alone(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("verb", ["hold", "prune", "iterate"])
@pytest.mark.parametrize("what", WEIGHTS)
@pytest.mark.filterwarnings("ignore:.*:FutureWarning", "ignore:.*:UserWarning")  # torch's own, as it starts
def test_weights_that_no_mask_can_cover(alone, what, verb):
    make, words = WEIGHTS[what]
    model = make()
    optimizer = SGD(model.parameters(), lr=0.1)
    calls = {
        "hold": lambda: bb.hold(model, optimizer, bb.Mask({"0.weight": torch.eye(16, 8)})),
        "prune": lambda: bb.prune(model, sparsity=0.5),
        "iterate": lambda: bb.iterate(model, optimizer, bb.Plan(schedule=bb.schedules.OneShot(0.5))).__enter__(),
    }
    with pytest.raises(BudbreakError, match=words):
        calls[verb]()


def test_complex_weights_are_held():
    torch.manual_seed(0)
    model = nn.Linear(8, 16, dtype=torch.complex64)
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
    mask = bb.prune(model, sparsity=0.5)
    with bb.hold(model, optimizer, mask):
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.randn(4, 8, dtype=torch.complex64)).abs().sum().backward()
            optimizer.step()
    assert torch.equal(model.weight != 0, mask["weight"])
    assert not optimizer.state[model.weight]["momentum_buffer"][~mask["weight"]].any()
