"""N:M: n of each few consecutive inputs stay, by the sort within the group; other targets are refused."""

import itertools
import math
from decimal import Decimal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.ao.pruning import WeightNormSparsifier

import budbreak as bb
from budbreak.errors import InvalidValue, NotFinite
from budbreak.masks import NM, Mask, Scores, select, sparsity_of, survivors
from budbreak.testing import mlp


def group_by_group(scores, alive, n, of, dim):
    """Bool of the shape of the weight: each group sorted by (-score, flat index)."""
    kept = np.zeros(scores.shape, dtype=bool)
    others = [range(size) for axis, size in enumerate(scores.shape) if axis != dim]
    for place in itertools.product(*others):
        line = [(*place[:dim], i, *place[dim:]) for i in range(scores.shape[dim])]
        for start in range(0, len(line), of):
            living = [index for index in line[start : start + of] if alive[index]]
            for index in sorted(living, key=lambda index: (-scores[index], index))[:n]:
                kept[index] = True
    return kept


SHAPES = [(3, 8), (2, 6, 3), (4, 4, 2, 3), (1, 1), (5, 3, 1, 1), (2, 12)]


@given(
    shapes=st.lists(st.sampled_from(SHAPES), min_size=1, max_size=3),
    pattern=st.sampled_from([(1, 2), (2, 4), (1, 4), (3, 4), (2, 3), (4, 8)]),
    dim=st.sampled_from([0, 1]),
    seed=st.integers(0, 2**32 - 1),
    share=st.sampled_from([None, 0.1, 0.5, 0.9]),
)
def test_groups_are_sorted_one_by_one(shapes, pattern, dim, seed, share):
    rng = np.random.default_rng(seed)
    tensors = {f"w{i}": torch.tensor(rng.integers(-2, 3, shape).astype(np.float32)) for i, shape in enumerate(shapes)}
    alive = {name: np.ones(t.shape, dtype=bool) if share is None else rng.random(t.shape) < share
             for name, t in tensors.items()}  # fmt: skip
    expected = Mask({
        name: torch.tensor(group_by_group(t.numpy(), alive[name], *pattern, dim)) for name, t in tensors.items()
    })  # fmt: skip
    within = None if share is None else Mask({name: torch.tensor(entry) for name, entry in alive.items()})
    scope = NM(*pattern, dim=dim, remainder="pad")
    assert select(Scores.of(tensors), expected.kept, scope=scope, within=within) == expected
    assert scope.reach({name: torch.tensor(entry) for name, entry in alive.items()}) == {
        name: expected.kept_in(name) for name in expected
    }
    for wrong in {0, expected.kept - 1} - {-1, expected.kept}:
        with pytest.raises(InvalidValue, match=rf"keep is {wrong}\n.*keeps exactly {expected.kept} of what competes"):
            select(Scores.of(tensors), wrong, scope=scope, within=within)


def test_n_of_each_group_are_kept_not_pruned():
    scores = Scores.of({"w": torch.tensor([[1.0, 2.0, 3.0, 4.0, 4.0, 3.0, 2.0, 2.0]])})
    assert select(scores, 2, scope=NM(1, 4))["w"].tolist() == [[False] * 3 + [True, True] + [False] * 3]
    assert select(scores, 6, scope=NM(3, 4))["w"].tolist() == [[False, True, True, True, True, True, True, False]]


def test_it_is_what_torch_makes_of_a_linear():
    model = nn.Sequential(nn.Linear(16, 6), nn.Linear(8, 4))
    others = WeightNormSparsifier(sparsity_level=1.0, sparse_block_shape=(1, 4), zeros_per_block=2)
    copy = nn.Sequential(nn.Linear(16, 6), nn.Linear(8, 4))
    copy.load_state_dict(model.state_dict())
    others.prepare(copy, [{"tensor_fqn": "0.weight"}, {"tensor_fqn": "1.weight"}])
    others.step()
    mask = bb.prune(model, sparsity=0.5, scope=NM(2, 4))
    for index in (0, 1):
        assert torch.equal(mask[f"{index}.weight"], copy[index].parametrizations.weight[0].mask.bool())


@pytest.mark.parametrize(
    ("layer", "inputs"),
    [
        (nn.Linear(8, 3), 8),
        (nn.Conv1d(4, 6, 5), 4),
        (nn.Conv2d(8, 6, 3), 8),
        (nn.Conv2d(16, 6, (1, 3), groups=2), 8),
        (nn.Conv3d(4, 2, 2), 4),
    ],
    ids=str,
)
def test_groups_lie_along_input_channels(layer, inputs):
    mask = bb.prune(layer, sparsity=0.5, scope=NM(2, 4))["weight"]
    for start in range(0, inputs, 4):
        assert (mask[:, start : start + 4].sum(1) == 2).all()


def test_channels_last_makes_no_difference():
    weights = torch.randint(0, 5, (6, 4, 3, 3), generator=torch.Generator().manual_seed(0)).double()
    strided = weights.to(memory_format=torch.channels_last)
    mask = select(Scores.of({"w": strided}), 108, scope=NM(2, 4))
    assert mask == select(Scores.of({"w": weights}), 108, scope=NM(2, 4))
    assert mask["w"].is_contiguous()


def rgb():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, 1))


def test_what_is_no_multiple_is_refused_by_name_or_padded():
    words = r"^'0\.weight' has 3 weights along dimension 1.*\n2:4 needs a multiple of 4 there\n"
    with pytest.raises(InvalidValue, match=words + r".*bb\.excluding\('0.weight'\).*bb\.NM\(2, 4, remainder='pad'\)"):
        bb.prune(rgb(), sparsity=0.5, scope=NM(2, 4))
    plan = bb.Plan(schedule=bb.schedules.OneShot(0.5), scope=NM(2, 4))
    with pytest.raises(InvalidValue, match=r"^'0\.weight' has 3 weights"):
        plan.preview(rgb())
    # 2 of each 3 inputs of 0, the single input of a depthwise group stays, and half of 2: 144 + 72 + 16 of 320
    with pytest.raises(InvalidValue, match=r"exactly 232 of these 320\n.*: 0.275$"):
        bb.prune(rgb(), sparsity=0.5, scope=NM(2, 4, remainder="pad"))
    mask = bb.prune(rgb(), sparsity=0.275, scope=NM(2, 4, remainder="pad"))
    assert [mask.kept_in(name) for name in mask] == [144, 72, 16]
    left_out = bb.prune(rgb(), sparsity=0.5, scope=NM(2, 4), prunable=bb.excluding("0.*", "1.*"))
    assert left_out.kept == 16


def test_outputs_are_no_inputs():
    with pytest.raises(InvalidValue, match=r"^dimension 1 of 'weight', shape \(8, 4, 3\), counts outputs"):
        bb.prune(nn.ConvTranspose1d(8, 4, 3), sparsity=0.5, scope=NM(2, 4))
    mask = bb.prune(nn.ConvTranspose1d(8, 4, 3), sparsity=0.5, scope=NM(2, 4, dim=0))["weight"]
    assert (mask.reshape(2, 4, 4, 3).sum(1) == 2).all()
    vectors = bb.masks.every_weight
    with pytest.raises(InvalidValue, match=r"^'1\.weight' has shape \(8,\), and no dimension 1"):
        bb.prune(nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8)), sparsity=0.5, scope=NM(2, 4), prunable=vectors)


def test_the_reachable_sparsity_is_named_within_a_mask_too():
    model = mlp()
    with pytest.raises(InvalidValue, match=r"^sparsity is 0.6: 173 stay\n2:4 keeps exactly 216 of these 432\n.*: 0.5$"):
        bb.prune(model, sparsity=0.6, scope=NM(2, 4))
    alive = bb.prune(model, sparsity=0.5)
    reached = NM(2, 4).reach(alive)
    assert sum(reached.values()) < alive.kept < 2 * sum(reached.values())
    words = rf"2:4 keeps exactly {sum(reached.values())} of these 432\n.*: (0\.\d+)$"
    with pytest.raises(InvalidValue, match=words) as caught:
        bb.prune(model, sparsity=0.5, scope=NM(2, 4))
    mask = bb.prune(model, sparsity=float(caught.value.fix.rpartition(" ")[2]), scope=NM(2, 4))
    assert mask.is_within(alive)
    assert {name: mask.kept_in(name) for name in mask} == reached


@given(st.integers(1, 10**9), st.data())
def test_the_sparsity_that_is_named_is_reached_and_short(total, data):
    keep = data.draw(st.integers(1, total))
    sparsity = sparsity_of(keep, total)
    assert survivors(sparsity, total) == keep
    digits = max(0, -int(Decimal(repr(sparsity)).normalize().as_tuple().exponent))
    assert digits <= len(str(total))  # 1 / total is at least 10^-digits
    assert digits == 0 or survivors(round(sparsity, digits - 1), total) != keep


def test_levels_and_follow_ups_fit_the_pattern_or_are_refused():
    shots = bb.schedules.OneShot
    with pytest.raises(InvalidValue, match=r"^level 2 of Geometric\(.*\): 108 stay\n2:4 keeps exactly 216"):
        bb.Plan(schedule=bb.schedules.Geometric(rate=0.5, levels=2), scope=NM(2, 4)).preview(mlp())
    ap = [bb.ActivateWhilePruning(q=0.02)]
    with pytest.raises(InvalidValue, match=r"^level 1 .*\n2:4 keeps exactly 216 .*, where follow-ups remove 8\n"):
        bb.Plan(schedule=shots(0.5), scope=NM(2, 4), then=ap).preview(mlp())
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    plan = bb.Plan(schedule=shots(0.519), scope=NM(2, 4), then=ap)
    with bb.iterate(model, optimizer, plan) as levels:
        for _ in levels:
            model(torch.rand(4, 8)).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    assert [record.kept for record in levels.history] == [432, 208]
    assert all(int(entry.reshape(-1, 4).sum(1).max()) <= 2 for entry in levels.mask.values())


def test_what_follow_ups_leave_over_goes_by_the_host_within_the_pattern():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))
    with torch.no_grad():
        for layer in (model[0], model[2]):
            layer.weight.abs_().add_(0.5)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    plan = bb.Plan(
        schedule=bb.schedules.OneShot(0.56), scope=NM(2, 4), then=[bb.ActivateWhilePruning(q=0.07)]
    )  # 42 of 96 stay: 48 by the host, 6 by AP, which finds no negative weight
    with bb.iterate(model, optimizer, plan) as levels:
        for _ in levels:
            model(torch.rand(4, 8)).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    record = levels.history[1]
    assert (record.kept, record.host_removed, record.follow_ups_removed, record.shortfall) == (42, 54, (0,), 6)
    assert all(int(entry.reshape(-1, 4).sum(1).max()) <= 2 for entry in levels.mask.values())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"then": [bb.Train(), bb.Remove(None, q=0.02)]},
            r"Remove\(.*\) after a host of scope 2:4\nthe host removes all at once",
        ),
        ({"rounds": 3}, r"Magnitude\(\) removes in 3 rounds, in scope 2:4\n.*\nwrite rounds=1"),
    ],
)
def test_a_level_is_pruned_to_the_pattern_at_once(options, words):
    with pytest.raises(InvalidValue, match=words):
        bb.Plan(schedule=bb.schedules.OneShot(0.5), scope=NM(2, 4), **options)


def test_a_floor_above_the_pattern_is_refused():
    with pytest.raises(InvalidValue, match=r"^by the floor at least 40 stay in '4.weight'\n2:4 keeps exactly 24 there"):
        bb.prune(mlp(), sparsity=0.5, scope=NM(2, 4), floor=40)
    scores = Scores.of({"a": torch.rand(3, 4), "b": torch.rand(3, 8)})
    with pytest.raises(InvalidValue, match=r"^by the floor at least 7 stay in 'a'\n2:4 keeps exactly 6 there"):
        select(scores, 18, scope=NM(2, 4), floor=7)


def test_scores_without_rank_and_scores_that_never_go():
    scores = torch.tensor([[1.0, math.nan, 2.0, 1.0], [math.inf, math.inf, math.inf, 0.0]])
    with pytest.raises(NotFinite, match="'w'"):
        select(Scores.of({"w": scores}), 4, scope=NM(2, 4))
    within = Mask({"w": torch.tensor([[1, 0, 1, 1], [0, 1, 1, 1]])})
    assert select(Scores.of({"w": scores}), 4, scope=NM(2, 4), within=within)["w"].tolist() == [
        [True, False, True, False],
        [False, True, True, False],
    ]
    with pytest.raises(InvalidValue, match=r"2 stay in a row or group of 'w', and 3 scores are \+inf"):
        select(Scores.of({"w": scores.nan_to_num(nan=0.0, posinf=math.inf)}), 4, scope=NM(2, 4))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((4, 2), r"NM\(n=4, of=2\)\n.*\nwrite bb\.NM\(2, 4\)"),
        ((2, 2), r"NM\(n=2, of=2\)\n.*\nwrite bb\.NM\(2, 4\)"),
        ((0, 4), "n is 0"),
        ((2.0, 4), r"n is 2\.0\n.*\nwrite 2"),
        ((1, 1), "of is 1"),
        ((2, 4, -1), "dim is -1"),
        ((2, 4, 1, "keep"), r"remainder is 'keep'\nit is one of 'refuse', 'pad'\n"),
    ],
)
def test_what_is_no_pattern_is_refused(arguments, words):
    with pytest.raises(InvalidValue, match=words):
        NM(*arguments)


@pytest.mark.parametrize(
    ("name", "meant"),
    [("2:4", r"bb\.NM\(2, 4\)"), ("N:M", r"bb\.NM"), ("rows", r"bb\.masks\.Rows"), ("all", r"bb\.masks\.Global")],
)
def test_names_of_scopes_are_answered_by_values(name, meant):
    with pytest.raises(InvalidValue, match=rf"scope is '{name}'\n.*\nwrite scope={meant}"):
        bb.prune(mlp(), sparsity=0.5, scope=name)
