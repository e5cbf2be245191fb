import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from budbreak.criteria import ALL, Displacement, Gradient, LeastMovedNegative, Magnitude, Random, Taylor
from budbreak.criteria.random import _uniform
from budbreak.errors import InvalidValue, MaskMismatch, MissingEvidence, NotFinite, UnknownName
from budbreak.evidence import Evidence, Gradients, StartWeights, Weights
from budbreak.masks import Scores, competing, select
from budbreak.testing import mlp, toy_evidence
from enrolled import row_of

FORMULAS = {kind(): row_of(kind).oracle for kind in ALL if row_of(kind).oracle is not None}
"""Each criterion for one weight, in plain Python: an independent form."""


def evidence_of(w, start=None, g=None):
    """Evidence of one weight "w"."""
    results = {Weights(): w, StartWeights(): start, Gradients(): g}
    return Evidence({probe: {"w": value} for probe, value in results.items() if value is not None})


@pytest.mark.parametrize("criterion", FORMULAS, ids=str)
def test_each_score_is_its_formula_in_float64(criterion):
    evidence = toy_evidence(dtype=torch.float64)
    scores = criterion(evidence)
    assert list(scores) == ["stem.weight", "conv1.weight", "conv2.weight", "fc.weight"]
    for name, score in scores.items():
        operands = [evidence[probe][name].numpy() for probe in (Weights(), StartWeights(), Gradients())]
        expected = np.empty(score.shape)
        for index in np.ndindex(*score.shape):
            expected[index] = FORMULAS[criterion](*(operand[index] for operand in operands))
        # equal to the last bit: each formula is at most one rounded operation
        assert np.array_equal(score.tensor().numpy(), expected)


def test_golden_numbers():
    w, start, g = torch.tensor([[-2.0, 0.5, -0.25]]), torch.tensor([[-1.5, 2.0, 0.0]]), torch.tensor([[0.5, -4.0, 0.0]])
    evidence = evidence_of(w, start, g)
    golden = {
        Magnitude(): [2, 0.5, 0.25],
        Gradient(): [0.5, 4, 0],
        Taylor(): [1, 2, 0],  # |-2 * 0.5|, |0.5 * -4|, |-0.25 * 0|
        Displacement(): [0.5, 1.5, 0.25],  # |-2 + 1.5|, |0.5 - 2|, |-0.25 - 0|
        LeastMovedNegative(): [0.5, math.inf, 0.25],  # the same, but 0.5 is not negative
    }
    for criterion, expected in golden.items():
        assert criterion(evidence)["w"].tensor().tolist() == [expected]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_weights_are_scored_in_float32(dtype):
    w, g = torch.tensor([1.0078125], dtype=dtype), torch.tensor([1.0078125], dtype=dtype)  # 1 + 2^-7
    score = Taylor()(evidence_of(w, g=g))["w"].tensor()
    assert score.dtype == torch.float32
    assert score.item() == 1 + 2**-6 + 2**-14  # (1 + 2^-7)^2 exactly; bfloat16 would round it to 1 + 2^-6


def test_a_criterion_names_the_evidence_it_misses():
    for criterion in FORMULAS:
        for probe in criterion.needs:
            results = {other: toy_evidence()[other] for other in criterion.needs if other != probe}
            with pytest.raises(MissingEvidence, match=type(probe).__name__):
                criterion(Evidence(results))


def test_operands_must_agree():
    evidence = Evidence({Weights(): {"w": torch.ones(2)}, StartWeights(): {"w": torch.ones(3)}})
    with pytest.raises(MaskMismatch, match=r"\(3,\) and \(2,\)"):
        Displacement()(evidence)
    evidence = Evidence({Weights(): {"fc1.weight": torch.ones(2)}, Gradients(): {"fc1.weigth": torch.ones(2)}})
    with pytest.raises(UnknownName, match=r"did you mean 'fc1\.weigth'"):
        Taylor()(evidence)


@pytest.mark.parametrize("criterion", [Magnitude(), Displacement(), LeastMovedNegative()], ids=str)
def test_a_nan_weight_is_refused_by_the_selection(criterion):
    w = torch.tensor([-1.0, math.nan, -3.0, -2.0])
    with pytest.raises(NotFinite, match="'w'"):
        select(criterion(evidence_of(w, torch.zeros(4))), 2)


def test_scores_see_the_weights_of_now_and_keep_no_copy():
    w = torch.tensor([1.0, 2.0])
    scores = Magnitude()(evidence_of(w))
    w[0] = -5.0
    assert scores["w"].tensor().tolist() == [5.0, 2.0]


def test_scores_of_an_own_formula():
    scores = Scores.elementwise(lambda a, b: a - b, {"w": torch.arange(6.0).reshape(2, 3)}, {"w": torch.ones(2, 3)})
    assert scores["w"].tensor().tolist() == [[-1, 0, 1], [2, 3, 4]]
    assert scores["w"].open()(2, 5).tolist() == [1, 2, 3]


# --- the AP metric on a network ----------------------------------------------------------------------------


@given(seed=st.integers(0, 2**32 - 1), share=st.sampled_from([0.02, 0.3, 1.0]))
def test_the_least_moved_negative_weights_go_first(seed, share):
    evidence = toy_evidence(mlp(inputs=3, hidden=4), dtype=torch.float64, seed=seed)
    weights, start = evidence[Weights()], evidence[StartWeights()]
    host = select(Magnitude()(evidence), 30)  # what a host criterion kept
    candidates = [
        (abs(float(w) - float(s)), position, name, i)
        for position, name in enumerate(weights)
        for i, (w, s) in enumerate(zip(weights[name].reshape(-1), start[name].reshape(-1), strict=True))
        if w < 0 and host[name].reshape(-1)[i]
    ]
    scores = LeastMovedNegative()(evidence)
    assert competing(scores, host) == len(candidates)
    pruned = int(share * len(candidates))
    after = select(scores, host.kept - pruned, within=host)
    # of equal scores the lower index is kept, so the higher goes first
    going = {(name, i) for _, _, name, i in sorted(candidates, key=lambda c: (c[0], -c[1], -c[3]))[:pruned]}
    for name in weights:
        expected = host[name].reshape(-1).clone()
        expected[[i for other, i in going if other == name]] = False
        assert torch.equal(after[name].reshape(-1), expected)


def test_zero_of_either_sign_is_spared():
    scores = LeastMovedNegative()(evidence_of(torch.tensor([0.0, -0.0, -1e-38]), torch.zeros(3)))["w"].tensor()
    assert scores[:2].tolist() == [math.inf, math.inf]
    assert math.isfinite(scores[2])


# --- Random ------------------------------------------------------------------------------------------------


def uniform(size, seed=0, name="w"):
    return Random(seed)(Evidence({Weights(): {name: torch.empty(size)}}))[name]


def test_the_generator_is_splitmix64():
    # the published first outputs of SplitMix64 for the state 1234567
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    expected = [(z >> 11) / 2**53 for z in published]
    assert _uniform(1234567)(1, 5).tolist() == expected  # element 0 is the state itself, mixed


def test_each_element_depends_on_its_index_alone():
    whole = uniform(100_000)
    assert whole.tensor().dtype == torch.float64
    for lo, hi in [(0, 1), (99_999, 100_000), (31_415, 92_653), (7, 7)]:
        assert torch.equal(whole.open()(lo, hi), whole.tensor()[lo:hi])
    assert torch.equal(uniform(10).tensor(), whole.tensor()[:10])
    assert torch.equal(uniform((20, 50)).tensor().reshape(-1), whole.tensor()[:1000])


def test_names_and_seeds_give_other_numbers():
    drawn = [
        uniform(10_000, seed, name).tensor() for seed, name in [(0, "w"), (1, "w"), (0, "v"), (10, "w"), (1, "0:w")]
    ]
    for i, one in enumerate(drawn):
        assert torch.equal(one, uniform(10_000, *[(0, "w"), (1, "w"), (0, "v"), (10, "w"), (1, "0:w")][i]).tensor())
        for other in drawn[:i]:
            # independent uniforms: correlation 0 with deviation 1 / sqrt(10000) = 0.01; five of those
            assert abs(float(torch.corrcoef(torch.stack([one, other]))[0, 1])) < 0.05


@pytest.mark.parametrize("seed", [0, 1, 2**64 + 5])
def test_the_numbers_are_uniform(seed):
    size = 100_000
    drawn = np.sort(uniform(size, seed).tensor().numpy())
    assert drawn[0] >= 0
    assert drawn[-1] < 1
    assert len(np.unique(drawn)) == size  # 2^53 values: a tie among 10^5 has probability 6e-7
    steps = np.arange(size) / size
    distance = max(np.abs(drawn - steps).max(), np.abs(drawn - steps - 1 / size).max())
    assert distance < 1.95 / math.sqrt(size)  # Kolmogorov-Smirnov, one in a thousand; the seeds are fixed
    blocks = uniform(size, seed).tensor().reshape(100, 1000).mean(1)
    # a mean of 1000 uniforms deviates by sqrt(1/12000) = 0.0091; five of those: no block is odd
    assert float((blocks - 0.5).abs().max()) < 0.046


def test_the_same_seed_gives_nested_masks():
    evidence = toy_evidence()
    masks = [select(Random(3)(evidence), keep) for keep in (400, 200, 100)]
    assert masks[2].is_within(masks[1])
    assert masks[1].is_within(masks[0])
    assert select(Random(4)(evidence), 200) != masks[1]


@pytest.mark.parametrize("seed", [-1, 0.5, None, True])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(InvalidValue, match="seed"):
        Random(seed)
