"""What a number must be, and what to write for the nearest mistakes."""

import numpy as np
import pytest
import torch

from budbreak.checks import check_count, check_fraction, check_known, check_not_negative
from budbreak.errors import InvalidValue, UnknownName


@pytest.mark.parametrize(
    ("value", "fix"),
    [
        ("0.2", "write 0.2"),
        ("20%", "a percentage? write 0.2"),
        ("20 %", "a percentage? write 0.2"),
        ("20", "a percentage? write 0.2"),
        (20, "a percentage? write 0.2"),
        (np.float32(0.5), "write 0.5"),
        (torch.tensor(0.25), "write 0.25"),
        (torch.rand(3), "write a share such as 0.2"),
        (None, "write a share such as 0.2"),
        (True, "write a share such as 0.2"),
        (float("nan"), "write a share such as 0.2"),
        (100, "write a share such as 0.2"),
        (-0.5, "write a share such as 0.2"),
        ("abc", "write a share such as 0.2"),
    ],
)
def test_what_is_no_share_is_refused_with_the_share_that_was_meant(value, fix):
    with pytest.raises(InvalidValue) as caught:
        check_fraction("rate", value, zero=False)
    assert (caught.value.rule, caught.value.fix) == ("it must be a number in (0, 1)", fix)


@pytest.mark.parametrize(
    ("value", "fix"),
    [(5.0, "write 5"), ("5", "write 5"), (np.int64(7), "write 7"), (-3, "write 1"), (0, "write 1"), (None, "write 1")],
)
def test_what_is_no_count_is_refused_with_the_count_that_was_meant(value, fix):
    with pytest.raises(InvalidValue) as caught:
        check_count("levels", value)
    assert (caught.value.rule, caught.value.fix) == ("it must be a whole number >= 1", fix)


def test_a_loader_for_a_count_is_quoted_in_one_line():
    with pytest.raises(InvalidValue) as caught:
        check_count("count", [(torch.rand(20, 20), torch.zeros(20))])
    assert len(caught.value.value) < 100
    assert "\n" not in caught.value.value


@pytest.mark.parametrize("value", [0, 0.0, 3, 0.5, np.float32(0.5), np.int64(2), 1e300])
def test_what_is_finite_and_not_negative_passes(value):
    check_not_negative("threshold", value, "write 0.0")


@pytest.mark.parametrize("value", [-1e-9, float("nan"), float("inf"), True, "1", None, torch.rand(2)])
def test_what_is_negative_infinite_or_no_number_is_refused(value):
    with pytest.raises(InvalidValue, match=r"threshold is .*\nit must be a finite number >= 0\nwrite 0\.0"):
        check_not_negative("threshold", value, "write 0.0")


def test_an_unknown_name_is_refused_with_the_choices_and_the_nearest():
    check_known("device is 'cpu'", "cpu", ("cpu", "cuda"))
    with pytest.raises(UnknownName) as caught:
        check_known("device is 'cud'", "cud", ("cpu", "cuda"))
    assert str(caught.value) == "device is 'cud'\nit is one of 'cpu', 'cuda'\ndid you mean 'cuda'?"
    with pytest.raises(UnknownName, match="device is 3"):
        check_known("device is 3", 3, ("cpu", "cuda"))
