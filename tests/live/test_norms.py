import copy

import numpy as np
import pytest
import torch
from torch import nn

import budbreak as bb
from budbreak.errors import EmptyBatches, InvalidValue
from budbreak.live import refreshed_norms
from budbreak.testing import residual_cnn

IMAGES = [torch.randn(n, 3, 5, 5) for n in (6, 2, 7)]


def stale():
    """A network whose statistics fit nothing, in train mode with one norm frozen, and a dropout."""
    model = nn.Sequential(residual_cnn().double(), nn.Dropout(0.5)).train()
    net = model[0]
    for norm in (net.norm, net.norm1, net.norm2):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        norm.num_batches_tracked.fill_(17)
    net.norm1.eval()
    net.norm2.momentum = None
    return model


def in_numpy(values):
    """Mean and unbiased variance a channel of each batch, averaged by its number of values."""
    flat = [np.moveaxis(v.numpy(), 1, 0).reshape(v.shape[1], -1) for v in values]
    sizes = [v.shape[1] for v in flat]
    means = np.average([v.mean(1) for v in flat], axis=0, weights=sizes)
    return means, np.average([v.var(1, ddof=1) for v in flat], axis=0, weights=sizes)


def test_statistics_are_those_of_a_fresh_pass_in_numpy():
    model = stale()
    entered = {name: [] for name in ("norm", "norm1", "norm2")}
    handles = [
        model[0].get_submodule(name).register_forward_pre_hook(lambda m, x, n=name: entered[n].append(x[0].clone()))
        for name in entered
    ]
    batches = [x.double() for x in IMAGES]
    with refreshed_norms(model, batches):
        assert len(entered["norm"]) == 3
        for name, values in entered.items():
            mean, variance = in_numpy(values)
            norm = model[0].get_submodule(name)
            np.testing.assert_allclose(norm.running_mean.numpy(), mean, rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(norm.running_var.numpy(), variance, rtol=1e-12, atol=1e-14)
        assert not any(m.training for m in model.modules())
    for handle in handles:
        handle.remove()
    first = torch.cat([model[0].stem(x) for x in batches]).detach()
    assert np.allclose(in_numpy([first])[0], in_numpy(entered["norm"])[0], rtol=1e-12), "the mean of the whole set"


def test_everything_returns_bit_by_bit():
    model = stale()
    state = copy.deepcopy(model.state_dict())
    buffers = [id(b) for b in model.buffers()]
    modes = [m.training for m in model.modules()]
    random = torch.get_rng_state()
    with refreshed_norms(model, [x.double() for x in IMAGES]):
        assert not torch.equal(model[0].norm.running_mean, state["0.norm.running_mean"])
        torch.rand(3)
    assert all(torch.equal(t, state[n]) for n, t in model.state_dict().items())
    assert [id(b) for b in model.buffers()] == buffers
    assert [m.training for m in model.modules()] == modes
    assert [model[0].norm.momentum, model[0].norm2.momentum] == [0.1, None]
    assert torch.equal(torch.get_rng_state(), random)
    assert not any(m._forward_pre_hooks for m in model.modules())
    with pytest.raises(RuntimeError, match="mine"), refreshed_norms(model, [x.double() for x in IMAGES]):
        raise RuntimeError("mine")
    assert all(torch.equal(t, state[n]) for n, t in model.state_dict().items())
    assert model[0].norm.momentum == 0.1


def test_dead_units_are_those_of_the_refreshed_network():
    """Statistics a million off hold every unit down; those of the data let about half of the outputs through."""
    model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))
    model[1].running_mean.fill_(1e6)
    x = torch.randn(200, 8)
    assert bb.dead_neurons(model, [x]).total == 1
    with refreshed_norms(model, [x]):
        assert 0.3 < bb.dead_neurons(model, [x]).total < 0.7
    assert bb.dead_neurons(model, [x]).total == 1


def test_a_last_batch_of_one_sample_does_not_count():
    model = nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4), nn.ReLU())
    x = torch.randn(9, 8)
    with refreshed_norms(model, [x[:8], x[8:]]):
        torch.testing.assert_close(model[1].running_mean, model[0](x[:8]).mean(0))
    with pytest.raises(InvalidValue, match="'1' saw batches of one value"), refreshed_norms(model, [x[:1], x[1:2]]):
        pass


def test_norms_out_of_reach_keep_theirs_and_nan_is_forgotten():
    model = nn.Sequential(nn.BatchNorm1d(8), nn.BatchNorm1d(8))
    model[0].running_mean.fill_(float("nan"))
    model[1].running_mean.fill_(3.0)
    with refreshed_norms(model, [torch.randn(6, 8)], forward=lambda m, x: m[0](x)):
        assert bool(model[0].running_mean.isfinite().all())
        assert bool((model[1].running_mean == 3).all())


def test_a_network_without_norms_is_not_run():
    model = nn.Sequential(nn.Linear(8, 3), nn.BatchNorm1d(3, track_running_stats=False))
    with refreshed_norms(model, iter(())):
        pass
    model[1] = nn.BatchNorm1d(3)
    with pytest.raises(EmptyBatches, match="yielded nothing"), refreshed_norms(model, []):
        pass


class ByKeyword(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 1).double(), norm.double()

    def forward(self, x):
        return self.norm(input=self.conv(x))


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(4), nn.InstanceNorm2d(4, track_running_stats=True)])
def test_norms_that_are_called_by_keyword_or_keep_statistics_of_instances(norm):
    model = ByKeyword(norm)
    batches = [torch.randn(1, 3, 1, 1).double(), *(x.double() + 2 for x in IMAGES)]
    entering = [model.conv(x).detach() for x in batches[1:]]
    if isinstance(norm, nn.InstanceNorm2d):  # the single pixel is one value an instance: it has no variance
        each = [in_numpy([x[i : i + 1] for i in range(len(x))]) for x in entering]
    else:
        each = [in_numpy([x]) for x in entering]
    mean, variance = (np.average(part, axis=0, weights=[6, 2, 7]) for part in zip(*each, strict=True))
    with refreshed_norms(model, batches):
        np.testing.assert_allclose(norm.running_mean.numpy(), mean, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(norm.running_var.numpy(), variance, rtol=1e-12, atol=1e-14)
