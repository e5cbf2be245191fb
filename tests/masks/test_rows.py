"""Scope Rows: each output row keeps the same number, by the sort within it; the total is exact."""

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from sorting import cases
from torch import nn

import budbreak as bb
from budbreak.errors import InvalidValue, NotFinite
from budbreak.masks import ERK, Mask, Rows, Scores, Uniform, arenas, select

WHOLE = st.lists(st.integers(-3, 3).map(float), min_size=1)


def rows_of(tensor):
    return tensor.flatten(1) if tensor.dim() > 1 else tensor.reshape(1, -1)


def shared_out(capacities, keep):
    """One after the other in turn, those with room only: another form of the same division."""
    counts = [0] * len(capacities)
    while sum(counts) < keep:
        for row, capacity in enumerate(capacities):
            if counts[row] < capacity and sum(counts) < keep:
                counts[row] += 1
    return counts


def row_by_row(scores, alive, keep):
    """Bool [rows, members]: sort each row by (-score, index)."""
    kept = np.zeros(scores.shape, dtype=bool)
    for row, count in enumerate(shared_out(alive.sum(1).tolist(), keep)):
        living = np.flatnonzero(alive[row])
        kept[row, sorted(living, key=lambda i: (-scores[row, i], i))[:count]] = True
    return kept


@pytest.mark.parametrize("chunk", [1 << 20, 7])
@given(case=cases(values=WHOLE))
def test_rows_are_sorted_one_by_one(chunk, case):
    tensors, keep, within = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arenas, "_CHUNK", chunk)
        mask = select(Scores.of(tensors), keep, scope=Rows(), within=within)
    room = {name: tensor.numel() if within is None else within.kept_in(name) for name, tensor in tensors.items()}
    shares = Uniform()({name: tensor.shape for name, tensor in tensors.items()}, room, keep)
    for name, tensor in tensors.items():
        alive = torch.ones(tensor.shape, dtype=torch.bool) if within is None else within[name]
        expected = row_by_row(rows_of(tensor).double().numpy(), rows_of(alive).numpy(), shares[name])
        assert np.array_equal(rows_of(mask[name]).numpy(), expected)
    assert mask.kept == keep


@given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.data())
@example([0, 0], None)
def test_every_row_gets_as_many_as_it_can_take(capacities, data):
    keep = data.draw(st.integers(0, sum(capacities))) if data else 0
    assert arenas.level_off(np.array(capacities), keep).tolist() == shared_out(capacities, keep)


def test_rows_by_hand():
    scores = Scores.of({"w": torch.tensor([[9.0, 8.0, 7.0, 6.0], [1.0, 4.0, 4.0, 2.0], [0.0, 0.0, 0.0, 0.0]])})
    kept = select(scores, 7, scope=Rows())["w"].tolist()  # 2 each, and the one left to the first row
    assert kept == [[True, True, True, False], [False, True, True, False], [True, True, False, False]]


def test_a_network_keeps_the_same_number_in_each_row():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 6, 3, groups=2), nn.Flatten(), nn.Linear(24, 5))
    mask = bb.prune(model, sparsity=0.75, scope=Rows())
    assert mask.kept == round(0.25 * (216 + 216 + 120))
    for entry in mask.values():
        counts = entry.flatten(1).sum(1)
        assert int(counts.max() - counts.min()) <= 1


def test_rows_of_a_transposed_convolution_are_its_outputs():
    layer = nn.ConvTranspose2d(6, 4, 3, groups=2)
    mask = bb.prune(layer, sparsity=0.5, scope=Rows())["weight"]  # [6, 2, 3, 3]: outputs 0, 1 of inputs 0 to 2, ...
    counts = [int(mask[3 * group : 3 * group + 3, column].sum()) for group in (0, 1) for column in (0, 1)]
    assert counts == [14, 14, 13, 13]  # 27 weights into each output, 54 of 108 stay
    by_output = layer.weight.detach().abs().reshape(2, 3, 2, 9).movedim(2, 1).reshape(4, 27)
    expected = row_by_row(by_output.numpy(), np.ones((4, 27), dtype=bool), 54)
    restored = torch.tensor(expected).reshape(2, 2, 3, 9).movedim(1, 2).reshape(6, 2, 3, 3)
    assert torch.equal(mask, restored)


def test_layers_may_have_shares_of_their_own():
    model = nn.Sequential(nn.Linear(40, 20), nn.Linear(20, 4))
    mask = bb.prune(model, sparsity=0.9, scope=Rows(), allocation=ERK())
    assert {name: mask.kept_in(name) for name in mask} == {"0.weight": 63, "1.weight": 25}  # 88 as 60 : 24
    assert mask["1.weight"].sum(1).tolist() == [7, 6, 6, 6]
    floored = bb.prune(nn.Sequential(nn.Linear(40, 20), nn.Linear(20, 4)), sparsity=0.9, scope=Rows(), floor=40)
    assert [floored.kept_in(name) for name in floored] == [48, 40]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_channels_last_rows_are_ranked_in_logical_order(dtype):
    weights = torch.randint(0, 5, (6, 4, 3, 3), generator=torch.Generator().manual_seed(0)).to(dtype)
    strided = weights.to(memory_format=torch.channels_last)
    assert select(Scores.of({"w": strided}), 100, scope=Rows()) == select(Scores.of({"w": weights}), 100, scope=Rows())


def test_scores_without_rank_and_scores_that_never_go():
    scores = torch.tensor([[1.0, math.nan, 2.0], [3.0, math.inf, math.inf]])
    with pytest.raises(NotFinite, match="'w'"):
        select(Scores.of({"w": scores}), 3, scope=Rows())
    within = Mask({"w": torch.tensor([[1, 0, 1], [1, 1, 1]])})
    assert select(Scores.of({"w": scores}), 4, scope=Rows(), within=within)["w"].tolist() == [
        [True, False, True],
        [False, True, True],
    ]
    with pytest.raises(InvalidValue, match=r"1 stay in a row or group of 'w', and 2 scores are \+inf"):
        select(Scores.of({"w": scores}), 2, scope=Rows(), within=within)


def test_whole_units_are_no_arena_of_rows():
    with pytest.raises(InvalidValue, match=r"Rows\(\) was given with granularity Unit"):
        bb.prune(nn.Linear(4, 4), sparsity=0.5, scope=Rows(), granularity=bb.Unit(outputs=()))
