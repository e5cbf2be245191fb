import numpy as np
import pytest
from scipy import stats

from budbreak.errors import InvalidValue
from budbreak.studies import LevelResult
from budbreak.studies.compare import METRICS, paired_differences


def level(arm: str, seed: int, *, accuracy: float, kept: int = 80, number: int = 1) -> LevelResult:
    metrics = {**dict.fromkeys(METRICS, 0.0), "test_accuracy": accuracy}
    return LevelResult(
        arm, seed, number, kept, 100, kept / 100, kept / 100, 1, 1, 1.0, metrics, {}, layers=(), curve=()
    )


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
