import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from budbreak.errors import NotFinite
from budbreak.masks import Mask, Scores, ShareScore, select

DTYPES = (torch.float64, torch.float32, torch.bfloat16)


def scores_of(weights):
    return Scores({name: ShareScore.of(weight) for name, weight in weights.items()})


def by_sorting(weights, keep, within=None):
    """The mask by all scores and one stable sort: of equal ones the lower flat index stays."""
    every = np.concatenate([scores_of(weights)[name].tensor().numpy().ravel() for name in weights])
    if within is not None:
        every[~np.concatenate([within[name].numpy().ravel() for name in weights])] = -1
    kept = np.zeros(len(every), bool)
    kept[np.argsort(-every, kind="stable")[:keep]] = True
    return kept


def flat(mask):
    return np.concatenate([entry.numpy().ravel() for entry in mask.values()])


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_the_selection_is_that_of_all_scores_sorted(data):
    sizes = data.draw(st.lists(st.integers(0, 40), min_size=1, max_size=4))
    whole = st.integers(-4, 4).map(float)  # many ties and zeros; sums of few whole numbers are exact
    weights = {
        f"w{index}": torch.tensor(data.draw(st.lists(whole, min_size=size, max_size=size))).to(
            data.draw(st.sampled_from(DTYPES))
        )
        for index, size in enumerate(sizes)
    }
    total = sum(sizes)
    within = None
    if data.draw(st.booleans()):
        flags = {name: torch.tensor(data.draw(st.lists(st.booleans(), min_size=len(w), max_size=len(w))), dtype=bool)
                 for name, w in weights.items()}  # fmt: skip
        within, total = Mask(flags), sum(int(entry.sum()) for entry in flags.values())
    keep = data.draw(st.integers(0, total))
    mask = select(scores_of(weights), keep, within=within)
    assert np.array_equal(flat(mask), by_sorting(weights, keep, within))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_large_weights_of_different_scales(dtype):
    generator = torch.Generator().manual_seed(0)
    sizes = {"a": (500, 400), "b": (3, 3), "c": (100_000,), "d": (70, 70)}
    weights = {
        name: (torch.randn(shape, generator=generator) ** 3 * 10.0**place).to(dtype)
        for place, (name, shape) in enumerate(sizes.items())
    }
    weights["c"][torch.rand(100_000, generator=generator) < 0.9] = 0
    total = sum(weight.numel() for weight in weights.values())
    for keep in (1, 2, 50, 6_000, 60_000, total - 90_000, total - 1):
        mask = select(scores_of(weights), keep)
        assert mask.kept == keep
        wrong = int((flat(mask) != by_sorting(weights, keep)).sum())
        assert wrong == 0


def test_a_channels_last_weight_is_selected_in_logical_order():
    weight = torch.randn(4, 6, 3, 3).to(memory_format=torch.channels_last)
    mask = select(scores_of({"w": weight}), 50)
    assert torch.equal(mask["w"], select(scores_of({"w": weight.contiguous()}), 50)["w"])


def test_complex_weights_count_with_both_their_parts():
    generator = torch.Generator().manual_seed(0)
    weights = {"w": torch.randn(40, 5, dtype=torch.complex64, generator=generator)}
    for keep in (1, 60, 199):
        assert np.array_equal(flat(select(scores_of(weights), keep)), by_sorting(weights, keep))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_has_no_share_is_refused(bad):
    weight = torch.randn(600)
    weight[411] = bad
    with pytest.raises(NotFinite, match="'w' holds NaN or infinite"):
        select(scores_of({"w": weight}), 10)
