import itertools
import math
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budbreak.errors import InvalidValue
from budbreak.masks import survivors
from budbreak.schedules import Cubic, Decaying, Geometric, OneShot, Progress


@given(rate=st.floats(0.01, 0.5), levels=st.integers(1, 20))
def test_geometric_removes_the_same_share_of_what_remains(rate, levels):
    schedule = Geometric(rate=rate, levels=levels)
    remaining = 1.0
    for level in range(levels + 1):
        # up to 20 multiplications round by 2^-53 each; the density is subtracted from 1 once more
        assert 1 - schedule(Progress(level)) == pytest.approx(remaining, abs=1e-14)
        remaining -= rate * remaining


@given(sparsity=st.floats(0.01, 0.99), levels=st.integers(1, 20))
def test_cubic_is_its_polynomial(sparsity, levels):
    schedule = Cubic(sparsity=sparsity, levels=levels)
    for level in range(levels + 1):
        t = level / levels
        # 1 - (1 - t)^3 = 3t - 3t^2 + t^3: the same polynomial multiplied out; a few roundings of terms up to 3
        assert schedule(Progress(level)) == pytest.approx(sparsity * (3 * t - 3 * t**2 + t**3), abs=1e-14)
    assert float(schedule(Progress(levels))) == sparsity


def by_decimals(density, total):
    """Survivors by the decimal module: nothing here is a float or a fraction."""
    return int((density * total).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


@pytest.mark.parametrize("total", [50, 640, 2_500, 266_200])
def test_counts_are_those_of_decimal_arithmetic(total):
    with localcontext() as context:
        context.prec = 80  # 30 levels of two digits have 60, times a total of 6
        for hundredths in range(1, 100):
            rate = hundredths / 100
            removed = Decimal(hundredths).scaleb(-2)
            levels = min(30, math.floor(-15 / math.log10(1 - rate)))
            for level in range(levels + 1):
                found = survivors(Geometric(rate=rate, levels=levels)(Progress(level)), total)
                assert found == by_decimals((1 - removed) ** level, total), (rate, level)
            for level in range(11):  # tenths: 1 - level / 10 has one digit
                found = survivors(Cubic(sparsity=rate, levels=10)(Progress(level)), total)
                left = 1 - removed * (1 - (1 - Decimal(level).scaleb(-1)) ** 3)
                assert found == by_decimals(left, total), (rate, level)


def test_a_schedule_of_fractions_and_one_of_floats_count_alike():
    assert survivors(Fraction(1, 3), 3) == 2
    assert [survivors(kind(9) / kind(10), 15) for kind in (float, Fraction)] == [2, 2]


def test_golden_numbers():
    # 0.8^12 = 0.068719476736: the 12 prunings of 20 %
    assert Geometric(rate=0.2, levels=12)(Progress(12)) == pytest.approx(1 - 0.068719476736, abs=1e-15)
    # at half time (1 - 1/2)^3 = 1/8 of the way is left: 0.8 * 7/8 = 0.7
    assert Cubic(sparsity=0.8, levels=2)(Progress(1)) == pytest.approx(0.7, abs=1e-15)
    assert [OneShot(sparsity=0.9)(Progress(level)) for level in (0, 1)] == [0.0, 0.9]
    assert OneShot(sparsity=0.9).levels == 1


@pytest.mark.parametrize(
    "schedule", [Geometric(rate=0.2, levels=3), Cubic(sparsity=0.8, levels=3), Decaying(0.8, 3), OneShot(0.5)]
)
def test_steps_and_metrics_change_nothing(schedule):
    assert schedule(Progress(1)) == schedule(Progress(1, step=500, metrics=({"accuracy": 0.1},)))
    assert schedule(Progress(0)) == 0


MAKERS = {
    "rate": lambda value: Geometric(rate=value, levels=2),
    "sparsity": lambda value: Cubic(sparsity=value, levels=2),
    "sparsity  ": lambda value: Decaying(sparsity=value, levels=2),
    "decay": lambda value: Decaying(sparsity=0.8, levels=2, decay=value),
    "sparsity ": lambda value: OneShot(sparsity=value),
}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("value", [0, 0.0, 1, 1.0, -0.2, math.nan, math.inf, True, "0.2", None])
def test_a_fraction_outside_its_range_is_refused(name, value):
    with pytest.raises(InvalidValue) as caught:
        MAKERS[name](value)
    fix = "write 0.2" if value == "0.2" else "write a share such as 0.2"  # 1 is no percentage
    assert str(caught.value).splitlines() == [f"{name.strip()} is {value!r}", "it must be a number in (0, 1)", fix]


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize(("value", "hint"), [(20, "0.2"), (99.5, "0.995"), (1.5, "0.015")])
def test_a_percentage_is_answered_with_the_fraction(name, value, hint):
    with pytest.raises(InvalidValue, match=f"a percentage\\? write {hint}$"):
        MAKERS[name](value)


@pytest.mark.parametrize("levels", [0, -1, 1.5, True, "3", None])
@pytest.mark.parametrize(
    "make", [lambda n: Geometric(rate=0.2, levels=n), lambda n: Cubic(0.5, n), lambda n: Decaying(0.5, n)]
)
def test_levels_are_a_whole_number(make, levels):
    with pytest.raises(InvalidValue, match="levels is"):
        make(levels)


def test_a_schedule_that_would_leave_nothing_is_refused():
    assert Geometric(rate=0.9, levels=15)(Progress(15)) < 1
    with pytest.raises(InvalidValue, match="leaves nothing"):
        Geometric(rate=0.9, levels=17)


# Ganguli & Chong: shares of all weights in per cent, per pruning, from the authors' formula; b = 0.2
TABLE = [
    (5, 80, "23.798 19.039 15.231 12.185 9.748"),
    (5, 85, "25.286 20.228 16.183 12.946 10.357"),
    (5, 90, "26.773 21.418 17.135 13.708 10.966"),
    (10, 80, "17.925 14.340 11.472 9.177 7.342 5.874 4.699 3.759 3.007 2.406"),
    (10, 90, "20.165 16.132 12.906 10.325 8.260 6.608 5.286 4.229 3.383 2.707"),
]


@pytest.mark.parametrize(("levels", "percent", "shares"), TABLE)
def test_decaying_removes_the_shares_of_the_published_table(levels, percent, shares):
    schedule = Decaying(sparsity=percent / 100, levels=levels)
    reached = [schedule(Progress(level)) for level in range(levels + 1)]
    assert (reached[0], reached[-1]) == (0, Fraction(percent, 100))
    removed = [f"{100 * float(now - before):.3f}" for before, now in itertools.pairwise(reached)]
    assert removed == shares.split()


def test_decaying_counts_weights_of_the_whole():
    total = 320_700  # kernel weights, the output's 500 among them
    removed = [total - survivors(Decaying(0.8, 5)(Progress(level)), total) for level in range(1, 6)]
    assert removed[-1] == 256_560  # 80 %; the authors round each pruning down, and lose up to one weight in each
    shares = [80 * 0.8**k / sum(0.8**i for i in range(5)) for k in range(5)]
    paper = list(itertools.accumulate(math.floor(total * share / 100) for share in shares))
    assert all(0 <= ours - theirs <= level for level, (ours, theirs) in enumerate(zip(removed, paper, strict=True), 1))
