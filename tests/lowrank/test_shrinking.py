"""A penalty in a training: when its steps come, and how large they are."""

import numpy as np
import pytest
import torch
from torch import nn

import budbreak as bb
from budbreak.errors import InvalidValue
from budbreak.lowrank import Shrinking, WeightedNuclearNorm


def soft(matrix: np.ndarray, by: float) -> np.ndarray:
    """Every singular value less by so much, and none below 0."""
    left, values, right = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    return left @ np.diag(np.maximum(values - by, 0)) @ right


def test_steps_are_as_large_as_the_rates_since_the_last_and_the_rest_comes_at_the_end():
    torch.manual_seed(0)
    layer = nn.Linear(6, 4)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    shrinking = Shrinking(WeightedNuclearNorm(0.5, weights="uniform"), layer, optimizer, every=3)
    expected = layer.weight.detach().numpy().copy()
    for rate, by in [(0.1, 0.0), (0.2, 0.0), (0.4, 0.7), (0.8, 0.0)]:
        optimizer.param_groups[0]["lr"] = rate
        shrinking.after_step()
        expected = soft(expected, 0.5 * by) if by else expected
        assert np.allclose(layer.weight.detach().numpy(), expected, atol=1e-6)
    shrinking.finish()
    assert np.allclose(layer.weight.detach().numpy(), soft(expected, 0.5 * 0.8), atol=1e-6)
    left = layer.weight.detach().clone()
    shrinking.finish()
    assert torch.equal(layer.weight, left)


def test_at_a_rate_of_zero_nothing_is_shrunk():
    layer = nn.Linear(3, 3)
    before = layer.weight.detach().clone()
    shrinking = Shrinking(WeightedNuclearNorm(9.0), layer, torch.optim.SGD(layer.parameters(), lr=0.0))
    shrinking.after_step()
    assert torch.equal(layer.weight, before)


def test_what_is_pruned_stays_zero():
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Linear(8, 8))
    mask = bb.prune(layer, sparsity=0.5)
    shrinking = Shrinking(WeightedNuclearNorm(0.01), layer, torch.optim.SGD(layer.parameters(), lr=1.0), mask=mask)
    shrinking.after_step()
    weight = layer[0].weight.detach()
    assert not weight[~mask["0.weight"]].any()
    assert weight[mask["0.weight"]].all()


@pytest.mark.parametrize("every", [0, -1, 2.5])
def test_a_wrong_number_of_steps_is_refused(every):
    layer = nn.Linear(2, 2)
    with pytest.raises(InvalidValue, match="every"):
        Shrinking(WeightedNuclearNorm(0.1), layer, torch.optim.SGD(layer.parameters(), lr=0.1), every=every)
