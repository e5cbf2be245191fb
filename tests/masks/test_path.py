import decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budbreak.errors import InvalidValue
from budbreak.masks import exponential_path


def in_decimals(alive, keep, rounds):
    """The formula in 60 decimal digits: an independent form."""
    with decimal.localcontext() as context:
        context.prec = 60
        share = decimal.Decimal(keep) / decimal.Decimal(alive)
        steps = (decimal.Decimal(alive) * share ** (decimal.Decimal(i) / rounds) for i in range(1, rounds + 1))
        return tuple(int(step.to_integral_value(decimal.ROUND_HALF_EVEN)) for step in steps)


def test_golden_numbers():
    # 1000 * 0.01 ** (1/4) = 316.2, ** (2/4) = 100, ** (3/4) = 31.6, ** 1 = 10
    assert exponential_path(1000, 10, 4) == (316, 100, 32, 10)
    assert exponential_path(7, 3, 1) == (3,)
    assert exponential_path(5, 5, 3) == (5, 5, 5)
    assert exponential_path(5, 0, 2) == (0, 0)
    assert exponential_path(0, 0, 2) == (0, 0)


@given(st.integers(1, 10**12), st.floats(0, 1), st.integers(1, 120))
def test_each_count_is_the_formula_and_nothing_revives(alive, share, rounds):
    keep = max(1, int(alive * share))
    path = exponential_path(alive, keep, rounds)
    assert path == in_decimals(alive, keep, rounds)
    assert len(path) == rounds
    assert path[-1] == keep
    assert all(after <= before for before, after in zip((alive, *path), path, strict=False))


def test_a_hundred_thousand_rounds_are_counted_at_once_and_halves_exactly():
    path = exponential_path(1000, 10, 100_000)  # took minutes in whole numbers alone
    assert path[:2] == (1000, 1000)
    assert [path[place - 1] for place in (25_000, 50_000, 75_000)] == [316, 100, 32]
    for n in (10, 10**5, 10**8):  # the root of n (n + 1) is n + 1/2 - 1 / (8 n)
        assert exponential_path(n + 1, n, 2)[0] == n


def test_counts_beyond_a_float_are_exact():
    alive = 10**18 + 57  # a float holds 53 bits of its 60
    assert exponential_path(alive, alive - 1, 1) == (alive - 1,)
    assert exponential_path(alive, alive, 3) == (alive,) * 3


@pytest.mark.parametrize(
    ("alive", "keep", "rounds", "words"),
    [
        (5, 6, 1, "keep is 6\nonly 5 are alive"),
        (5, -1, 1, "keep is -1"),
        (5, 1, 0, "rounds is 0"),
        (5.0, 1, 1, r"alive is 5\.0"),
    ],
)
def test_other_numbers_are_refused(alive, keep, rounds, words):
    with pytest.raises(InvalidValue, match=words):
        exponential_path(alive, keep, rounds)
