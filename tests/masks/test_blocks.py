"""Blocks: rectangles of the weight, seen as [units, members], that go as one."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sorting import brute_force
from torch import nn

import budbreak as bb
from budbreak.errors import InvalidValue
from budbreak.masks import Global, Layer, Mask, Scores, Uniform, select
from budbreak.testing import mlp


def tiles(shape, rows, columns):
    """The places of each block of a matrix, row by row of blocks."""
    height, width = shape
    return [
        (slice(down, down + rows), slice(across, across + columns))
        for down in range(0, height, rows)
        for across in range(0, width, columns)
    ]


def matrix(tensor):
    array = np.asarray(tensor.double() if tensor.is_floating_point() else tensor)
    return array.reshape(array.shape[0], -1) if array.ndim > 1 else array.reshape(1, -1)


def block_scores(tensor, alive, rows, columns):
    """([blocks]: the mean over what is alive, exact; [blocks]: whether anything is)."""
    values, living = matrix(tensor), matrix(alive)
    places = tiles(values.shape, rows, columns)
    sums = [values[place][living[place]] for place in places]
    means = [float(np.float32(part.sum()) / np.float32(len(part))) if len(part) else 0.0 for part in sums]
    return torch.tensor(means, dtype=torch.float64), torch.tensor([bool(len(part)) for part in sums])


SHAPES = [(1, 1), (4, 6), (5, 7), (3, 2, 3, 3), (2, 16), (9,), (4, 3, 5)]


@given(
    shapes=st.lists(st.sampled_from(SHAPES), min_size=1, max_size=3),
    block=st.tuples(st.integers(1, 5), st.integers(1, 17)),
    scope=st.sampled_from([Global(), Layer()]),
    seed=st.integers(0, 2**32 - 1),
    share=st.sampled_from([None, 0.1, 0.6]),
    data=st.data(),
)
def test_blocks_are_kept_whole(shapes, block, scope, seed, share, data):
    rng = np.random.default_rng(seed)
    tensors = {f"w{i}": torch.tensor(rng.integers(-2, 3, shape).astype(np.float32)) for i, shape in enumerate(shapes)}
    alive = {n: torch.tensor(rng.random(t.shape) < (1 if share is None else share)) for n, t in tensors.items()}
    scored = {name: block_scores(tensor, alive[name], *block) for name, tensor in tensors.items()}
    means, living = {n: s[0] for n, s in scored.items()}, Mask({n: s[1] for n, s in scored.items()})
    keep = data.draw(st.integers(0, living.kept))
    within = None if share is None else Mask(alive)
    mask = select(Scores.of(tensors), keep, scope=scope, granularity=bb.Block(*block), within=within)
    expected = brute_force(means, keep, living)
    if scope == Layer():
        room = {name: living.kept_in(name) for name in living}
        shares = Uniform()({name: score.shape for name, score in means.items()}, room, keep)
        expected = Mask({
            name: brute_force({name: means[name]}, shares[name], Mask({name: living[name]}))[name] for name in means
        })  # fmt: skip
    for name in tensors:
        kept, limit = matrix(mask[name]), matrix(alive[name])
        for place, stays in zip(tiles(kept.shape, *block), expected[name].tolist(), strict=True):
            assert np.array_equal(kept[place], limit[place] & stays)


def test_blocks_by_hand():
    #  1 1 | 5     blocks of 2 x 2: means 1.5, 4 (of two), 9 (of two), 0 (a corner of one)
    #  2 2 | 3
    #  9 9 | 0
    scores = Scores.of({"w": torch.tensor([[1.0, 1.0, 5.0], [2.0, 2.0, 3.0], [9.0, 9.0, 0.0]])})
    mask = select(scores, 2, granularity=bb.Block(2, 2))
    assert mask["w"].tolist() == [[False, False, True], [False, False, True], [True, True, False]]
    alive = Mask({"w": torch.tensor([[1, 1, 0], [1, 1, 0], [1, 1, 1]])})  # one block has no life: three compete
    assert select(scores, 2, granularity=bb.Block(2, 2), within=alive)["w"].tolist() == [
        [True, True, False],
        [True, True, False],
        [True, True, False],
    ]
    with pytest.raises(InvalidValue, match="only 3 compete"):
        select(scores, 4, granularity=bb.Block(2, 2), within=alive)


def test_one_by_one_is_an_element_and_one_row_a_unit():
    scores = Scores.of({"w": torch.randn(6, 3, 2, 2)})
    assert select(scores, 31, granularity=bb.Block(1, 1)) == select(scores, 31)
    assert select(scores, 4, granularity=bb.Block(1, 12)) == select(scores, 4, granularity=bb.Unit(dim=0))


def test_members_are_input_channels_height_and_width_in_turn():
    weight = torch.zeros(2, 4, 3, 3)
    weight[0, 2:4] = 1.0  # 18 members of unit 0: members 18 to 35
    mask = select(Scores.of({"w": weight}), 2, granularity=bb.Block(1, 9))["w"]
    assert torch.equal(mask, weight.bool())


@pytest.mark.parametrize("groups", [1, 2])
def test_units_of_transposed_convolutions_are_its_outputs(groups):
    layer = nn.ConvTranspose2d(4, 6, 3, groups=groups)
    mask = bb.prune(layer, sparsity=0.5, granularity=bb.Block(1, 4 // groups * 9))
    assert mask == bb.prune(layer, sparsity=0.5, mask=Mask.dense(layer), granularity=bb.Unit(outputs=()))
    some = bb.prune(nn.ConvTranspose2d(4, 6, 3, groups=groups), sparsity=0.5, granularity=bb.Block(1, 9))
    assert {int(kernel.sum()) for kernel in some["weight"].flatten(0, 1)} == {0, 9}


def test_a_plan_counts_blocks():
    model = mlp()  # 16 x 8, 16 x 16, 3 x 16: blocks of 2 x 4: 16, 32 and 8, of which 4 are halves
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    plan = bb.Plan(schedule=bb.schedules.Geometric(rate=0.5, levels=2), granularity=bb.Block(2, 4), floor=1)
    preview = plan.preview(model)
    assert [row.keep for row in preview.rows] == [56, 28, 14]
    assert "lambda and counts are of blocks" in str(preview)
    with bb.iterate(model, optimizer, plan) as levels:
        for _ in levels:
            model(torch.rand(4, 8)).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    assert [(record.counted, record.counted_kept) for record in levels.history] == [("blocks", n) for n in (56, 28, 14)]
    for entry in levels.mask.values():
        padded = torch.nn.functional.pad(entry, (0, 0, 0, entry.shape[0] % 2)).reshape(-1, 2, entry.shape[1] // 4, 4)
        assert {int(n) for n in padded.sum((1, 3)).flatten()} <= {0, 4, 8}


@pytest.mark.parametrize(("size", "words"), [((0, 4), "rows is 0"), ((4, 1.5), "columns is 1.5"), ((True, 4), "rows")])
def test_a_block_has_whole_sides(size, words):
    with pytest.raises(InvalidValue, match=words):
        bb.Block(*size)
