import numpy as np
import pytest
from scipy import stats

from budbreak.errors import InvalidValue
from budbreak.studies import LevelResult, estimate
from budbreak.studies.compare import METRICS, paired_differences
from budbreak.studies.intervals import t_quantile


def level(arm: str, seed: int, *, accuracy: float, kept: int = 80, number: int = 1) -> LevelResult:
    metrics = {**dict.fromkeys(METRICS, 0.0), "test_accuracy": accuracy}
    return LevelResult(
        arm, seed, number, kept, 100, kept / 100, kept / 100, 1, 1, 1.0, metrics, {}, layers=(), curve=()
    )


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 9, 30, 59, 200])
def test_the_t_quantile_is_scipys(freedom):
    assert t_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-9)


def test_the_interval_is_scipys():
    values = [0.3, -0.1, 0.4, 0.25, 0.0]
    low, high = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    found = estimate(values)
    assert (found.n, found.mean) == (5, pytest.approx(0.17))
    assert (found.low, found.high) == (pytest.approx(low, rel=1e-9), pytest.approx(high, rel=1e-9))


def test_one_value_has_no_interval():
    assert (estimate([1.0]).low, estimate([1.0]).high) == (None, None)


def test_differences_are_paired_by_seed():
    # seed effects of 10 points cancel: the differences are 1, 2 and 3 points
    levels = [level("host", s, accuracy=0.5 + 0.1 * s) for s in range(3)]
    levels += [level("ap-lite", s, accuracy=0.5 + 0.1 * s + 0.01 * (s + 1)) for s in range(3)]
    (row,) = [d for d in paired_differences(levels, ("host", "ap-lite")) if d.metric == "test_accuracy"]
    low, high = stats.t.interval(0.95, 2, loc=0.02, scale=0.01 / np.sqrt(3))
    assert (row.n, row.mean) == (3, pytest.approx(0.02))
    assert (row.low, row.high) == (pytest.approx(low), pytest.approx(high))


def test_a_seed_that_only_one_arm_has_is_left_out():
    levels = [level("host", 0, accuracy=0.5), level("host", 1, accuracy=0.9), level("ap-lite", 0, accuracy=0.6)]
    (row,) = [d for d in paired_differences(levels, ("host", "ap-lite")) if d.metric == "test_accuracy"]
    assert (row.n, row.mean, row.low, row.high) == (1, pytest.approx(0.1), None, None)


def test_unequal_survivors_are_refused():
    levels = [level("host", 0, accuracy=0.5, kept=80), level("ap-lite", 0, accuracy=0.5, kept=79)]
    words = r"arm host keeps 80 of \d+ weights, ap-lite 79 of \d+\n.*plans of these count differently"
    with pytest.raises(InvalidValue, match=words) as caught:
        paired_differences(levels, ("host", "ap-lite"))
    assert "defect" not in str(caught.value)
