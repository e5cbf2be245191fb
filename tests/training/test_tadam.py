"""TAdam: against its formula in numpy, against Adam, under outliers, in pruned networks."""

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
from budbreak.errors import InvalidValue
from budbreak.testing import mlp, separable
from budbreak.training import TAdam, TAdamOptimizer

SHAPES = [(), (1,), (7,), (3, 4), (2, 3, 3, 3)]


class ByHand:
    """The paper's formulas for one array in float64, its size counted as all entries."""

    def __init__(self, w: Any, value: TAdam) -> None:
        self.w, self.value = w.astype(np.float64).copy(), value
        self.m, self.v, self.t = np.zeros_like(self.w), np.zeros_like(self.w), 0
        self.total = value.betas[0] / (1 - value.betas[0])
        self.weights: list[float] = []

    def step(self, g: Any) -> None:
        value, (first, second) = self.value, self.value.betas
        g = g + value.weight_decay * self.w
        nu = value.k_dof * self.w.size
        weight = (nu + self.w.size) / (nu + float(((g - self.m) ** 2 / (self.v + value.epsilon)).sum()))
        self.m = (self.total * self.m + weight * g) / (self.total + weight)
        self.v = second * self.v + (1 - second) * g**2
        self.total = (2 * first - 1) / first * self.total + weight
        self.t += 1
        m, v = self.m / (1 - first**self.t), self.v / (1 - second**self.t)
        self.w = self.w - value.learning_rate * m / (np.sqrt(v) + value.epsilon)
        self.weights.append(weight)


VALUES = [
    TAdam(),
    TAdam(learning_rate=0.05, betas=(0.9, 0.99), k_dof=1.0),
    TAdam(learning_rate=0.05, betas=(0.5, 0.9), epsilon=1e-3, weight_decay=0.1, k_dof=0.2),
    TAdam(learning_rate=0.05, betas=(0.8, 0.0), k_dof=10.0),
]


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_steps_are_those_of_the_formula(value: TAdam) -> None:
    draw = np.random.default_rng(1)
    arrays = [ByHand(np.asarray(draw.standard_normal(shape)), value) for shape in SHAPES]
    module = nn.ParameterList([torch.tensor(array.w) for array in arrays])
    optimizer = value.build(module)
    for _ in range(40):
        slopes = [draw.standard_normal(shape) * 10.0 ** draw.integers(-3, 3) for shape in SHAPES]
        for parameter, slope in zip(module, slopes, strict=True):
            parameter.grad = torch.tensor(slope)
        optimizer.step()
        for parameter, array, slope in zip(module, arrays, slopes, strict=True):
            array.step(slope)
            np.testing.assert_allclose(parameter.detach().numpy(), array.w, rtol=1e-11, atol=1e-13)
            assert float(optimizer.state[parameter]["past_weight"]) == pytest.approx(array.total, rel=1e-11)


def test_one_step_worked_by_hand() -> None:
    weight = nn.Parameter(torch.tensor([1.0, 1.0], dtype=torch.float64))
    optimizer = TAdamOptimizer([weight], lr=0.1, betas=(0.5, 0.0), eps=1.0)
    weight.grad = torch.tensor([1.0, -1.0], dtype=torch.float64)
    optimizer.step()
    # n = nu = 2, the distance is 1 + 1, u = 4 / 4 = 1, W = 0.5 / 0.5 = 1: m = (1 * 0 + 1 * g) / 2 = g / 2, v = 1
    # w = 1 - 0.1 * (m / 0.5) / (1 + 1) = 1 -+ 0.05; W = (2 - 2) * 1 + 1 = 1
    torch.testing.assert_close(weight.detach(), torch.tensor([0.95, 1.05], dtype=torch.float64))
    assert float(optimizer.state[weight]["past_weight"]) == 1.0


def test_with_many_degrees_of_freedom_it_is_adam() -> None:
    model = mlp().double()
    twin = copy.deepcopy(model)
    ours = TAdam(learning_rate=0.01, weight_decay=0.1, k_dof=1e15).build(model)
    theirs = torch.optim.Adam(twin.parameters(), lr=0.01, weight_decay=0.1)
    x, y = separable(32)
    for _ in range(20):
        for one, optimizer in ((model, ours), (twin, theirs)):
            optimizer.zero_grad()
            cross_entropy(one(x.double()), y).backward()
            optimizer.step()
    torch.testing.assert_close(list(model.parameters()), list(twin.parameters()), rtol=1e-6, atol=1e-8)


def test_an_outlier_moves_it_less_than_adam() -> None:
    moved: list[float] = []
    for make in (TAdamOptimizer, torch.optim.Adam):
        weight = nn.Parameter(torch.zeros(10, dtype=torch.float64))
        optimizer = make([weight], lr=0.01)
        generator = torch.Generator().manual_seed(0)
        mean = torch.zeros(10)
        for step in range(300):
            noise = torch.randn(10, generator=generator, dtype=torch.float64)
            weight.grad = noise * (100 if step == 250 else 1)
            before = weight.detach().clone()
            optimizer.step()
            if step >= 250:
                mean = mean + (weight.detach() - before)
        moved.append(float(mean.norm()))
    assert moved[0] < moved[1] / 2


def pruned_pair(sparsity: float, seed: int = 0) -> tuple[nn.Parameter, torch.Tensor, nn.Parameter]:
    """A weight, what is kept of it, and a weight of the kept entries alone."""
    torch.manual_seed(seed)
    kept = torch.rand(20, 30) >= sparsity
    weight = nn.Parameter(torch.randn(20, 30, dtype=torch.float64) * kept)
    return weight, kept, nn.Parameter(weight.detach()[kept].clone())


@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.95, 1.0])
def test_a_pruned_tensor_takes_the_steps_of_its_living_weights(sparsity: float) -> None:
    weight, kept, alone = pruned_pair(sparsity)
    kept = kept & torch.tensor(sparsity < 1)
    alone = nn.Parameter(weight.detach()[kept].clone())
    optimizer = TAdamOptimizer([weight, alone], lr=0.05, betas=(0.9, 0.99), weight_decay=0.01)
    for _ in range(20):
        slope = torch.randn(20, 30, dtype=torch.float64)
        weight.grad, alone.grad = slope * kept, slope[kept]
        optimizer.step()
        torch.testing.assert_close(weight.detach()[kept], alone.detach(), rtol=1e-12, atol=0)
    assert not weight.detach()[~kept].any()
    assert bool(weight.isfinite().all())


def test_what_is_pruned_in_the_middle_is_forgotten() -> None:
    model = mlp().double()
    optimizer = TAdam(learning_rate=0.02).build(model)
    x, y = separable(32)

    def train(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            cross_entropy(model(x.double()), y).backward()
            optimizer.step()

    train(5)
    mask = bb.prune(model, sparsity=0.8)
    with bb.hold(model, optimizer, mask):
        train(5)
        for name, parameter in mask.parameters(model).items():
            state = optimizer.state[parameter]
            assert not state["exp_avg"][~mask[name]].any()
            assert not state["exp_avg_sq"][~mask[name]].any()
            assert not parameter.detach()[~mask[name]].any()
            assert int(state["exp_avg_sq"].count_nonzero()) <= mask.kept_in(name)
            assert float(state["past_weight"]) > 0


def test_its_state_survives_a_round_trip() -> None:
    model = mlp()
    twin = copy.deepcopy(model)
    x, y = separable(32)

    def train(network: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            cross_entropy(network(x), y).backward()
            optimizer.step()

    value = TAdam(learning_rate=0.02, k_dof=2.0)
    first = value.build(model)
    train(model, first, 7)
    twin.load_state_dict(model.state_dict())
    second = TAdam().build(twin)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert second.param_groups[0]["k_dof"] == 2.0
    train(model, first, 5)
    train(twin, second, 5)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


def test_without_gradients_nothing_moves() -> None:
    weight = nn.Parameter(torch.ones(3))
    optimizer = TAdamOptimizer([weight], lr=0.1)
    for _ in range(3):
        weight.grad = torch.zeros(3)
        optimizer.step()
    assert weight.tolist() == [1.0, 1.0, 1.0]
    assert math.isfinite(float(optimizer.state[weight]["past_weight"]))


def test_it_keeps_the_memory_format_of_the_weights() -> None:
    weight = nn.Parameter(torch.randn(4, 3, 3, 3).to(memory_format=torch.channels_last))
    weight.grad = torch.randn_like(weight)
    optimizer = TAdamOptimizer([weight])
    optimizer.step()
    assert optimizer.state[weight]["exp_avg"].stride() == weight.stride()


def test_a_complex_weight_is_two_real_ones() -> None:
    start, slope = torch.randn(5, dtype=torch.complex128), torch.randn(5, dtype=torch.complex128)
    weight, pair = nn.Parameter(start.clone()), nn.Parameter(torch.view_as_real(start).clone())
    optimizer = TAdamOptimizer([weight, pair], lr=0.1)
    for _ in range(9):
        weight.grad, pair.grad = slope, torch.view_as_real(slope)
        optimizer.step()
    torch.testing.assert_close(torch.view_as_real(weight.detach()), pair.detach())


@pytest.mark.parametrize("k_dof", [0.0, -1.0, math.inf])
def test_degrees_of_freedom_are_positive(k_dof: float) -> None:
    with pytest.raises(InvalidValue, match="k_dof is"):
        TAdam(k_dof=k_dof)


def test_the_memory_of_the_mean_is_not_too_short() -> None:
    with pytest.raises(InvalidValue, match=r"betas\[0\] is 0.4\nit must be in \[0.5, 1\)"):
        TAdamOptimizer([nn.Parameter(torch.ones(1))], betas=(0.4, 0.9))
