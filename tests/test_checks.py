"""What a number must be, and what to write for the nearest mistakes."""

import numpy as np
import pytest
import torch

from budbreak.checks import check_count, check_fraction
from budbreak.errors import InvalidValue


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
