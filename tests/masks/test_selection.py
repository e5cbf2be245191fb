import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sorting import STREAMS, arrange, brute_force, cases, spared, streaming
from torch import nn
from torch.nn.utils import prune

from budbreak.errors import InvalidValue, MaskMismatch, NotFinite, UnknownName
from budbreak.masks import (
    Element,
    Global,
    Layer,
    Mask,
    Score,
    Scores,
    Uniform,
    Unit,
    competing,
    select,
    source,
    threshold,
)


@pytest.mark.parametrize("stream", STREAMS)
@given(case=cases())
def test_global_selection_is_the_sort_by_score_and_index(stream, case):
    tensors, keep, within = case
    with streaming(*stream):
        if spared(tensors, within) > keep:
            with pytest.raises(InvalidValue, match="never prune"):
                select(Scores.of(tensors), keep, within=within)
            return
        mask = select(Scores.of(tensors), keep, within=within)
    assert mask == brute_force(tensors, keep, within)
    assert mask.kept == keep
    if within is not None:
        assert mask.is_within(within)


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("order", ["sorted", "falling", "low middle", "high middle"])
@pytest.mark.parametrize("levels", [1, 2, 40, 100_000])
def test_every_rank_of_a_tensor_that_misleads_the_sample(stream, order, levels):
    rng = np.random.default_rng(0)
    values = arrange(rng.integers(0, levels, 600).astype(np.float32), order)
    tensors = {"w": torch.tensor(values).reshape(20, 30)}
    ranked = np.lexsort((np.arange(600), -values))
    with streaming(*stream):
        for keep in [0, 1, 2, 17, 149, 150, 299, 300, 301, 450, 583, 598, 599, 600]:
            expected = np.zeros(600, dtype=bool)
            expected[ranked[:keep]] = True
            assert torch.equal(select(Scores.of(tensors), keep)["w"].reshape(-1), torch.tensor(expected))


@pytest.mark.parametrize("pick", [True, False])
@pytest.mark.parametrize(("order", "keep"), [("low middle", 300), ("high middle", 900)])
def test_a_missed_bracket_costs_passes_but_not_exactness(order, keep, pick, monkeypatch):
    values = arrange(np.arange(1200.0), order)
    score = Scores.of({"w": torch.tensor(values)})["w"]
    scores = Scores({"w": score if pick else Score(score.shape, score.open)})
    passes = []
    real = threshold._look
    monkeypatch.setattr(threshold, "_look", lambda *args: passes.append(args[1:]) or real(*args))
    with streaming(100, 1, 400):  # 400 of 1200: the bracket is 2 * (3 * 20 + 2) wide, well inside the sample
        mask = select(scores, keep)
    assert len(passes) > 1
    assert torch.equal(mask["w"], torch.tensor(values) >= 1200 - keep)


@pytest.mark.parametrize("keep", [600, 400, 800])
def test_a_good_sample_needs_one_pass(keep, monkeypatch):
    values = np.random.default_rng(1).permutation(1200).astype(np.float32)
    passes = []
    real = threshold._look
    monkeypatch.setattr(threshold, "_look", lambda *args: passes.append(real(*args)) or passes[-1])
    with streaming(100, 1, 400):
        select(Scores.of({"w": torch.tensor(values)}), keep)
    assert len(passes) == 1
    assert len(passes[0].values) < 1200  # it gathered a bracket, not everything


@pytest.mark.parametrize("dim", [0, 1])
def test_scores_that_are_equal_in_rows_or_columns_need_one_pass(dim, monkeypatch):
    rows = torch.randn(256, 1, generator=torch.Generator().manual_seed(0)).expand(256, 512)
    values = rows if dim == 0 else rows.T.contiguous()  # blocks lie within few rows, and steps within few columns
    passes = []
    real = threshold._look
    monkeypatch.setattr(threshold, "_look", lambda *args: passes.append(real(*args)) or passes[-1])
    mask = select(Scores.of({"w": values}), 100_000)
    assert len(passes) == 1
    assert len(passes[0].values) < 20_000
    assert mask == brute_force({"w": values}, 100_000)


@given(size=st.integers(1, 5000), share=st.floats(0.01, 1.0))
def test_a_sample_has_one_place_in_each_of_equal_parts(size, share):
    wanted = max(1, int(share * size))
    places = source.spread_places(size, wanted)
    lows = torch.arange(wanted, dtype=torch.float64) * size / wanted
    assert places.dtype == torch.int64
    assert bool((places >= lows.floor()).all())
    assert bool((places < lows + size / wanted).all())
    assert bool((places.diff() >= 0).all())
    assert len(places) == wanted


@pytest.mark.parametrize(
    "weight",
    [
        torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        torch.randn(6, 1).expand(6, 20),
        torch.randn(20, 6).T,
        torch.randn(120).bfloat16(),
    ],
    ids=["channels last", "expanded", "transposed", "bfloat16"],
)
def test_picked_scores_are_those_of_the_slices(weight):
    score = Scores.elementwise(lambda w, v: w - 2 * v, {"w": weight}, {"w": weight.abs()})["w"]
    places = torch.tensor([0, 3, 17, 60, 118, 119])
    assert torch.equal(score.pick(places), score.open()(0, 120)[places])


def test_a_formula_that_gives_too_few_numbers_is_refused_where_it_is_sampled():
    scores = Scores.elementwise(lambda w: w[:3], {"w": torch.ones(50_000)})
    with pytest.raises(InvalidValue, match="3 scores for 32768 elements of 'w'"):
        select(scores, 10)


@given(
    case=cases(values=st.lists(st.integers(-50, 50).map(float), min_size=1)),
    factor=st.sampled_from([2.0**-20, 0.5, 3.0, 1024.0]),
)
def test_positive_rescaling_changes_nothing(case, factor):
    # small integers times 3 or a power of two are exact, so rescaling makes no new ties
    tensors, keep, within = case
    scaled = {name: tensor * factor for name, tensor in tensors.items()}
    assert select(Scores.of(scaled), keep, within=within) == select(Scores.of(tensors), keep, within=within)


@given(size=st.integers(1, 300), seed=st.integers(0, 2**32 - 1), data=st.data())
def test_permuting_distinct_scores_permutes_the_mask(size, seed, data):
    keep = data.draw(st.integers(0, size))
    rng = np.random.default_rng(seed)
    scores, order = torch.tensor(rng.permutation(size).astype(np.float32)), torch.tensor(rng.permutation(size))
    with streaming(7, 1, 64):
        plain = select(Scores.of({"w": scores}), keep)["w"]
        permuted = select(Scores.of({"w": scores[order]}), keep)["w"]
    assert torch.equal(permuted, plain[order])


@given(case=cases(values=st.lists(st.integers(-3, 3).map(float), min_size=1)), data=st.data())
def test_fewer_are_nested_in_more(case, data):
    tensors, keep, within = case
    fewer = data.draw(st.integers(0, keep))
    more = select(Scores.of(tensors), keep, within=within)
    assert select(Scores.of(tensors), fewer, within=within).is_within(more)
    # selecting in two steps is selecting once: nothing that is removed competes again
    assert select(Scores.of(tensors), fewer, within=more) == select(Scores.of(tensors), fewer, within=within)


def test_of_equal_scores_the_lower_flat_index_is_kept():
    tensors = {"b": torch.ones(2, 2), "a": torch.ones(3)}  # the order is the mapping's, not the alphabet's
    mask = select(Scores.of(tensors), 5)
    assert mask["b"].tolist() == [[True, True], [True, True]]
    assert mask["a"].tolist() == [True, False, False]


def test_negative_zero_equals_zero():
    mask = select(Scores.of({"w": torch.tensor([-0.0, 0.0, -0.0, 0.0])}), 2)
    assert mask["w"].tolist() == [True, True, False, False]


# --- dtypes and memory formats -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@given(seed=st.integers(0, 2**32 - 1), keep=st.integers(0, 600))
def test_every_float_dtype_is_ranked_exactly(dtype, seed, keep):
    weights = torch.tensor(np.random.default_rng(seed).standard_normal(600)).to(dtype)  # bf16: many ties
    with streaming(64, 2, 100):
        assert select(Scores.of({"w": weights}), keep) == brute_force({"w": weights}, keep)


def test_float64_is_not_narrowed():
    scores = 1 + torch.arange(8, dtype=torch.float64) * 1e-12  # all equal in float32
    assert select(Scores.of({"w": scores}), 3)["w"].tolist() == [False] * 5 + [True] * 3


def test_scores_narrower_than_float32_may_come_from_a_criterion_of_ones_own():
    values = torch.tensor([3.0, 1.0, 2.0], dtype=torch.bfloat16)
    scores = Scores({"w": Score(values.shape, lambda: lambda lo, hi: values[lo:hi])})
    assert select(scores, 2)["w"].tolist() == [True, False, True]


@given(case=cases(dtypes=(torch.float16, torch.bfloat16, torch.float32, torch.float64)))
def test_mixed_dtypes_compete_by_value(case):
    tensors, keep, within = case
    if spared(tensors, within) <= keep:
        assert select(Scores.of(tensors), keep, within=within) == brute_force(tensors, keep, within)


def test_a_float64_tensor_last_is_not_compared_as_float32():
    tensors = {"a": torch.tensor([1.0]), "b": torch.tensor([1 + 1e-12], dtype=torch.float64)}
    assert select(Scores.of(tensors), 1)["b"].tolist() == [True]


@pytest.mark.parametrize("keep", [1, 11, 100, 215])
def test_channels_last_weights_are_ranked_in_logical_order(keep):
    weights = torch.randint(0, 5, (6, 4, 3, 3), generator=torch.Generator().manual_seed(0)).float()
    strided = weights.to(memory_format=torch.channels_last)
    assert strided.stride() != weights.stride()
    with streaming(50, 2, 30):
        mask = select(Scores.of({"w": strided}), keep)
    assert mask == brute_force({"w": weights}, keep)
    assert mask["w"].is_contiguous()


def test_scores_must_be_floating_point():
    with pytest.raises(InvalidValue, match="int64"):
        select(Scores.of({"w": torch.arange(4)}), 2)


# --- NaN, infinity, and what is out of range ---------------------------------------------------------------


@pytest.mark.parametrize("keep", [0, 1, 150, 299, 300])
@pytest.mark.parametrize("position", [0, 149, 199])
def test_nan_is_refused_by_the_name_of_its_layer(keep, position):
    tensors = {"fine.weight": torch.zeros(100), "broken.weight": torch.zeros(200)}
    tensors["broken.weight"][position] = math.nan
    with streaming(7, 1, 64), pytest.raises(NotFinite, match=r"broken\.weight"):
        select(Scores.of(tensors), keep)


@pytest.mark.parametrize("scope", [Global(), Layer()])
def test_nan_outside_within_does_not_compete(scope):
    tensors = {"w": torch.tensor([math.nan, 1.0, 3.0, 2.0])}
    within = Mask({"w": torch.tensor([False, True, True, True])})
    for keep, expected in [(0, []), (1, [2]), (2, [2, 3]), (3, [1, 2, 3])]:
        mask = select(Scores.of(tensors), keep, scope=scope, within=within)
        assert mask["w"].nonzero().flatten().tolist() == expected
    with pytest.raises(NotFinite):
        select(Scores.of(tensors), 2)


@pytest.mark.parametrize("stream", STREAMS)
def test_infinite_scores_are_spared(stream):
    scores = torch.arange(100.0)
    scores[::10] = math.inf
    with streaming(*stream):
        mask = select(Scores.of({"w": scores}), 10)
        assert torch.equal(mask["w"], scores == math.inf)
        with pytest.raises(InvalidValue, match="keep is 9, but 10 scores are"):
            select(Scores.of({"w": scores}), 9)
        with pytest.raises(InvalidValue, match="keep is 0, but 10 scores are"):
            select(Scores.of({"w": scores}), 0)
        assert competing(Scores.of({"w": scores})) == 90
        within = Mask({"w": torch.arange(100) < 50})
        assert competing(Scores.of({"w": scores}), within) == 45
        assert select(Scores.of({"w": scores}), 5, within=within)["w"].nonzero().flatten().tolist() == [
            0,
            10,
            20,
            30,
            40,
        ]


@pytest.mark.parametrize("keep", [-1, 5, 2.0, True, None])
def test_keep_out_of_range_is_refused(keep):
    with pytest.raises(InvalidValue, match="keep"):
        select(Scores.of({"w": torch.zeros(4)}), keep)


def test_within_limits_how_many_may_be_kept():
    within = Mask({"w": torch.tensor([True, False, True, False])})
    with pytest.raises(InvalidValue, match="only 2 compete"):
        select(Scores.of({"w": torch.zeros(4)}), 3, within=within)


def test_within_must_fit():
    scores = Scores.of({"w": torch.zeros(4)})
    with pytest.raises(MaskMismatch, match="w"):
        select(scores, 1, within=Mask({"w": torch.ones(2, 2)}))
    with pytest.raises(MaskMismatch, match="no scores for 'v'"):
        select(scores, 1, within=Mask({"v": torch.ones(4)}))
    with pytest.raises(MaskMismatch, match="no scores for 'v'"):
        select(scores, 1, within=Mask({"w": torch.ones(4), "v": torch.ones(4)}))
    with pytest.raises(UnknownName, match="'w'"):
        select(Scores.of({"v": torch.zeros(4), "w": torch.zeros(4)}), 1, within=Mask({"v": torch.ones(4)}))


def test_scope_and_allocation_must_fit():
    scores = Scores.of({"w": torch.zeros(4)})
    with pytest.raises(InvalidValue, match="'local'"):
        select(scores, 1, scope="local")
    with pytest.raises(InvalidValue, match="allocation"):
        select(scores, 1, allocation=Uniform())


# --- scope "layer" -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", STREAMS)
@given(case=cases(values=st.lists(st.integers(-3, 3).map(float), min_size=1)))
def test_layer_scope_is_the_sort_within_each_layer(stream, case):
    tensors, keep, within = case
    with streaming(*stream):
        mask = select(Scores.of(tensors), keep, scope=Layer(), within=within)
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    room = {name: tensor.numel() if within is None else within.kept_in(name) for name, tensor in tensors.items()}
    shares = Uniform()(shapes, room, keep)
    for name, tensor in tensors.items():
        alone = None if within is None else Mask({name: within[name]})
        assert torch.equal(mask[name], brute_force({name: tensor}, shares[name], alone)[name])
    assert mask.kept == keep


class KeepsNone:
    """A scope of a user's own, with a fault."""

    divides, elementwise = False, False

    def fit(self, model, prunable=None):
        return self

    def reach(self, alive):
        return None

    def choose(self, contest):
        return {name: torch.zeros(score.shape, dtype=torch.bool) for name, score in contest.scores.items()}


def test_a_scope_of_ones_own_is_counted():
    with pytest.raises(InvalidValue, match=r"KeepsNone object .* kept 0\n2 were to be kept\nmend its choose"):
        select(Scores.of({"w": torch.rand(4)}), 2, scope=KeepsNone())
    assert select(Scores.of({"w": torch.rand(4)}), 0, scope=KeepsNone()).kept == 0


# --- whole units -------------------------------------------------------------------------------------------


@st.composite
def layers(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shapes = draw(st.lists(st.sampled_from([(1, 1), (4, 3), (3, 5), (5, 2, 3, 3), (2, 8, 2)]), min_size=1, max_size=3))
    # integers: equal sums give equal means in float32 and in float64, different sums different ones
    tensors = {f"w{i}": torch.tensor(rng.integers(-2, 3, s).astype(np.float32)) for i, s in enumerate(shapes)}
    within = Mask({name: torch.tensor(rng.random(tensor.shape) < 0.3) for name, tensor in tensors.items()})
    return tensors, draw(st.sampled_from([None, within])), draw(st.sampled_from([0, 1]))


def unit_scores(tensor, dim, within):
    units = np.moveaxis(tensor.double().numpy(), dim, 0)
    alive = np.ones_like(units, dtype=bool) if within is None else np.moveaxis(within.numpy(), dim, 0)
    living = [unit[here].tolist() for unit, here in zip(units, alive, strict=True)]
    return torch.tensor([sum(numbers) / max(len(numbers), 1) for numbers in living])


@given(layers(), st.sampled_from([Global(), Layer()]), st.data())
def test_units_are_kept_whole(case, scope, data):
    tensors, within, dim = case
    means = {n: unit_scores(tensor, dim, None if within is None else within[n]) for n, tensor in tensors.items()}
    alive = None
    if within is not None:
        alive = Mask({n: torch.tensor([bool(u.any()) for u in within[n].movedim(dim, 0)]) for n in tensors})
    room = {name: len(units) if alive is None else alive.kept_in(name) for name, units in means.items()}
    keep = data.draw(st.integers(0, sum(room.values())))
    mask = select(Scores.of(tensors), keep, scope=scope, granularity=Unit(dim), within=within)
    shares = Uniform()({n: units.shape for n, units in means.items()}, room, keep)
    units_kept = brute_force(means, keep, alive)
    for name, tensor in tensors.items():
        if scope == Layer():
            alone = None if alive is None else Mask({name: alive[name]})
            kept = brute_force({name: means[name]}, shares[name], alone)[name]
        else:
            kept = units_kept[name]
        for unit, is_kept in enumerate(kept.tolist()):
            entry = mask[name].select(dim, unit)
            limit = torch.ones_like(entry) if within is None else within[name].select(dim, unit)
            assert torch.equal(entry, limit & is_kept)
        assert mask[name].shape == tensor.shape


def test_units_by_hand():
    # means of rows: 2, 1, 1.5; of columns: (1+2+0)/3 = 1, (3+0+3)/3 = 2
    scores = Scores.of({"w": torch.tensor([[1.0, 3.0], [2.0, 0.0], [0.0, 3.0]])})
    assert select(scores, 2, granularity=Unit(dim=0))["w"].tolist() == [[True] * 2, [False] * 2, [True] * 2]
    assert select(scores, 1, granularity=Unit(dim=1))["w"].tolist() == [[False, True]] * 3
    assert select(scores, 2, granularity=Element())["w"].sum() == 2


@pytest.mark.parametrize(("shape", "dim"), [((4,), 0), ((4, 3), 2), ((4, 3), -1)])
def test_a_dimension_that_does_not_exist_is_refused(shape, dim):
    with pytest.raises(InvalidValue, match=f"Unit\\(dim={dim}\\)"):
        select(Scores.of({"w": torch.zeros(shape)}), 1, granularity=Unit(dim))


# --- other people's implementation, and size ---------------------------------------------------------------


@pytest.mark.parametrize("pruned", [1, 100, 411, 800])
def test_agrees_with_torch_on_distinct_weights(pruned):
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(30, 20))
    rng = np.random.default_rng(pruned)
    names = ["0.weight", "2.weight"]
    sizes = [dict(model.named_parameters())[name].numel() for name in names]
    magnitudes = (rng.permutation(sum(sizes)) + 1) / 1000  # distinct
    signed = torch.tensor(magnitudes * rng.choice([-1, 1], sum(sizes)), dtype=torch.float32)
    with torch.no_grad():
        for name, part in zip(names, signed.split(sizes), strict=True):
            parameter = dict(model.named_parameters())[name]
            parameter.copy_(part.reshape(parameter.shape))
    tensors = {name: dict(model.named_parameters())[name].detach().clone().abs() for name in names}
    mine = select(Scores.of(tensors), sum(sizes) - pruned)
    prune.global_unstructured(
        [(model[0], "weight"), (model[2], "weight")], pruning_method=prune.L1Unstructured, amount=pruned
    )
    assert mine == Mask({"0.weight": model[0].weight_mask, "2.weight": model[2].weight_mask})


@pytest.mark.parametrize("keep", [1, 2**24 + 1, 2**23 + 3])
def test_one_tensor_with_more_elements_than_float32_has_integers(keep):
    size = 2**24 + 1000
    values = np.random.default_rng(0).integers(0, 5, size).astype(np.int8)
    ranked = np.argsort(-values, kind="stable")  # stable: of equal scores the lower index first
    expected = np.zeros(size, dtype=bool)
    expected[ranked[:keep]] = True
    mask = select(Scores.of({"w": torch.tensor(values).float()}), keep)
    assert mask.kept == keep
    assert np.array_equal(mask["w"].numpy(), expected)
