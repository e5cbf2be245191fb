"""How pre-activations are spread: in float64, in parts that fit a cache, and as if all had been looked at at once."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import budbreak as bb
from budbreak.contrib import PreActivations


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("layer", [nn.Conv2d(2, 8, 1), nn.Flatten()], ids=["maps", "units"])
def test_many_samples_are_spread_as_if_all_were_looked_at_at_once(layer, dtype):
    """600 samples of 512 numbers: ten parts and more."""
    model = nn.Sequential(layer, nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))
    x = (torch.randn(600, 2, 16, 16 if isinstance(layer, nn.Flatten) else 8) + 100).to(dtype)
    model = model.to(dtype)
    model(x)
    before = x.clone()
    seen = bb.probe(model, [PreActivations()], batches=[x[:501], x[501:]])[PreActivations()]["1"]
    z = layer(x).detach().double()
    z = z.movedim(1, -1).reshape(-1, z.shape[1])
    torch.testing.assert_close(seen.active, (z > 0).double().mean(0), rtol=1e-12, atol=0)
    torch.testing.assert_close(seen.deviation, z.std(0, correction=0), rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(seen.magnitude, z.square().mean(0).sqrt(), rtol=1e-12, atol=0)
    assert torch.equal(x, before)


def test_what_is_added_up_at_a_time_fits_a_cache(monkeypatch):
    """Float64 of a whole batch at once took six times as long."""
    largest = []
    double = torch.Tensor.double
    monkeypatch.setattr(torch.Tensor, "double", lambda tensor: largest.append(tensor.numel()) or double(tensor))
    model = nn.Sequential(nn.Conv2d(1, 8, 1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 256, 2))
    bb.probe(model, [PreActivations()], batches=[torch.randn(300, 1, 16, 16)])
    assert largest
    assert max(largest) < 300 * 8 * 256 / 4
