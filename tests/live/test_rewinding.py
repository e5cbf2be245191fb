import copy
import hashlib

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import AveragedModel

import budbreak as bb
from budbreak.errors import InvalidValue, InvariantBroken, MaskMismatch
from budbreak.live import Snapshot, TrainingState, check_resettable, load_state, rewind, state_digest
from budbreak.testing import mlp, residual_cnn

IMAGES, LABELS = torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 3


def train(model, optimizer, steps, x=IMAGES, y=LABELS):
    for _ in range(steps):
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()


def trained(steps=5):
    model = residual_cnn()
    start = {n: t.clone() for n, t in model.state_dict().items()}
    snapshot = Snapshot.of(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    train(model, optimizer, steps)
    return model, optimizer, snapshot, start


def half(model):
    generator = torch.Generator().manual_seed(3)
    return bb.Mask({n: torch.rand(e.shape, generator=generator) < 0.5 for n, e in bb.Mask.dense(model).items()})


def by_hand(state):
    """The hash in another form: one bytes object, values through numpy."""
    text = b""
    for name in sorted(state):
        tensor = state[name]
        text += f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode() + tensor.detach().numpy().tobytes()
    return hashlib.sha256(text).hexdigest()


def test_the_whole_state_returns_parameters_and_buffers():
    model, _, snapshot, start = trained()
    mask = half(model)
    assert all(not torch.equal(t, start[n]) for n, t in model.state_dict().items()), "training moved everything"
    objects = {n: id(t) for n, t in model.named_parameters()}
    rewind(model, snapshot, mask)
    state = model.state_dict()
    assert {"norm.running_mean", "norm.running_var", "norm.num_batches_tracked", "norm.bias"} <= set(state)
    for name, tensor in state.items():
        assert torch.equal(tensor, start[name] * mask[name] if name in mask else start[name]), name
    assert state["norm.num_batches_tracked"].dtype == torch.int64
    assert int(state["norm.num_batches_tracked"]) == 0
    assert {n: id(t) for n, t in model.named_parameters()} == objects


def test_the_hash_is_that_of_the_rewound_state():
    model, _, snapshot, start = trained()
    mask = half(model)
    found = rewind(model, snapshot, mask)
    expected = {n: t.masked_fill(~mask[n], 0) if n in mask else t for n, t in start.items()}
    assert found == by_hand(expected) == by_hand(model.state_dict())


def test_every_part_of_a_state_enters_the_hash():
    state = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([3])}
    variants = [
        state,
        {"a": torch.tensor([1.0, 2.0000002]), "b": state["b"]},
        {"a": state["a"].double(), "b": state["b"]},
        {"a": state["a"].reshape(1, 2), "b": state["b"]},
        {"a": state["a"], "c": state["b"]},
        {"a": state["a"]},
        {"a": state["a"], "b": torch.tensor([3], dtype=torch.int32)},
    ]
    assert len({state_digest(s) for s in variants}) == len(variants)


def test_the_hash_is_independent_of_memory_format_and_order():
    tensor = torch.randn(2, 3, 4, 5)
    a = {"x": tensor, "y": torch.ones(1)}
    b = {"y": torch.ones(1), "x": tensor.to(memory_format=torch.channels_last)}
    assert state_digest(a) == state_digest(b)


def test_a_snapshot_is_not_changed_by_training():
    """Bug 2 of the AP authors' script: its rewinding shares storage with the initial biases, so they drift."""
    model, optimizer, snapshot, start = trained()
    mask = half(model)
    for _ in range(3):  # the bug shows from the second rewinding on
        rewind(model, snapshot, mask)
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, start[name] * mask[name] if name in mask else start[name]), name
        train(model, optimizer, 2)
    assert all(torch.equal(snapshot.state[n], t) for n, t in start.items())
    live = {t.data_ptr() for t in model.state_dict().values()}
    assert not live & {t.data_ptr() for t in snapshot.state.values()}


def test_a_tampered_snapshot_is_refused_and_the_model_left_alone():
    model, _, snapshot, _ = trained()
    before = copy.deepcopy(model.state_dict())
    snapshot.state["norm.bias"][0] += 1e-7
    with pytest.raises(InvariantBroken, match="snapshot to rewind to has changed"):
        rewind(model, snapshot, half(model))
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (lambda: residual_cnn(channels=5), "in the state and"),
        (lambda: mlp(), "absent"),
    ],
)
def test_a_snapshot_of_another_architecture_is_refused(other, words):
    model, _, _, _ = trained()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(MaskMismatch, match=words) as caught:
        load_state(model, Snapshot.of(other()).state)
    assert "build the model as it was then" in str(caught.value)
    with pytest.raises(MaskMismatch):
        rewind(model, Snapshot.of(residual_cnn(channels=5)), half(model))
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode, self.decode = nn.Linear(8, 8, bias=False), nn.Linear(8, 8)
        self.decode.weight = self.encode.weight


@pytest.mark.parametrize("name", ["encode.weight", "decode.weight"])
def test_tied_weights_rewind_under_either_name(name):
    model = Tied()
    start = model.encode.weight.detach().clone()
    snapshot = Snapshot.of(model)
    entry = torch.rand(8, 8) < 0.5
    with torch.no_grad():
        model.encode.weight.add_(1)
    rewind(model, snapshot, bb.Mask({name: entry}))
    assert model.decode.weight is model.encode.weight
    assert torch.equal(model.encode.weight, start * entry)


def test_weights_tied_only_after_the_snapshot_are_noticed():
    model = Tied()
    model.decode.weight = nn.Parameter(torch.randn(8, 8))
    snapshot = Snapshot.of(model)
    model.decode.weight = model.encode.weight
    with pytest.raises(InvariantBroken, match="tied since then"):
        rewind(model, snapshot, bb.Mask.dense(model))


def test_a_compiled_or_wrapped_model_uses_the_plain_names():
    model, _, snapshot, _ = trained()
    wrapped = nn.DataParallel(model)
    assert set(Snapshot.of(wrapped).state) == set(snapshot.state)
    assert rewind(wrapped, snapshot, half(model)) == by_hand(model.state_dict())


def test_channels_last_weights_stay_so():
    model = residual_cnn()
    snapshot = Snapshot.of(model)
    model.to(memory_format=torch.channels_last)
    rewind(model, snapshot, bb.Mask.dense(model))
    assert model.conv1.weight.is_contiguous(memory_format=torch.channels_last)
    assert state_digest(model.state_dict()) == snapshot.digest


def test_training_state_restores_optimizer_groups_scheduler_generator_scaler_and_average():
    model, optimizer, _, _ = trained(2)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    generator = torch.Generator().manual_seed(7)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    scaler.scale(torch.ones(1))  # a scaler makes its state when first used
    average = AveragedModel(model)
    average.update_parameters(model)
    resets = [scheduler, generator, scaler, average]
    taken = TrainingState.of([optimizer], resets)
    momentum = optimizer.state[model.fc.weight]["momentum_buffer"].clone()
    mean = average.module.fc.weight.detach().clone()
    expected_draw = torch.rand(3, generator=torch.Generator().manual_seed(7))
    for _ in range(2):  # a second time as well: what was restored is not shared
        train(model, optimizer, 2)
        optimizer.param_groups[0]["weight_decay"] = 0.5
        scheduler.step()
        torch.rand(5, generator=generator)
        scaler.update(1024.0)
        average.update_parameters(model)
        taken.restore([optimizer], resets)
        assert optimizer.param_groups[0]["lr"] == 0.1
        assert optimizer.param_groups[0]["weight_decay"] == 0
        assert scheduler.last_epoch == 0
        assert scaler.get_scale() == 8.0
        assert int(average.n_averaged) == 1
        assert torch.equal(average.module.fc.weight, mean)
        assert torch.equal(optimizer.state[model.fc.weight]["momentum_buffer"], momentum)
        assert torch.equal(torch.rand(3, generator=generator), expected_draw)
        scheduler.step()
        assert optimizer.param_groups[0]["lr"] == 0.05


def test_restored_state_lies_in_memory_as_its_parameter_does():
    model = residual_cnn().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    train(model, optimizer, 1)
    taken = TrainingState.of([optimizer], [])
    for state in taken.optimizers[0]["state"].values():  # as a file gives it back
        state["momentum_buffer"] = state["momentum_buffer"].contiguous()
    taken.restore([optimizer], [])
    buffer = optimizer.state[model.conv1.weight]["momentum_buffer"]
    assert buffer.stride() == model.conv1.weight.stride()
    assert torch.equal(buffer, taken.optimizers[0]["state"][3]["momentum_buffer"])


def test_what_has_no_state_cannot_be_reset():
    with pytest.raises(InvalidValue, match=r"resets holds {}, a dict"):
        check_resettable([{}])
