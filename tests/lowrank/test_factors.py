"""Layers of low rank: numpy and scikit-learn as references, every kind of layer, and what cannot be split."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

import budbreak as bb
from budbreak.errors import InvalidValue, InvariantBroken, NotFinite, UnknownName
from budbreak.lowrank import factorize, factors_of, rank_within, reconstruct
from budbreak.testing import mlp, residual_cnn, separable


def truncated(matrix, rank):
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    return left[:, :rank] * values[:rank] @ right[:rank]


@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (1, 4), (4, 1)])
def test_svd_is_the_truncated_one(shape):
    matrix = torch.randn(shape)
    for rank in range(1, min(shape) + 1):
        found = factors_of(matrix, rank)
        assert np.allclose(found.product, truncated(matrix.double().numpy(), rank), atol=1e-12)
        assert found.first.shape == (rank, shape[1])
        assert found.second.shape == (shape[0], rank)
    assert torch.allclose(found.product, matrix.double(), atol=1e-12)


@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (30, 60)])
def test_pca_is_that_of_scikit_learn_with_inputs_as_samples(shape):
    decomposition = pytest.importorskip("sklearn.decomposition")
    matrix = torch.randn(shape) + torch.randn(shape[0], 1)
    for rank in (1, min(shape) // 2, min(shape)):
        pca = decomposition.PCA(n_components=rank, svd_solver="full")
        kernel = matrix.double().numpy().T  # [inputs, units], as the paper's code has it
        wanted = pca.inverse_transform(pca.fit_transform(kernel)).T
        found = factors_of(matrix, rank, "pca")
        assert np.allclose(found.product, wanted, atol=1e-12)
        assert found.first.shape == (rank + 1, shape[1])
        assert found.second.shape == (shape[0], rank + 1)


def test_pca_worked_by_hand():
    """Units (1, 3) and (5, 5): means 2 and 5; centred (-1, 1) and (0, 0) have rank 1, so rank 1 gives all back."""
    matrix = torch.tensor([[1.0, 3.0], [5.0, 5.0]])
    found = factors_of(matrix, 1, "pca")
    assert torch.allclose(found.product, matrix.double())
    assert found.first[1].tolist() == [1, 1]
    assert found.second[:, 1].tolist() == [2, 5]


def test_pca_keeps_the_mean_and_its_rank_is_one_more():
    matrix = torch.randn(20, 30) + 5
    found = factors_of(matrix, 4, "pca").product
    assert torch.allclose(found.mean(1), matrix.double().mean(1))
    assert np.linalg.matrix_rank(found) == 5
    assert np.linalg.matrix_rank(factors_of(matrix, 4).product) == 4
    assert (found - matrix).norm() < (factors_of(matrix, 4).product - matrix).norm()


@pytest.mark.parametrize("method", ["svd", "pca"])
def test_a_rank_at_equal_parameters_is_the_largest_that_fits(method):
    for rows, columns in ((4, 6), (10, 3), (300, 784)):
        for parameters in range(1, rows * columns, max(1, rows * columns // 50)):
            sizes = {
                rank: sum(t.numel() for t in (f.first, f.second))
                for rank in range(1, min(rows, columns) + 1)
                if rows < 50
                for f in [factors_of(torch.randn(rows, columns), rank, method)]
            } or {rank: (rank + (method == "pca")) * (rows + columns) for rank in range(1, min(rows, columns) + 1)}
            fitting = [rank for rank, size in sizes.items() if size <= parameters]
            if fitting:
                assert rank_within(rows, columns, parameters, method=method) == max(fitting)
            else:
                with pytest.raises(InvalidValue, match=f"hold at least {sizes[1]}"):
                    rank_within(rows, columns, parameters, method=method)


def all_full(model, rank=None):
    """Each weight -> its full rank, or this one."""
    return {name: rank or layer.full for name, layer in bb.ranks(model).items()}


NETWORKS = {
    "mlp": (mlp, torch.randn(5, 8)),
    "cnn": (residual_cnn, torch.randn(2, 3, 6, 6)),
    "conv1d": (lambda: nn.Sequential(nn.Conv1d(3, 5, 3, stride=2, padding=1), nn.ReLU()), torch.randn(2, 3, 9)),
    "conv3d": (lambda: nn.Sequential(nn.Conv3d(2, 4, 2, dilation=2)), torch.randn(2, 2, 5, 5, 5)),
    "circular": (
        lambda: nn.Conv2d(3, 4, (3, 5), padding="same", padding_mode="circular"),
        torch.randn(2, 3, 8, 8),
    ),
    "no-bias": (lambda: nn.Sequential(nn.Linear(6, 4, bias=False)), torch.randn(3, 6)),
    "float64": (lambda: mlp().double(), torch.randn(5, 8).double()),
}


@pytest.mark.parametrize("method", ["svd", "pca"])
@pytest.mark.parametrize("name", NETWORKS)
def test_factors_of_full_rank_compute_the_same(name, method):
    make, x = NETWORKS[name]
    model = make().eval()
    twin = factorize(model, all_full(model), method=method, example=x)
    assert torch.allclose(twin(x), model(x), atol=1e-5)
    assert not any("weight" in own for own in {key.rpartition(".")[0] for key in twin.state_dict()})


@pytest.mark.parametrize("method", ["svd", "pca"])
@pytest.mark.parametrize("name", NETWORKS)
def test_factors_compute_what_the_reconstruction_does(name, method):
    make, x = NETWORKS[name]
    model = make().eval()
    split = factorize(model, all_full(model, 2), method=method, example=x)
    dense = reconstruct(model, all_full(model, 2), method=method)
    assert torch.allclose(split(x), dense(x), atol=1e-5)
    assert not torch.allclose(split(x), model(x), atol=1e-3)
    assert list(dense.state_dict()) == list(model.state_dict())
    wanted = 2 + (method == "pca")
    assert {layer.numerical for layer in bb.ranks(dense).values()} <= {2, wanted}


def test_reconstructions_are_numpys_and_the_rest_stays():
    model = residual_cnn()
    twin = reconstruct(model, {"conv1.weight": 2, "fc.weight": 1})
    wanted = truncated(model.conv1.weight.detach().double().flatten(1).numpy(), 2).reshape(4, 4, 3, 3)
    assert np.allclose(twin.conv1.weight.detach(), wanted, atol=1e-6)
    untouched = {*model.state_dict()} - {"conv1.weight", "fc.weight"}
    assert all(torch.equal(twin.state_dict()[name], model.state_dict()[name]) for name in untouched)
    assert twin.conv1.weight.requires_grad


def test_a_transposed_convolution_is_reconstructed_but_not_split():
    model = nn.Sequential(nn.ConvTranspose2d(3, 5, 2))
    twin = reconstruct(model, {"0.weight": 2})
    assert bb.ranks(twin)["0.weight"].numerical == 2
    with pytest.raises(InvalidValue, match=r"'0.weight' is of a ConvTranspose2d"):
        factorize(model, {"0.weight": 2})


def test_keys_of_everything_else_stay_and_the_model_is_only_read():
    model = residual_cnn().train()
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    twin = factorize(model, {"conv1.weight": 2, "fc.weight": 1}, example=torch.randn(2, 3, 6, 6))
    assert twin.training
    assert model.training
    assert not torch.equal(torch.get_rng_state(), state)  # by the example above, and by nothing else
    torch.set_rng_state(state)
    torch.randn(2, 3, 6, 6)
    state = torch.get_rng_state()
    factorize(model, {"conv1.weight": 2}, example=torch.ones(2, 3, 6, 6))
    assert torch.equal(torch.get_rng_state(), state)
    new = {"conv1.0.weight", "conv1.1.weight", "fc.0.weight", "fc.1.weight", "fc.1.bias"}
    gone = {"conv1.weight", "fc.weight", "fc.bias"}
    assert {*twin.state_dict()} == {*model.state_dict()} - gone | new
    assert all(torch.equal(twin.state_dict()[name], before[name]) for name in {*before} - gone)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert twin.fc[1].bias.data_ptr() != model.fc.bias.data_ptr()
    shapes = {name: tuple(twin.state_dict()[name].shape) for name in sorted(new)}
    assert shapes == {
        "conv1.0.weight": (2, 4, 3, 3),
        "conv1.1.weight": (4, 2, 1, 1),
        "fc.0.weight": (1, 4),
        "fc.1.bias": (3,),
        "fc.1.weight": (3, 1),
    }


def test_a_single_layer_becomes_two():
    layer = nn.Linear(6, 4)
    twin = factorize(layer, {"weight": 4})
    assert [tuple(part.weight.shape) for part in twin] == [(4, 6), (4, 4)]


def test_a_layer_that_is_called_in_two_places_is_replaced_in_both():
    layer = nn.Linear(4, 4)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    twin = factorize(model, {"0.weight": 4}, example=torch.randn(2, 4))
    assert twin[0] is twin[2]
    assert isinstance(twin[0], nn.Sequential)


def test_what_is_frozen_stays_frozen_and_dtypes_too():
    model = mlp().to(torch.bfloat16)
    model[0].weight.requires_grad_(False)
    twin = factorize(model, {"0.weight": 2, "2.weight": 2}, example=torch.randn(3, 8).bfloat16())
    flags = {name: parameter.requires_grad for name, parameter in twin.named_parameters()}
    assert not flags["0.0.weight"]
    assert not flags["0.1.weight"]
    assert flags["0.1.bias"]
    assert flags["2.0.weight"]
    assert {parameter.dtype for parameter in twin.parameters()} == {torch.bfloat16}


def test_factors_are_trained_like_any_network():
    x, y = separable(noise=0.1)
    model = mlp()
    twin = factorize(model, {"0.weight": 2, "2.weight": 2})
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.5)
    for _ in range(40):
        optimizer.zero_grad()
        nn.functional.cross_entropy(twin(x), y).backward()
        optimizer.step()
    assert (twin(x).argmax(1) == y).float().mean() > 0.95
    product = twin[2][1].weight @ twin[2][0].weight
    assert np.linalg.matrix_rank(product.detach().numpy()) == 2


class Reading(nn.Module):
    """Multiplies with the weight of a layer that it never calls."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        return x @ self.fc.weight.t() + self.fc.bias


class Asking(Reading):
    """Reads what two layers do not have."""

    def forward(self, x):
        return self.fc(x) * self.fc.in_features


class Unsteady(nn.Module):
    """Another result for other classes of layers."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        return {"out": [self.fc(x) + isinstance(self.fc, nn.Linear)]}


@pytest.mark.parametrize("training", [True, False])
def test_whoever_reads_a_weight_reads_the_product_and_trains_the_factors(training):
    x = torch.randn(2, 4)
    twin = factorize(Reading().train(training), {"fc.weight": 2}, example=x)
    assert twin.fc.training is training
    twin(x).sum().backward()
    assert all(parameter.grad is not None for parameter in twin.fc.parameters())
    assert {*twin.state_dict()} == {"fc.0.weight", "fc.1.weight", "fc.1.bias"}


def test_attention_and_its_fast_path():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    full = {"self_attn.out_proj.weight": 8, "linear1.weight": 8, "linear2.weight": 8}
    x = torch.randn(2, 3, 8)
    twin = factorize(layer, full, example=x).eval()
    with torch.no_grad():
        assert torch.allclose(twin(x), layer.eval()(x), atol=1e-5)
    twin.train()(x).sum().backward()
    assert twin.linear1[0].weight.grad is not None


def test_an_example_finds_what_reads_a_layer_or_looks_at_it():
    x = torch.randn(2, 4)
    with pytest.raises(InvalidValue, match="with layers replaced, the model does not take the example"):
        factorize(Asking(), {"fc.weight": 2}, example=x)
    with pytest.raises(InvariantBroken, match="with layers replaced, an output differs by 1, over"):
        factorize(Unsteady(), {"fc.weight": 2}, example=x)
    with pytest.raises(InvalidValue, match=r"^the model does not take the example"):
        factorize(mlp(), {"0.weight": 2}, example=torch.randn(2, 5))


def hooked():
    model = mlp()
    model[0].register_forward_hook(lambda module, inputs, output: output)
    return model


def tied():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    return model


class Doubled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def own():
    return nn.Sequential(Doubled(4, 4))


def broken():
    model = mlp()
    with torch.no_grad():
        model[0].weight[0, 0] = math.nan
    return model


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: factorize(mlp(), {"0.wieght": 2}), UnknownName, "did you mean '0.weight'"),
        (lambda: factorize(mlp(), {"0.bias": 2}), UnknownName, "no Linear or convolution has a weight named '0.bias'"),
        (lambda: factorize(mlp(), {"0.weight": 0}), InvalidValue, "the rank of '0.weight' is 0"),
        (lambda: factorize(mlp(), {"0.weight": 2.5}), InvalidValue, "the rank of '0.weight' is 2.5"),
        (lambda: reconstruct(mlp(), {"0.weight": 9}), InvalidValue, "is 9\nits full rank is 8\nwrite 8 or less"),
        (lambda: factorize(mlp(), {}), InvalidValue, "ranks is"),
        (lambda: factorize(mlp(), 3), InvalidValue, "ranks is 3"),
        (lambda: factorize(mlp(), {"0.weight": 2}, method="qr"), UnknownName, "method is 'qr'"),
        (lambda: factorize(nn.Conv2d(4, 4, 3, groups=2), {"weight": 1}), InvalidValue, "has 2 groups"),
        (lambda: factorize(hooked(), {"0.weight": 1}), InvalidValue, "the layer of '0.weight' has hooks"),
        (lambda: factorize(tied(), {"0.weight": 1}), InvalidValue, "is the weight of another layer, too"),
        (lambda: reconstruct(broken(), {"0.weight": 1}), NotFinite, "'0.weight' is NaN or infinite"),
        (lambda: factorize(own(), {"0.weight": 2}), InvalidValue, "'0.weight' is of a Doubled"),
        (lambda: factors_of(torch.ones(2, 2, dtype=torch.complex64), 1), InvalidValue, "factors are of real numbers"),
        (lambda: factors_of(torch.randn(3, 4), 4), InvalidValue, "rank is 4\nthe full rank of this matrix is 3"),
        (lambda: rank_within(3, 4, 6), InvalidValue, "parameters is 6\n.*hold at least 7"),
        (lambda: rank_within(3, 4, 13, method="pca"), InvalidValue, "hold at least 14 by 'pca'"),
        (lambda: rank_within(3, 4, 13, method="pac"), UnknownName, "did you mean 'pca'"),
    ],
)
def test_wrong_arguments(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_of_a_split_layer_that_was_cut_the_product_is_read():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5))
    model[2].weight.data[:, [1, 6]] = 0
    twin = factorize(model, {"0.weight": 4, "5.weight": 4})
    smaller = bb.compact(twin, torch.randn(2, 3, 8, 8)).model
    assert smaller[0].weight.shape == (6, 3, 3, 3)
    assert torch.equal(smaller[0].weight, twin[0].weight[[0, 2, 3, 4, 5, 7]])


def test_small_outputs_are_compared_as_large_ones_are():
    class Small(Unsteady):
        def forward(self, x):
            return super().forward(x)["out"][0] * 1e-6

    with pytest.raises(InvariantBroken, match="an output differs by"):
        factorize(Small(), {"fc.weight": 4}, example=torch.randn(2, 4))
