"""Layers become sparse where that was measured to be faster, and give what dense ones give."""

import copy
import pickle

import pytest
import torch
from nets import ROWS, by_torch, mlp, pruned
from torch import nn

from budbreak.errors import InvalidValue, InvariantBroken, NotFinite
from budbreak.exporting import SparseLinear, sparsify
from budbreak.exporting import sparsifying as room
from budbreak.live import model_digest
from budbreak.measuring import Meter, Timing


def linear(bias=True, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return pruned(nn.Linear(20, 6, bias=bias), 0.2)


def clock(*speedups, whole=2.0, together=0.5):
    """A meter that runs all, and finds these speed-ups of layers one after the other, and then of the model."""
    left = [*speedups, whole]

    def meter(contenders):
        for contender in contenders:
            contender.run()
        faster = left.pop(0)
        low, high = faster if isinstance(faster, tuple) else (faster, faster)
        times = {"dense": (low, low, high), "sparse": (1.0,) * 3, "all sparse": (low / together,) * 3}
        return {contender.name: Timing(times[contender.name]) for contender in contenders}

    return meter


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 20), (7, 20), (20,), (0, 20), (2, 3, 20), (1, 1, 20)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_sparse_layer_gives_what_the_dense_one_gives(bias, shape, dtype):
    dense = linear(bias).to(dtype)
    sparse = SparseLinear(dense)
    inputs = torch.linspace(-2, 3, torch.Size(shape).numel(), dtype=dtype).reshape(shape)
    given, wanted = sparse(inputs), dense(inputs)
    assert given.shape == wanted.shape
    # tolerance: 20 products in another order
    torch.testing.assert_close(given, wanted, rtol=1e-5, atol=1e-5)
    strided = torch.stack([inputs, inputs], -1)[..., 0]
    torch.testing.assert_close(sparse(strided), wanted, rtol=1e-5, atol=1e-5)


def test_it_holds_its_living_weights_alone():
    sparse = SparseLinear(linear())
    assert sum(tensor.numel() for tensor in sparse.state_dict().values()) == 24 + 24 + 7 + 6
    assert str(sparse) == "SparseLinear(in_features=20, out_features=6, bias=True, weights=24 of 120)"


@pytest.mark.parametrize(
    "how", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))], ids=["copy", "pickle"]
)
def test_a_copy_has_its_own_weights_and_takes_others(how):
    sparse = SparseLinear(linear())
    twin, wanted = how(sparse), sparse(ROWS)
    twin.load_state_dict({**sparse.state_dict(), "values": sparse.values * 2, "bias": sparse.bias * 2})
    torch.testing.assert_close(twin(ROWS), wanted * 2)
    torch.testing.assert_close(sparse(ROWS), wanted)
    torch.testing.assert_close(twin.double()(ROWS.double()), wanted.double() * 2)


def test_weights_without_zeros_and_without_anything_else_go_too():
    for fill in (0.0, 0.5):
        dense = nn.Linear(20, 6)
        nn.init.constant_(dense.weight, fill)
        torch.testing.assert_close(SparseLinear(dense)(ROWS), dense(ROWS), rtol=1e-5, atol=1e-5)


def test_layers_become_sparse_where_they_are_faster():
    model = pruned(mlp(), 0.2).train()
    before = model_digest(model)
    done = sparsify(model, ROWS, meter=clock(3.0, 0.8, whole=1.7))
    assert [type(module) for module in done.model] == [SparseLinear, nn.ReLU, nn.Linear]
    assert [(one.name, one.rows, one.speedup, one.why) for one in done.layers] == [
        ("0", 7, 3.0, ""),
        ("2", 7, 0.8, "it is not faster"),
    ]
    assert (done.speedup, done.dense, done.sparse) == (1.7, 1.7, 1.0)
    assert 0 <= done.difference < 1e-6
    torch.testing.assert_close(done.model(ROWS), model.eval()(ROWS))
    assert model_digest(model.train()) == before
    assert isinstance(model[0], nn.Linear)


def test_faster_by_less_than_the_spread_is_not_faster():
    done = sparsify(pruned(mlp(), 0.2), ROWS, meter=clock((0.8, 1.6), (1.2, 1.6)))
    assert [type(module) for module in done.model] == [nn.Linear, nn.ReLU, SparseLinear]


def test_all_that_run_are_sparse_where_that_is_the_fastest():
    done = sparsify(pruned(mlp(), 0.2), ROWS, meter=clock(3.0, 0.9, whole=1.5, together=2.0))
    assert [type(module) for module in done.model] == [SparseLinear, nn.ReLU, SparseLinear]
    assert [one.why for one in done.layers] == ["", ""]
    assert (done.speedup, done.dense, done.sparse) == (2.0, 1.5, 0.75)
    done = sparsify(pruned(mlp(), 0.2), ROWS, meter=clock(0.9, 0.9, whole=1.0, together=1.5))
    assert [one.why for one in done.layers] == ["", ""], "though none of them is faster alone"


def test_all_stay_dense_where_the_whole_is_not_faster():
    done = sparsify(pruned(mlp(), 0.2), ROWS, meter=clock(3.0, 0.5, whole=0.9))
    assert [one.why for one in done.layers] == ["the whole model is not faster: 0.90x", "it is not faster"]
    assert not any(isinstance(module, SparseLinear) for module in done.model)
    assert (done.speedup, done.dense) == (1.0, 0.0)
    assert str(done).endswith("no layer became sparse")


def test_what_is_not_worth_a_try_is_not_measured():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.full, self.unused, self.hooked, self.used = (linear(seed=n) for n in range(4))
            nn.init.ones_(self.full.weight)
            self.hooked.register_forward_hook(lambda *_: None)

        def forward(self, x):
            return self.full(x) + self.hooked(x) + nn.functional.linear(x, self.unused.weight) + self.used(input=x)

    done = sparsify(Model(), ROWS, meter=clock(2.0))
    assert {one.name: one.why for one in done.layers} == {
        "full": "it has too few zeros: sparse rows need 0.5",
        "unused": "it was not called on the example",
        "hooked": "it has hooks",
        "used": "",
    }


def test_a_layer_whose_weight_somebody_looks_at_stays_dense():
    class Looking(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.out = pruned(nn.Linear(20, 20), 0.2), linear()

        def forward(self, x):
            return self.out(self.fc(x) / self.fc.weight.shape[0])

    done = sparsify(Looking(), ROWS, meter=clock(2.0, 2.0))
    assert "has no attribute 'weight'" in done.layers[0].why
    assert isinstance(done.model.out, SparseLinear)


def test_a_layer_of_which_a_view_is_taken_stays_dense():
    class Viewing(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = linear()

        def forward(self, x):
            return self.fc(x).view(len(x), 2, 3).view(-1)

    done = sparsify(Viewing(), ROWS[:1], meter=clock(2.0))
    assert "view" in done.layers[0].why, "one row would do, and two would not"


def test_a_model_that_takes_no_single_sample_goes_too():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = linear()

        def forward(self, x):
            if len(x) == 1:
                raise RuntimeError("one is too few")
            return self.fc(x)

    assert isinstance(sparsify(Model(), ROWS, meter=clock(2.0)).model.fc, SparseLinear)


def test_a_layer_that_is_used_twice_becomes_one():
    layer = pruned(nn.Linear(20, 20), 0.2)
    done = sparsify(nn.Sequential(layer, nn.Tanh(), layer), ROWS, meter=clock(2.0))
    assert isinstance(done.model[0], SparseLinear)
    assert done.model[0] is done.model[2]


def test_a_model_that_is_a_layer_becomes_one():
    done = sparsify(linear(), ROWS, meter=clock(2.0))
    assert isinstance(done.model, SparseLinear)
    assert done.layers[0].name == ""


def test_what_the_kernels_do_not_know_stays_dense():
    done = sparsify(pruned(mlp(), 0.2).bfloat16(), ROWS.bfloat16(), meter=clock())
    assert [one.why.startswith("sparse rows do not take it") for one in done.layers] == [True, True]


def test_what_torch_pruned_is_folded():
    done = sparsify(by_torch(mlp()), ROWS, meter=clock(2.0))
    assert isinstance(done.model[0], SparseLinear)
    assert len(done.model[0].values) == 120


def test_models_called_by_keyword_or_by_a_function_go_too():
    model = linear()
    done = sparsify(model, {"input": ROWS}, meter=clock(2.0))
    assert isinstance(done.model, SparseLinear)
    done = sparsify(model, (ROWS, 3), forward=lambda m, batch: m(batch[0]) * batch[1], meter=clock(2.0))
    assert isinstance(done.model, SparseLinear)


def test_outputs_that_differ_are_refused(monkeypatch):
    monkeypatch.setattr(SparseLinear, "forward", lambda self, inputs: inputs[:, : self.out_features])
    done = sparsify(linear(), ROWS, meter=clock(2.0))
    assert "an output differs by" in done.layers[0].why
    monkeypatch.setattr(room._Trials, "trouble", lambda *_: "" if len(seen) < 1 and not seen.append(1) else "other")
    seen = []
    with pytest.raises(InvariantBroken, match="Linear with its sparse layers: other"):
        sparsify(linear(), ROWS, meter=clock(2.0))


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"model": "net"}, InvalidValue, "model is 'net'"),
        ({"example": torch.zeros(2, 3)}, InvalidValue, "does not take the example"),
        ({"example": ROWS * float("inf")}, NotFinite, "NaN or infinite"),
    ],
)
def test_wrong_input_is_answered(arguments, error, said):
    with pytest.raises(error, match=said):
        sparsify(**{"model": mlp(), "example": ROWS, **arguments})


def test_by_the_clock_a_large_and_empty_layer_is_faster():
    model = pruned(nn.Linear(2000, 1000), 0.005)
    done = sparsify(model, torch.ones(64, 2000), meter=Meter(rounds=3, mode="cpu", patience=0.0, shortest=0.0))
    assert isinstance(done.model, SparseLinear)
    assert done.speedup > 2
    assert "sparsity 0.995, 64 rows" in str(done)
