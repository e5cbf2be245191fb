"""Ranks and spectra: numpy as the reference, every kind of layer, and what has no rank."""

import math
import pickle

import numpy as np
import pytest
import torch
from torch import nn

import budbreak as bb
from budbreak.errors import InvalidValue, MaskMismatch, NotFinite, NothingToPrune, UnknownName
from budbreak.lowrank import LayerRank, Tolerance, ranks_of
from budbreak.testing import check_value, mlp, residual_cnn


def one(matrix, **tolerance):
    """The ranks of one matrix."""
    return ranks_of({"w": torch.as_tensor(matrix)}, tolerance=Tolerance(**tolerance))["w"]


def low_rank(rows, columns, rank, dtype=torch.float32):
    return torch.randn(rows, rank, dtype=dtype) @ torch.randn(rank, columns, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("rows", "columns", "rank"), [(6, 4, 2), (4, 6, 4), (30, 50, 7), (1, 5, 1), (5, 1, 1)])
def test_numpy_says_the_same(rows, columns, rank, dtype):
    matrix = low_rank(rows, columns, rank, dtype)
    found = one(matrix)
    assert found.numerical == np.linalg.matrix_rank(matrix.numpy()) == rank
    assert found.full == min(rows, columns)
    values = np.linalg.svd(matrix.double().numpy(), compute_uv=False)
    assert np.allclose(found.spectrum, values, atol=1e-12 * values[0])
    assert found.absolute == np.linalg.matrix_rank(matrix.double().numpy(), tol=1e-3)
    assert found.relative == (values > 0.01 * values[0]).sum()
    assert found.stable == pytest.approx((values**2).sum() / values[0] ** 2)
    shares = values[values > 0] / values.sum()
    assert found.effective == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))
    held = np.cumsum(values**2) / (values**2).sum()
    assert found.energy == 1 + np.argmax(held >= 0.99)


def test_a_spectrum_worked_by_hand():
    """Squares 16, 4, 1, 0 of 21: the first holds 76 %, two hold 95 %."""
    found = one(torch.diag(torch.tensor([1.0, 0.0, 4.0, 2.0])), absolute=1.0, relative=0.5, energy=0.9)
    assert found.spectrum == (4.0, 2.0, 1.0, 0.0)
    counts = (found.full, found.numerical, found.absolute, found.relative, found.energy)
    assert counts == (4, 3, 2, 1, 2)
    assert found.stable == 21 / 16
    p = [4 / 7, 2 / 7, 1 / 7]
    assert found.effective == pytest.approx(math.exp(-sum(x * math.log(x) for x in p)))
    assert one(torch.eye(7)).effective == pytest.approx(7)
    assert one(torch.eye(7)).stable == 7


def test_a_matrix_of_zeros_has_rank_0_by_every_measure():
    assert set(one(torch.zeros(3, 4)).numbers.values()) == {3, 0}


def test_the_cut_is_that_of_the_dtype_of_the_weight():
    matrix = torch.diag(torch.tensor([1.0, 1e-9], dtype=torch.float64))
    assert one(matrix).numerical == 2
    assert one(matrix.float()).numerical == 1
    assert one(matrix.float()).cut == pytest.approx(2 * 2**-23)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_are_cut_as_float32(dtype):
    """By its own epsilon the cut of bfloat16 would lie at 300 * 2^-7 times the largest, and nothing would count."""
    matrix = torch.randn(300, 20).to(dtype)
    assert one(matrix).numerical == one(matrix.float()).numerical == 20


def test_the_cut_grows_with_the_longer_side():
    """Of 2 x 1000 it lies at 1000 * 2^-23 = 1.2e-4."""
    matrix = torch.zeros(2, 1000)
    matrix[0, 0], matrix[1, 1] = 1, 1e-5
    assert one(matrix).numerical == one(matrix.t()).numerical == np.linalg.matrix_rank(matrix.numpy()) == 1


def test_float8_and_sparse_layouts_are_read():
    matrix = torch.randn(5, 3).to(torch.float8_e4m3fn)
    assert one(matrix).numerical == 3
    layer = nn.Linear(5, 3)
    dense = bb.ranks(layer)
    layer.weight = nn.Parameter(layer.weight.detach().to_sparse())
    assert bb.ranks(layer) == dense


def test_a_complex_weight():
    matrix = torch.randn(4, 2, dtype=torch.complex64) @ torch.randn(2, 5, dtype=torch.complex64)
    assert one(matrix).numerical == np.linalg.matrix_rank(matrix.numpy()) == 2


@pytest.mark.parametrize("huge", [1e200, 1e-200])
def test_squares_do_not_overflow(huge):
    found = one(huge * torch.eye(3, dtype=torch.float64))
    assert (found.energy, found.stable, found.effective) == (3, 3.0, pytest.approx(3))


def unfolded_by_hand(layer):
    """The matrix that a layer multiplies an unfolded input by; the groups of a convolution as blocks of a diagonal."""
    weight = layer.weight.detach().double()
    if not hasattr(layer, "groups"):
        return weight.numpy()
    transposed = isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d)
    blocks = []
    for block in weight.chunk(layer.groups):
        blocks.append((block.transpose(0, 1) if transposed else block).flatten(1))
    return torch.block_diag(*blocks).numpy()


LAYERS = [
    nn.Linear(7, 4),
    nn.Conv1d(3, 5, 2),
    nn.Conv2d(3, 5, (2, 3)),
    nn.Conv3d(2, 3, 2),
    nn.Conv2d(4, 6, 3, groups=2),
    nn.Conv2d(6, 6, 3, groups=6),
    nn.Conv1d(4, 8, 3, groups=4),
    nn.ConvTranspose1d(3, 5, 2),
    nn.ConvTranspose2d(4, 6, 3, groups=2),
    nn.ConvTranspose3d(2, 3, 2),
]


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_layers_are_read_as_the_matrix_that_they_multiply_by(layer):
    matrix = unfolded_by_hand(layer)
    found = bb.ranks(layer)["weight"]
    assert (found.rows, found.columns) == matrix.shape
    assert found.numerical == np.linalg.matrix_rank(matrix.astype(np.float32))
    values = np.linalg.svd(matrix, compute_uv=False)
    assert np.allclose(found.spectrum, values[: found.full], atol=1e-12)
    assert np.allclose(values[found.full :], 0, atol=1e-12)
    assert found.shape == tuple(layer.weight.shape)
    assert found.groups == getattr(layer, "groups", 1)


def test_channels_last_and_strides_change_nothing():
    layer = nn.Conv2d(3, 5, 3)
    before = bb.ranks(layer)
    assert bb.ranks(layer.to(memory_format=torch.channels_last)) == before
    view = torch.randn(8, 6).t()
    assert one(view) == one(view.contiguous())


def test_a_depthwise_convolution_has_a_rank_for_each_channel_that_lives():
    layer = nn.Conv2d(6, 6, 3, groups=6)
    layer.weight.data[[1, 4]] = 0
    found = bb.ranks(layer)["weight"]
    assert (found.numerical, found.full) == (4, 6)
    assert "6 of 1x9" in str(bb.ranks(layer))


def test_recurrent_weights_are_gates_one_below_the_other():
    model = nn.GRU(5, 3)
    with pytest.raises(NothingToPrune):
        bb.ranks(model)
    found = bb.ranks(model, prunable=bb.including("weight_*"))
    assert [(layer.weight, layer.rows, layer.columns) for layer in found.layers] == [
        ("weight_ih_l0", 9, 5),
        ("weight_hh_l0", 9, 3),
    ]


def test_gains_are_one_row_where_a_rule_covers_them():
    found = bb.ranks(nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3)), prunable=bb.masks.every_weight)
    assert (found["1.weight"].rows, found["1.weight"].numerical) == (1, 1)


def test_what_a_mask_prunes_is_zero_whatever_it_holds():
    model = mlp()
    entries = {name: torch.ones_like(p).bool() for name, p in model.named_parameters() if p.dim() > 1}
    entries["2.weight"][3:] = False
    with torch.no_grad():
        model[2].weight[5] = math.nan
    found = bb.ranks(model, mask=bb.Mask(entries))
    assert found["2.weight"].numerical == 3
    assert found["0.weight"].numerical == 8
    with pytest.raises(NotFinite, match=r"'2.weight' holds NaN"):
        bb.ranks(model)
    only = bb.Mask({"2.weight": entries["2.weight"]})
    assert bb.ranks(model, mask=only) == found  # what a mask does not cover is whole


def test_the_model_is_only_read():
    model = residual_cnn()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    bb.ranks(model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_wrapper_is_looked_through():
    model = mlp()
    assert bb.ranks(nn.DataParallel(model)) == bb.ranks(model)


def test_tied_weights_appear_once():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    assert list(bb.ranks(model)) == ["0.weight"]


def test_it_is_a_mapping_and_prints_a_table():
    found = bb.ranks(mlp())
    assert list(found) == ["0.weight", "2.weight", "4.weight"]
    assert len(found) == 3
    assert isinstance(found["0.weight"], LayerRank)
    assert dict(found)["4.weight"].full == 3
    assert found.total["full"] == 8 + 16 + 3
    lines = str(found).splitlines()
    assert lines[1].split()[:4] == ["0.weight", "16x8", "8", "8"]
    assert lines[4].split()[:3] == ["all", "27", "27"]
    assert len(lines) == 6
    assert max(map(len, lines)) <= 130
    with pytest.raises(UnknownName, match=r"did you mean '0.weight'"):
        found["0.wieght"]


def test_they_are_values():
    check_value(Tolerance(relative=0.1))
    found = bb.ranks(mlp())
    assert pickle.loads(pickle.dumps(found)) == found == bb.ranks(mlp())
    assert hash(found)
    assert "spectrum" not in repr(found)


@pytest.mark.parametrize(("value", "words"), [(math.nan, "holds NaN"), (math.inf, "holds an infinite number")])
def test_what_is_not_finite_is_named(value, words):
    model = mlp()
    with torch.no_grad():
        model[4].weight[0, 0] = value
    with pytest.raises(NotFinite, match=f"'4.weight' {words}"):
        bb.ranks(model)


def test_a_matrix_without_elements_is_named_and_of_a_model_none_is_looked_at():
    with pytest.raises(InvalidValue, match=r"'0.weight' has the shape \(0, 3\)"):
        ranks_of({"0.weight": torch.zeros(0, 3)})
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    model[1].weight = nn.Parameter(torch.zeros(2, 0))
    assert list(bb.ranks(model)) == ["0.weight"]


def test_what_cannot_be_ranked():
    with pytest.raises(NothingToPrune):
        bb.ranks(nn.ReLU())
    with pytest.raises(InvalidValue, match="there is no weight"):
        ranks_of({})
    with pytest.raises(InvalidValue, match="it maps names to tensors"):
        ranks_of({"w": np.ones((2, 2))})
    with pytest.raises(InvalidValue, match=r"'w' is torch.int64"):
        ranks_of({"w": torch.ones(2, 2).long()})
    with pytest.raises(InvalidValue, match="model is"):
        bb.ranks({"w": torch.ones(2, 2)})
    with pytest.raises(InvalidValue, match=r"tolerance is 0.001\nit holds three cuts"):
        bb.ranks(mlp(), tolerance=1e-3)


def test_masks_that_do_not_fit():
    with pytest.raises(MaskMismatch):
        bb.ranks(mlp(), mask=bb.Mask.dense(mlp(hidden=5)))
    with pytest.raises(MaskMismatch, match=r"covers '4.weight', which is not looked at"):
        bb.ranks(mlp(), mask=bb.Mask.dense(mlp()), prunable=bb.excluding("4.*"))
    with pytest.raises(InvalidValue, match="must be a Mask"):
        bb.ranks(mlp(), mask=True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"absolute": -1.0}, "absolute is -1.0"),
        ({"absolute": math.nan}, "absolute is nan"),
        ({"relative": 1.0}, "relative is 1.0"),
        ({"relative": "1%"}, "write 0.01"),
        ({"energy": 0}, "energy is 0"),
        ({"energy": 99}, "a percentage. write 0.99"),
    ],
)
def test_cuts_outside_their_ranges(arguments, words):
    with pytest.raises(InvalidValue, match=words):
        Tolerance(**arguments)
