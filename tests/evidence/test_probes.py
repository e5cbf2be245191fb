import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from budbreak.errors import InvalidValue
from budbreak.evidence import UnitCounts, count_active

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]
# 0.1 and 1/3 lie between two values of every binary format; 1e-50 and 1e-46 under the smallest float32,
# 1e-7 under float16's, 70000 over its largest, 1e39 over float32's
THRESHOLDS = [0.0, 1e-50, 1e-46, 1e-7, 0.1, 1 / 3, 0.5, 1.0, 70_000.0, 1e39]


def naive(rows, threshold):
    """One comparison at a time, in double precision, which holds every value of every format."""
    counts = [0] * rows.shape[1]
    for row in rows.double().tolist():
        for column, value in enumerate(row):
            counts[column] += math.isnan(value) or abs(value) > threshold
    return counts


def around(threshold, dtype):
    """The values of the format next to the threshold, both signs, and the special ones."""
    nearest = torch.tensor([threshold], dtype=dtype)
    up, down = torch.full_like(nearest, math.inf), torch.full_like(nearest, -math.inf)
    near = torch.cat([nearest, torch.nextafter(nearest, up), torch.nextafter(nearest, down)])
    special = torch.tensor([0.0, -0.0, math.inf, -math.inf, math.nan, 1.0, -1.0, 2.0], dtype=dtype)
    return torch.cat([near, -near, special])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_values_next_to_the_threshold_fall_on_the_right_side(dtype, threshold):
    rows = around(threshold, dtype).reshape(1, -1)
    assert count_active(rows, threshold).tolist() == naive(rows, threshold)
    assert count_active(rows.T, threshold).tolist() == naive(rows.T, threshold)


@pytest.mark.parametrize("dtype", DTYPES)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.sampled_from([1, 2, 254, 255, 256, 257, 510, 511, 600]),
    threshold=st.sampled_from(THRESHOLDS),
)
def test_counts_are_those_of_the_naive_loop(dtype, seed, rows, threshold):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(rows, 3, generator=generator)
    values[torch.rand(rows, 3, generator=generator) < 0.3] = 0.0
    values[torch.rand(rows, 3, generator=generator) < 0.1] = -0.0
    values = values.to(dtype)
    assert count_active(values, threshold).tolist() == naive(values, threshold)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [255, 256, 511, 70_000])
def test_counts_beyond_a_byte_do_not_wrap(dtype, rows):
    values = torch.ones(rows, 2, dtype=dtype)
    values[0, 1] = 0
    assert count_active(values, 0.0).tolist() == [rows, rows - 1]


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_is_active_and_negative_zero_is_not(dtype):
    rows = torch.tensor([[math.nan, -0.0, -math.inf, 0.0, -3.0]], dtype=dtype)
    for threshold in (0.0, 2.0):
        assert count_active(rows, threshold).tolist() == [1, 0, 1, 0, 1]


@pytest.mark.parametrize("dtype", DTYPES)
def test_denormals_are_active(dtype):
    assert count_active(torch.tensor([[torch.finfo(dtype).smallest_normal / 4]], dtype=dtype), 0.0).tolist() == [1]


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_may_lie_anywhere_in_memory(dtype):
    whole = (torch.arange(60).reshape(6, 10) % 4 == 0).to(dtype)
    for rows in (whole.T, whole[:, ::2], whole[1::2], whole.expand(6, 10)):
        before = rows.clone()
        assert count_active(rows, 0.0).tolist() == naive(rows, 0.0)
        assert torch.equal(rows, before)


@pytest.mark.parametrize("shape", [(0, 3), (4, 0), (0, 0)])
def test_nothing_counts_nothing(shape):
    counts = count_active(torch.empty(shape), 0.0)
    assert counts.dtype == np.int64
    assert counts.tolist() == [0] * shape[1]


@pytest.mark.parametrize("threshold", [-0.1, math.nan, math.inf])
def test_a_threshold_is_finite_and_not_negative(threshold):
    with pytest.raises(InvalidValue, match="threshold"):
        UnitCounts(threshold)
