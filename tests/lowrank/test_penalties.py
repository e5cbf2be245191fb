"""Penalties of singular values: formulas, gradients, proximal steps, and what pruning leaves of them."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import budbreak as bb
from budbreak.errors import InvalidValue, MaskMismatch, NotFinite, UnknownName
from budbreak.lowrank import SchattenP, WeightedNuclearNorm
from budbreak.testing import check_value, mlp, residual_cnn, separable

PENALTIES = [
    WeightedNuclearNorm(0.3),
    WeightedNuclearNorm(0.3, weights="inverse"),
    WeightedNuclearNorm(0.3, weights="uniform"),
    SchattenP(0.3),
    SchattenP(0.3, p=1.0),
]


def named(penalty):
    return f"{type(penalty).__name__}-{getattr(penalty, 'weights', '') or penalty.p}"


every_penalty = pytest.mark.parametrize("penalty", PENALTIES, ids=named)


def layer_of(matrix):
    """A Linear with this weight."""
    layer = nn.Linear(matrix.shape[1], matrix.shape[0], bias=False).to(matrix.dtype)
    layer.weight.data.copy_(matrix)
    return layer


def values_of(layer):
    return np.linalg.svd(layer.weight.detach().double().numpy(), compute_uv=False)


def cost_by_hand(penalty, values):
    """The formula of each penalty, of numpy's singular values."""
    if isinstance(penalty, SchattenP):
        smooth = (values**2 + penalty.epsilon**2) ** (penalty.p / 2)
        return penalty.strength * (smooth - penalty.epsilon**penalty.p).sum()
    index = np.arange(1, len(values) + 1)
    weights = {"index": index, "inverse": 1 / (values + penalty.epsilon), "uniform": np.ones(len(values))}
    return penalty.strength * (weights[penalty.weights] * values).sum()


@every_penalty
def test_the_penalty_is_its_formula_summed_over_layers(penalty):
    model = mlp()
    expected = sum(cost_by_hand(penalty, values_of(layer)) for layer in model if isinstance(layer, nn.Linear))
    assert penalty.penalty(model).item() == pytest.approx(expected, rel=1e-5)


@every_penalty
def test_a_convolution_is_its_unfolded_matrix_and_each_group_one(penalty):
    layer = nn.Conv2d(4, 6, 3, groups=2).double()
    blocks = [block.flatten(1).detach().numpy() for block in layer.weight.chunk(2)]
    expected = sum(cost_by_hand(penalty, np.linalg.svd(block, compute_uv=False)) for block in blocks)
    assert penalty.penalty(layer).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("shape", [(4, 3), (3, 5)])
@pytest.mark.parametrize("penalty", [p for p in PENALTIES if getattr(p, "weights", "") != "inverse"], ids=named)
def test_gradients_are_those_of_the_penalty_in_float64(penalty, shape):
    matrix = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    cost = lambda w: penalty.cost(bb.lowrank.singular_values(w))  # noqa: E731
    assert torch.autograd.gradcheck(cost, (matrix,))


def test_the_gradient_of_inverse_weights_is_that_of_the_logarithm():
    penalty = WeightedNuclearNorm(0.3, weights="inverse", epsilon=0.1)
    matrix = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    (held,) = torch.autograd.grad(penalty.cost(bb.lowrank.singular_values(matrix)), matrix)
    (smooth,) = torch.autograd.grad(0.3 * (torch.linalg.svdvals(matrix) + 0.1).log().sum(), matrix)
    assert torch.allclose(held, smooth, atol=1e-12)


@every_penalty
@pytest.mark.parametrize(
    "matrix",
    [
        torch.zeros(3, 4),
        torch.eye(4),
        torch.ones(4, 3),
        torch.diag(torch.tensor([2.0, 2.0, 1.0, 0.0])),
        1e-30 * torch.eye(3),
    ],
    ids=["zeros", "repeated", "rank-1", "repeated-and-zero", "tiny"],
)
def test_gradients_are_finite_where_singular_values_repeat_or_vanish(penalty, matrix):
    layer = layer_of(matrix)
    penalty.penalty(layer).backward()
    assert layer.weight.grad.isfinite().all()
    zero = ~matrix.any(1)
    assert (layer.weight.grad[zero] == 0).all()


def test_the_subgradient_at_rank_1_worked_by_hand():
    """ones(2, 2) has s = (2, 0), u = v = (1, 1) / sqrt(2): the smallest subgradient is u v^T = 1/2."""
    layer = layer_of(torch.ones(2, 2))
    WeightedNuclearNorm(1.0, weights="uniform").penalty(layer).backward()
    assert torch.allclose(layer.weight.grad, torch.full((2, 2), 0.5), atol=1e-6)


def test_the_gradient_at_repeated_values_is_a_singular_vector_product():
    """Of 3 * identity every orthogonal U = V serves: with uniform weights the gradient is the identity."""
    layer = layer_of(3 * torch.eye(4))
    WeightedNuclearNorm(1.0, weights="uniform").penalty(layer).backward()
    assert torch.allclose(layer.weight.grad, torch.eye(4), atol=1e-6)


def objective(penalty, matrix, found, step):
    """Half the squared distance, and the penalty by numpy: without smoothing, inverse weights held as at the start."""
    values = np.linalg.svd(found, compute_uv=False)
    start = np.linalg.svd(matrix, compute_uv=False)
    if isinstance(penalty, SchattenP):
        cost = penalty.strength * (values**penalty.p).sum()
    else:
        index = np.arange(1, len(values) + 1)
        weights = {"index": index, "inverse": 1 / (start + penalty.epsilon), "uniform": np.ones(len(values))}
        cost = penalty.strength * (weights[penalty.weights] * values).sum()
    return ((matrix - found) ** 2).sum() / 2 + step * cost


@every_penalty
def test_no_matrix_near_by_is_better_than_the_proximal_step(penalty):
    step, draw = 0.7, np.random.default_rng(0)
    layer = layer_of(torch.randn(5, 4, dtype=torch.float64))
    matrix = layer.weight.detach().clone().numpy()
    penalty.apply(layer, step=step)
    found = layer.weight.detach().numpy()
    best = objective(penalty, matrix, found, step)
    for size in (1e-3, 1e-2, 0.1, 0.5):
        for _ in range(20):
            other = found + size * draw.standard_normal(found.shape)
            assert objective(penalty, matrix, other, step) > best - 1e-12
    for rank in range(5):  # and none of lower rank
        left, values, right = np.linalg.svd(matrix, full_matrices=False)
        other = left[:, :rank] * values[:rank] @ right[:rank]
        assert objective(penalty, matrix, other, step) >= best - 1e-12


def test_soft_thresholds_worked_by_hand():
    values = torch.tensor([3.0, 2.0, 1.0])
    assert WeightedNuclearNorm(0.5, weights="uniform").shrink(values, 1.0).tolist() == [2.5, 1.5, 0.5]
    assert WeightedNuclearNorm(0.5).shrink(values, 1.0).tolist() == [2.5, 1.0, 0.0]
    inverse = WeightedNuclearNorm(1.0, weights="inverse", epsilon=1.0).shrink(values, 1.0)
    assert inverse.tolist() == pytest.approx([3 - 1 / 4, 2 - 1 / 3, 1 - 1 / 2])
    assert SchattenP(0.5, p=1.0).shrink(values, 1.0).tolist() == [2.5, 1.5, 0.5]


@pytest.mark.parametrize("p", [0.1, 0.5, 2 / 3, 0.9])
def test_the_shrunk_value_minimizes_over_a_grid(p):
    penalty, values = SchattenP(0.4, p=p), torch.tensor([0.05, 0.4, 0.8, 0.9, 1.2, 3.0], dtype=torch.float64)
    grid = torch.linspace(0, 3, 300_001, dtype=torch.float64)
    for value, found in zip(values, penalty.shrink(values, 1.0), strict=True):
        costs = (grid - value) ** 2 / 2 + 0.4 * grid**p
        assert float(found) == pytest.approx(float(grid[costs.argmin()]), abs=2e-5)


@every_penalty
def test_shrinking_makes_singular_values_smaller_and_never_less_ordered(penalty):
    values = torch.rand(50).sort(descending=True).values * 3
    shrunk = penalty.shrink(values, 0.5)
    assert (shrunk <= values).all()
    assert (shrunk >= 0).all()
    assert (shrunk.diff() <= 1e-6).all()
    assert penalty.shrink(values, 0.5).dtype == values.dtype


def test_a_penalty_that_is_applied_lowers_the_rank_and_a_gradient_alone_does_not():
    """Of the index norm in plain SGD on data of three directions."""
    x, y = separable(noise=0.1)
    penalty = WeightedNuclearNorm(0.02)
    ranks = {}
    for way in ("gradient", "proximal"):
        model = mlp()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
        for _ in range(30):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            (loss + penalty.penalty(model) if way == "gradient" else loss).backward()
            optimizer.step()
            if way == "proximal":
                penalty.apply(model, step=0.2)
        assert (model(x).argmax(1) == y).float().mean() > 0.95
        ranks[way] = bb.ranks(model)["2.weight"].numerical
    assert ranks["proximal"] <= 8
    assert ranks["gradient"] == 16


@every_penalty
def test_a_mask_is_respected(penalty):
    model = mlp()
    entries = {"2.weight": torch.rand(16, 16) > 0.5}
    entries["2.weight"][:4] = False
    mask = bb.Mask(entries)
    with torch.no_grad():
        model[2].weight[0] = math.nan  # whatever it holds
    penalty.penalty(model, mask=mask).backward()
    assert model[2].weight.grad.isfinite().all()
    assert (model[2].weight.grad[~entries["2.weight"]] == 0).all()
    assert (model[0].weight.grad != 0).any()
    penalty.apply(model, step=0.1, mask=mask)
    assert (model[2].weight[~entries["2.weight"]] == 0).all()
    assert (model[2].weight[entries["2.weight"]] != 0).any()
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_layers_that_are_left_out_stay():
    model = residual_cnn()
    before = model.fc.weight.clone()
    prunable = bb.excluding("fc.*")
    penalty = WeightedNuclearNorm(0.1)
    penalty.penalty(model, prunable=prunable).backward()
    assert model.fc.weight.grad is None
    assert model.conv1.weight.grad is not None
    penalty.apply(model, step=1.0, prunable=prunable)
    assert torch.equal(model.fc.weight, before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_are_computed_in_float32(dtype):
    layer = nn.Linear(4, 3).to(dtype)
    penalty = WeightedNuclearNorm(0.1)
    cost = penalty.penalty(layer)
    cost.backward()
    assert (cost.dtype, layer.weight.grad.dtype) == (torch.float32, dtype)
    penalty.apply(layer, step=0.1)
    assert layer.weight.dtype == dtype


@every_penalty
def test_nothing_is_changed_where_a_weight_is_not_finite(penalty):
    model = mlp()
    with torch.no_grad():
        model[4].weight[0, 0] = math.inf
    before = [parameter.clone() for parameter in model.parameters()]
    with pytest.raises(NotFinite, match=r"'4.weight' is NaN or infinite"):
        penalty.penalty(model)
    with pytest.raises(NotFinite, match=r"'4.weight' is NaN or infinite"):
        penalty.apply(model, step=0.1)
    assert all(torch.equal(one, other) for one, other in zip(before, model.parameters(), strict=True))


@every_penalty
def test_they_are_values(penalty):
    check_value(penalty)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: WeightedNuclearNorm(-1), InvalidValue, "strength is -1"),
        (lambda: WeightedNuclearNorm(math.inf), InvalidValue, "strength is inf"),
        (lambda: WeightedNuclearNorm(1, weights="indx"), UnknownName, "did you mean 'index'"),
        (lambda: WeightedNuclearNorm(1, epsilon=0), InvalidValue, "epsilon is 0"),
        (lambda: SchattenP(1, p=2), InvalidValue, "p is 2\nit must be a finite number > 0, at most 1"),
        (lambda: SchattenP(1, p=0), InvalidValue, "p is 0"),
        (lambda: WeightedNuclearNorm(1).apply(mlp(), step=0), InvalidValue, "step is 0"),
        (lambda: SchattenP(1).apply(mlp(), step=-1), InvalidValue, "step is -1"),
        (
            lambda: WeightedNuclearNorm(1).penalty(mlp(), mask=bb.Mask.dense(mlp(hidden=3))),
            MaskMismatch,
            "fits only the architecture",
        ),
    ],
)
def test_wrong_arguments(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_a_sparse_layout_has_a_penalty_but_takes_no_step():
    layer, penalty = nn.Linear(4, 3), WeightedNuclearNorm(0.1)
    dense = penalty.penalty(layer).item()
    layer.weight = nn.Parameter(layer.weight.detach().to_sparse())
    assert penalty.penalty(layer).item() == dense
    with pytest.raises(InvalidValue, match="make it dense first"):
        penalty.apply(layer, step=0.1)


def test_no_strength_changes_nothing():
    model = mlp()
    before = [parameter.clone() for parameter in model.parameters()]
    for penalty in (WeightedNuclearNorm(0.0), SchattenP(0.0)):
        assert penalty.penalty(model).item() == 0
        penalty.apply(model, step=1.0)
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(before, model.parameters(), strict=True))
