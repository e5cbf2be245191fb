import math

import numpy as np
import pytest
from scipy import stats

from budbreak.errors import InvalidValue
from budbreak.results.intervals import estimate, holm, p_value, welch


def spread(n):
    return np.random.default_rng(n).normal(0.3, 1.0, n).tolist()


@pytest.mark.parametrize("n", [2, 3, 4, 5, 10, 31, 201])
def test_interval_and_p_are_those_of_scipys_t_test(n):
    values = spread(n)
    expected = stats.ttest_1samp(values, 0.0)
    low, high = expected.confidence_interval(0.95)
    found = estimate(values)
    assert (found.n, found.mean) == (n, pytest.approx(np.mean(values), rel=1e-12))
    assert (found.low, found.high, found.p) == pytest.approx((low, high, expected.pvalue), rel=1e-9)


def test_p_of_differences_is_that_of_the_paired_test():
    host, other = spread(6), spread(7)[:6]
    assert p_value([b - a for a, b in zip(host, other, strict=True)]) == pytest.approx(
        stats.ttest_rel(other, host).pvalue, rel=1e-9
    )


def test_one_value_has_neither_interval_nor_p():
    found = estimate([1.0])
    assert (found.low, found.high, found.p) == (None, None, None)


@pytest.mark.parametrize(
    ("values", "p"),
    [
        ([0.0] * 3, 1.0),
        ([0.0, -0.0], 1.0),
        ([0.1] * 3, None),
        ([-0.1] * 5, None),
        ([0.98 - 0.97, 0.97 - 0.96], None),
        ([], None),
    ],
)
def test_p_without_spread(values, p):
    """0.1 three times is why they are compared with each other: their mean is 0.10000000000000002, by floats."""
    assert p_value(values) == p


def test_what_is_no_number_gives_no_p():
    assert math.isnan(estimate([0.1, math.nan, 0.2]).p)


def test_holm_by_hand():
    # sorted 0.01 0.02 0.03 0.04 times 4 3 2 1: 0.04 0.06 0.06 0.04; the last is raised to the one before it
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.4, 0.6]) == pytest.approx([0.8, 0.8])
    assert holm([0.9, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize(
    ("raw", "expected"),
    [  # what statsmodels tests its "holm" against: R's package multtest; the last one to 6 digits
        ([0.002, 0.004, 0.006, 0.008, 0.01, 0.012], [0.012, 0.02, 0.024, 0.024, 0.024, 0.024]),
        (
            [0.001, 0.002, 0.003, 0.004, 0.005, 0.05, 0.06, 0.07, 0.08, 0.09],
            [0.01, 0.018, 0.024, 0.028, 0.03, 0.25, 0.25, 0.25, 0.25, 0.25],
        ),
        (
            [
                0.838541,
                0.642193,
                0.680845,
                0.967833,
                0.716269,
                0.177096,
                5.23656777e-5,
                0.0202732,
                0.0002814,
                0.0149877,
            ],
            [1.0] * 6 + [5.23656777e-4, 0.1419124, 0.0025326, 0.1199016],
        ),
    ],
)
def test_holm_is_that_of_multtest(raw, expected):
    assert holm(raw) == pytest.approx(expected, rel=1e-12)
    assert holm(raw[::-1]) == pytest.approx(expected[::-1], rel=1e-12)


@pytest.mark.parametrize("wrong", [-0.1, 1.1, math.nan])
def test_holm_refuses_what_is_no_p_value(wrong):
    with pytest.raises(InvalidValue, match="leave out what has no p-value"):
        holm([0.01, wrong, 0.5])


@pytest.mark.parametrize(("own", "reference"), [([0.1, 0.4, 0.2], [0.3, 0.1]), ([1.0, 2.0], [5.0, 5.5, 5.0, 4.0])])
def test_two_groups_are_compared_as_scipy_does(own, reference):
    found, expected = welch(own, reference), stats.ttest_ind(own, reference, equal_var=False)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()))
    assert (found.n, found.mean, found.p) == (
        2,
        pytest.approx(np.mean(own) - np.mean(reference)),
        pytest.approx(expected.pvalue),
    )


def test_two_groups_without_spread_have_no_p():
    assert welch([0.5, 0.5], [0.2, 0.2]).p is None
    assert welch([0.5, 0.5], [0.5, 0.5]).p == 1.0
