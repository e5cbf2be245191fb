"""How a target is divided over layers: exactly, by the same density or by Erdos-Renyi-Kernel."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import nn

import budbreak as bb
from budbreak.errors import InvalidValue
from budbreak.masks import ERK, Layer, Scores, Uniform, select

proportional = Uniform()


@st.composite
def divisions(draw, largest=200):
    sizes = draw(st.lists(st.integers(1, largest), min_size=1, max_size=6))
    capacities = [draw(st.integers(0, size)) for size in sizes]
    keep = draw(st.integers(0, sum(capacities)))
    names = [f"w{i}" for i in range(len(sizes))]
    return (
        {name: torch.Size([size]) for name, size in zip(names, sizes, strict=True)},
        dict(zip(names, capacities, strict=True)),
        keep,
    )


@given(divisions())
def test_proportional_shares_are_exact_and_fit(division):
    shapes, capacities, keep = division
    shares = proportional(shapes, capacities, keep)
    assert sum(shares.values()) == keep
    assert all(0 <= shares[name] <= capacities[name] for name in shapes)


@given(divisions())
@example(({"a": torch.Size([1]), "b": torch.Size([1])}, {"a": 1, "b": 1}, 1))
def test_proportional_shares_are_within_one_of_the_same_density(division):
    shapes, _, keep = division
    sizes = {name: shape.numel() for name, shape in shapes.items()}
    keep = min(keep, sum(sizes.values()))
    for name, share in proportional(shapes, sizes, keep).items():
        assert abs(share - Fraction(keep * sizes[name], sum(sizes.values()))) < 1


@given(divisions(largest=10**12))
def test_proportional_counts_beyond_the_integers_of_a_float(division):
    shapes, capacities, keep = division  # 10^12 * 10^12 > 2^53: floats would lose single weights
    assert sum(proportional(shapes, capacities, keep).values()) == keep


def test_proportional_by_hand():
    sizes = {"a": torch.Size([10]), "b": torch.Size([30]), "c": torch.Size([20])}
    # density 31/60: ideal 5.17, 15.5, 10.33; whole 5, 15, 10; the one left goes to the largest fraction, b
    assert proportional(sizes, {"a": 10, "b": 30, "c": 20}, 31) == {"a": 5, "b": 16, "c": 10}
    # b takes only 3; the other 28 are divided as 10 : 20, ideal 9.33, 18.67
    assert proportional(sizes, {"a": 10, "b": 3, "c": 20}, 31) == {"a": 9, "b": 3, "c": 19}
    # of equal fractions the earlier layer
    # 1/3, 10 1/3, 1/3: in floats 10 1/3 - 10 is larger than 1/3
    uneven = {"a": torch.Size([1]), "b": torch.Size([31]), "c": torch.Size([1])}
    assert proportional(uneven, {"a": 1, "b": 31, "c": 1}, 11) == {"a": 1, "b": 10, "c": 0}
    assert proportional({"a": torch.Size([3]), "b": torch.Size([3])}, {"a": 3, "b": 3}, 3) == {"a": 2, "b": 1}


def test_an_allocation_divides_as_it_says():
    scores = Scores.of({"a": torch.arange(4.0), "b": torch.arange(4.0)})
    mask = select(scores, 3, scope=Layer(), allocation=lambda shapes, capacities, keep: {"a": 0, "b": keep})
    assert (mask.kept_in("a"), mask["b"].tolist()) == (0, [False, True, True, True])


@pytest.mark.parametrize("shares", [{"a": 1, "b": 1}, {"a": 5, "b": -2}, {"a": 3}, {"a": -1, "b": 4}, {"a": 3, "c": 0}])
def test_an_allocation_that_does_not_add_up_is_refused(shares):
    scores = Scores.of({"a": torch.arange(4.0), "b": torch.arange(4.0)})
    with pytest.raises(InvalidValue, match="allocation divides 3"):
        select(scores, 3, scope=Layer(), allocation=lambda *_: shares)


# --- Erdos-Renyi-Kernel ------------------------------------------------------------------------------------


def rigl(shapes, density):
    """The densities of the loop in google-research/rigl, sparse_utils.py, get_mask_random's ERK, in float64."""
    dense = set()
    while True:
        divisor, rhs, raw = 0.0, 0.0, {}
        for name, shape in shapes.items():
            size = math.prod(shape)
            if name in dense:
                rhs -= size * (1 - density)
            else:
                rhs += size * density
                raw[name] = sum(shape) / size
                divisor += raw[name] * size
        epsilon = rhs / divisor
        most = max(raw.values())
        if most * epsilon <= 1:
            return {name: 1.0 if name in dense else epsilon * raw[name] for name in shapes}
        dense |= {name for name in raw if raw[name] == most}


NETWORKS = {
    "LeNet-300-100": [(300, 784), (100, 300), (10, 100)],
    "LeNet-5": [(6, 1, 5, 5), (16, 6, 5, 5), (120, 400), (84, 120), (10, 84)],
    "tiny": [(2, 2), (3, 2), (40, 50), (8, 1, 3, 3)],
}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("density", [0.9, 0.5, 0.2, 0.05, 0.01])
def test_erk_is_the_published_loop_to_the_weight(network, density):
    shapes = {str(i): torch.Size(shape) for i, shape in enumerate(NETWORKS[network])}
    sizes = {name: shape.numel() for name, shape in shapes.items()}
    keep = round(density * sum(sizes.values()))
    shares = ERK()(shapes, sizes, keep)
    assert sum(shares.values()) == keep
    for name, expected in rigl(shapes, keep / sum(sizes.values())).items():
        assert abs(shares[name] - expected * sizes[name]) < 1 + 1e-6


def test_erk_by_hand():
    shapes = {"a": torch.Size([300, 784]), "b": torch.Size([100, 300]), "c": torch.Size([10, 100])}
    sizes = {"a": 235200, "b": 30000, "c": 1000}
    # 1084 : 400 : 110 of 1594; at 1594 * 2 kept each has twice its sum
    assert ERK()(shapes, sizes, 2 * 1594) == {"a": 2168, "b": 800, "c": 220}
    # c would keep 15000 * 110 / 1594 = 1035 of 1000: it keeps all, and 14000 are divided as 1084 : 400,
    # 10226.4 and 3773.6; whole 10226 and 3773, the one left to the larger fraction
    assert ERK()(shapes, sizes, 15000) == {"a": 10226, "b": 3774, "c": 1000}


@given(divisions(), st.data())
def test_erk_is_exact_and_fits_what_is_alive(division, data):
    shapes, capacities, keep = division
    folded = {}
    for name, (size,) in shapes.items():
        rows = data.draw(st.sampled_from([n for n in range(1, size + 1) if size % n == 0]))
        folded[name] = torch.Size([rows, size // rows])
    shares = ERK()(folded, capacities, keep)
    assert sum(shares.values()) == keep
    assert all(0 <= shares[name] <= capacities[name] for name in shapes)


def test_erk_prunes_a_network():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 10))
    mask = bb.prune(model, sparsity=0.8, scope=Layer(), allocation=ERK())
    # 8 + 3 + 3 + 3 = 17 and 42 of 59; 107 = round(0.2 * 536) kept: 30.8 and 76.2
    assert {name: mask.kept_in(name) for name in mask} == {"0.weight": 31, "3.weight": 76}


@pytest.mark.parametrize("granularity", [bb.Unit(), bb.Unit(dim=0)])
def test_erk_is_of_single_weights(granularity):
    with pytest.raises(InvalidValue, match=r"ERK\(\) .* granularity Unit.*\n.*\nuse granularity=bb.Element"):
        bb.Plan(schedule=bb.schedules.OneShot(0.5), scope=Layer(), allocation=ERK(), granularity=granularity)
