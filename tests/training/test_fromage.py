"""Fromage: against its formula in numpy, at zeros, in pruned networks."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import budbreak as bb
from budbreak.activations import Swish
from budbreak.errors import InvalidValue
from budbreak.testing import mlp, residual_cnn, separable
from budbreak.training import Fromage, FromageOptimizer

SHAPES = [(), (1,), (7,), (3, 4), (2, 3, 3, 3)]


def by_hand(w: Any, g: Any, rate: float) -> Any:
    """The formula, with a loop over the entries."""
    size = math.sqrt(sum(x * x for x in w.ravel().tolist()))
    slope = math.sqrt(sum(x * x for x in g.ravel().tolist()))
    return np.array([(x - rate * size * y / slope) for x, y in zip(w.ravel(), g.ravel(), strict=True)]).reshape(
        w.shape
    ) / math.sqrt(1 + rate**2)


@pytest.mark.parametrize("rate", [1e-4, 0.01, 0.5, 3.0])
def test_steps_are_those_of_the_formula(rate: float) -> None:
    draw = np.random.default_rng(0)
    arrays = [draw.standard_normal(shape) for shape in SHAPES]
    parameters = [nn.Parameter(torch.tensor(array)) for array in arrays]
    optimizer = FromageOptimizer(parameters, lr=rate)
    for _ in range(5):
        slopes = [draw.standard_normal(shape) * 10.0 ** draw.integers(-9, 9) for shape in SHAPES]
        for parameter, slope in zip(parameters, slopes, strict=True):
            parameter.grad = torch.tensor(slope)
        optimizer.step()
        arrays = [by_hand(array, slope, rate) for array, slope in zip(arrays, slopes, strict=True)]
        for parameter, array in zip(parameters, arrays, strict=True):
            np.testing.assert_allclose(parameter.detach().numpy(), array, rtol=1e-12, atol=1e-15)
    assert not optimizer.state


def test_a_step_at_right_angles_keeps_the_length() -> None:
    weight = nn.Parameter(torch.tensor([3.0, 4.0], dtype=torch.float64))
    weight.grad = torch.tensor([-8e-30, 6e-30], dtype=torch.float64)
    FromageOptimizer([weight], lr=0.75).step()
    # w - 0.75 * 5 * (-0.8, 0.6) = (6, 1.75), of length 6.25 = 5 * 1.25; 1.25 = sqrt(1 + 0.75^2)
    torch.testing.assert_close(weight.detach(), torch.tensor([4.8, 1.4], dtype=torch.float64))


def test_zeros_have_rules_of_their_own() -> None:
    still, fresh, none = (nn.Parameter(torch.tensor(start)) for start in ([3.0, 4.0], [0.0, 0.0], [0.0, 0.0]))
    still.grad, fresh.grad, none.grad = torch.zeros(2), torch.tensor([3.0, -1.0]), torch.zeros(2)
    left = nn.Parameter(torch.tensor([1.0]))  # without a gradient
    FromageOptimizer([still, fresh, none, left], lr=0.75).step()
    assert still.tolist() == [3.0, 4.0]
    assert fresh.tolist() == pytest.approx([-0.75 * 3 / 1.25, 0.75 / 1.25])
    assert none.tolist() == [0.0, 0.0]
    assert left.tolist() == [1.0]


def test_tiny_and_huge_gradients_have_the_same_step() -> None:
    moved: list[list[float]] = []
    for scale in (1e-18, 1.0, 1e18):
        weight = nn.Parameter(torch.tensor([1e12, 2e12]))
        weight.grad = torch.tensor([1.0, -1.0]) * scale
        FromageOptimizer([weight], lr=0.1).step()
        moved.append(weight.tolist())
    assert moved[0] == pytest.approx(moved[1], rel=1e-6)
    assert moved[2] == pytest.approx(moved[1], rel=1e-6)


def test_a_scalar_keeps_its_sign_and_moves_by_a_share() -> None:
    alpha = nn.Parameter(torch.tensor(1.0))
    optimizer = FromageOptimizer([alpha], lr=0.1)
    for step in range(1, 20):
        alpha.grad = torch.tensor(5.0)
        optimizer.step()
        assert float(alpha.detach()) == pytest.approx((0.9 / math.sqrt(1.01)) ** step, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_norms_do_not_overflow(dtype: torch.dtype) -> None:
    weight = nn.Parameter(torch.full((1000,), 3000.0, dtype=dtype))  # of norm 94868, beyond float16
    weight.grad = torch.full((1000,), 50.0, dtype=dtype)
    FromageOptimizer([weight], lr=0.5).step()
    assert weight.dtype == dtype
    assert float(weight.detach()[0]) == pytest.approx(1500 / math.sqrt(1.25), rel=1e-2)


def test_a_network_trains_its_norms_and_fresh_biases_too() -> None:
    torch.manual_seed(0)
    model = residual_cnn().train()
    before = copy.deepcopy(model.state_dict())
    optimizer = Fromage(learning_rate=0.05).build(model)
    images, labels = torch.randn(16, 3, 8, 8), torch.arange(16) % 2
    losses: list[float] = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 2
    assert not [name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])]


def test_in_a_held_network_norms_are_those_of_the_living_weights() -> None:
    """As in a network whose weights are multiplied by the mask: pruned entries are in neither norm."""
    model = mlp().double()
    mask = bb.prune(model, sparsity=0.7)
    arrays = {name: parameter.detach().numpy().copy() for name, parameter in model.named_parameters()}
    x, y = separable(32)
    optimizer = Fromage(learning_rate=0.05).build(model)
    with bb.hold(model, optimizer, mask):
        for _ in range(6):
            optimizer.zero_grad()
            cross_entropy(model(x.double()), y).backward()
            for name, parameter in model.named_parameters():
                assert parameter.grad is not None
                kept = mask[name].numpy() if name in mask else np.ones(parameter.shape, bool)
                alive, slope = arrays[name][kept], parameter.grad.numpy()[kept]
                arrays[name][kept] = by_hand(alive, slope, 0.05)
            optimizer.step()
            for name, parameter in model.named_parameters():
                np.testing.assert_allclose(parameter.detach().numpy(), arrays[name], rtol=1e-10, atol=1e-13)


def test_a_layer_that_is_pruned_away_stays_zero() -> None:
    model = mlp()
    mask = bb.Mask({name: torch.zeros_like(entry) if name == "0.weight" else entry
                    for name, entry in bb.Mask.dense(model).items()})  # fmt: skip
    optimizer = Fromage(learning_rate=0.1).build(model)
    x, y = separable(8)
    with bb.hold(model, optimizer, mask):
        for _ in range(3):
            optimizer.zero_grad()
            cross_entropy(model(x), y).backward()
            optimizer.step()
    assert not model[0].weight.any()
    assert all(bool(parameter.isfinite().all()) for parameter in model.parameters())


def test_scalars_of_activations_are_in_the_one_group() -> None:
    model = nn.Sequential(nn.Linear(2, 4), Swish(trainable=True).module(), nn.Linear(4, 2))
    (group,) = Fromage().build(model).param_groups
    assert set(group) == {"params", "lr"}
    assert list(map(id, group["params"])) == list(map(id, model.parameters()))


def test_it_takes_closures() -> None:
    weight = nn.Parameter(torch.tensor([2.0]))
    optimizer = FromageOptimizer([weight], lr=0.5)

    def closure() -> float:
        optimizer.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        return float(loss.detach())

    assert optimizer.step(closure) == 4.0
    assert float(weight.detach()) == pytest.approx(1 / math.sqrt(1.25))


def test_sparse_gradients_are_refused_before_anything_moves() -> None:
    first, table = nn.Parameter(torch.ones(2)), nn.Embedding(4, 2, sparse=True)
    first.grad = torch.ones(2)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(InvalidValue, match=r"of shape \(4, 2\) is sparse\n.*\nwrite nn.Embedding"):
        FromageOptimizer([first, table.weight]).step()
    assert first.tolist() == [1.0, 1.0]


def test_wrong_rates_are_refused() -> None:
    with pytest.raises(InvalidValue, match="learning_rate is -1"):
        FromageOptimizer([nn.Parameter(torch.ones(1))], lr=-1)
