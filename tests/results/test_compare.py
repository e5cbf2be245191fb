from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from budbreak.diagnostics import Quantity
from budbreak.errors import CorruptFile, InvalidValue
from budbreak.results import ArmResult, EpochResult, LayerResult, LevelResult, RunResult, between, load_result
from budbreak.results.compare import paired_differences
from budbreak.results.intervals import holm

ACCURACY, DEAD = Quantity("test_accuracy", "test accuracy", "share"), Quantity("dead_units_total", "total DNR", "share")
PAIR = (ArmResult("host", None, {}), ArmResult("ap", "host", {"prune.then": ["ap"]}))


def level(arm: str, seed: int, accuracy: float, *, kept: int = 80, number: int = 1, **numbers: float) -> LevelResult:
    numbers = {"test_accuracy": accuracy, **numbers}
    return LevelResult(
        arm, seed, number, kept, 100, kept / 100, kept / 100, 1, 1, 1.0, numbers, {}, layers=(), curve=()
    )


def test_differences_are_paired_by_seed():
    # seed effects of 10 points cancel: the differences are 1, 2 and 3 points
    levels = [level("host", s, 0.5 + 0.1 * s) for s in range(3)]
    levels += [level("ap", s, 0.5 + 0.1 * s + 0.01 * (s + 1)) for s in range(3)]
    (row,) = paired_differences(levels, PAIR, [ACCURACY])
    expected = stats.ttest_rel([b.numbers["test_accuracy"] for b in levels[3:]], [0.5, 0.6, 0.7])
    low, high = expected.confidence_interval()
    assert (row.arm, row.reference, row.quantity, row.n) == ("ap", "host", "test_accuracy", 3)
    assert (row.mean, row.low, row.high, row.p) == pytest.approx((0.02, low, high, expected.pvalue))
    assert row.p_adjusted == row.p  # one difference needs no correction


def test_a_seed_that_only_one_arm_has_is_left_out():
    levels = [level("host", 0, 0.5), level("host", 1, 0.9), level("ap", 0, 0.6)]
    (row,) = paired_differences(levels, PAIR, [ACCURACY])
    assert (row.n, row.mean) == (1, pytest.approx(0.1))
    assert (row.low, row.high, row.p, row.p_adjusted) == (None,) * 4


def noisy(arms, levels, seeds=4):
    draw = np.random.default_rng(0).normal
    return [
        level(arm, s, 0.5 + 0.02 * draw(), number=n, dead_units_total=0.3 + draw() / 99)
        for arm in arms
        for n in levels
        for s in range(seeds)
    ]


def test_each_arm_is_compared_with_its_own_reference():
    arms = (*PAIR, ArmResult("lamp", None, {}), ArmResult("lamp-ap", "lamp", {}), ArmResult("odd", "ap", {}))
    rows = paired_differences(noisy([arm.name for arm in arms], [1]), arms, [ACCURACY])
    assert [(row.arm, row.reference) for row in rows] == [("ap", "host"), ("lamp-ap", "lamp"), ("odd", "ap")]


def test_holm_corrects_over_all_arms_and_levels_of_one_quantity():
    arms = (*PAIR, ArmResult("lamp", "host", {}))
    rows = paired_differences(noisy(["host", "ap", "lamp"], [1, 2, 3]), arms, [ACCURACY, DEAD])
    assert len(rows) == 2 * 2 * 3
    for name in ("test_accuracy", "dead_units_total"):
        own = [row for row in rows if row.quantity == name]
        assert [row.p_adjusted for row in own] == holm([row.p for row in own])
        assert min(row.p_adjusted for row in own) == min(1.0, 6 * min(row.p for row in own))


def test_a_dense_level_that_is_one_training_is_not_compared():
    levels = noisy(["host"], [0, 1])
    same = [replace(row, arm="ap", shared=True) for row in levels if row.level == 0]
    rows = paired_differences([*levels, *same, *noisy(["ap"], [1])], PAIR, [ACCURACY])
    assert [row.level for row in rows] == [1]
    assert rows[0].p_adjusted == rows[0].p


def test_dense_levels_of_other_trainings_are_compared():
    rows = paired_differences(noisy(["host", "ap"], [0]), PAIR, [ACCURACY])
    assert [row.level for row in rows] == [0]


def test_equal_numbers_at_a_pruned_level_are_a_difference_of_nothing():
    levels = noisy(["host"], [1])
    (row,) = paired_differences([*levels, *(replace(row, arm="ap") for row in levels)], PAIR, [ACCURACY])
    assert (row.mean, row.p, row.p_adjusted) == (0.0, 1.0, 1.0)


def test_what_an_arm_lacks_or_what_is_no_number_has_no_place_in_the_family():
    levels = noisy(["host", "ap"], [1, 2])
    gone = [
        row if (row.arm, row.level) != ("ap", 2) else replace(row, numbers={"test_accuracy": 0.5}) for row in levels
    ]
    assert [row.level for row in paired_differences(gone, PAIR, [DEAD])] == [1]
    broken = [
        replace(row, numbers={**row.numbers, "test_accuracy": float("nan")}) if row.level == 2 else row
        for row in levels
    ]
    one, two = paired_differences(broken, PAIR, [ACCURACY])
    assert one.p_adjusted == one.p
    assert (two.p, two.p_adjusted) == (None, None)


def test_unequal_survivors_are_refused():
    levels = [level("host", 0, 0.5, kept=80), level("ap", 0, 0.5, kept=79)]
    words = r"arm host keeps 80 of \d+ weights, ap 79 of \d+\n.*plans of these count differently"
    with pytest.raises(InvalidValue, match=words) as caught:
        paired_differences(levels, PAIR, [ACCURACY])
    assert "defect" not in str(caught.value)


def test_unequal_survivors_of_arms_that_nobody_compares_are_fine():
    levels = [level("host", 0, 0.5, kept=80), level("ap", 0, 0.5, kept=79)]
    assert paired_differences(levels, (PAIR[0], replace(PAIR[1], reference=None)), [ACCURACY]) == []


def whole_run(**changes):
    levels = tuple(noisy(["host", "ap"], [0, 1]))
    layers = (LayerResult("fc.weight", 80, 100, {"dead_units_total": 0.5}),)
    curve = (EpochResult(0, {"test_accuracy": 0.1}),)
    levels = tuple(replace(row, layers=layers, curve=curve) for row in levels)
    differences = tuple(paired_differences(levels, PAIR, [ACCURACY, DEAD]))
    quantities = (ACCURACY, DEAD)
    recipe = {"prune": {"criterion": "magnitude"}, "arms": {"ap": {"prune.then": ["ap"]}}}
    run = RunResult("r", "id", recipe, {}, PAIR, (0, 1, 2, 3), True, 1.0, quantities, levels, differences)
    return replace(run, **changes)


def test_a_result_is_read_as_it_was_written(tmp_path):
    run = whole_run()
    run.save(tmp_path)
    assert load_result(tmp_path, identity="id") == run


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"arms": (PAIR[0], replace(PAIR[1], reference="gone"))}, "refer to others"),
        ({"arms": (PAIR[0], PAIR[0], PAIR[1])}, "refer to others"),
        ({"arms": (PAIR[0], replace(PAIR[1], reference=None))}, "its differences are not those of its arms"),
        ({"quantities": (ACCURACY,)}, "numbers that it does not explain: dead_units_total"),
        ({"seeds": (0,)}, "its levels are not those"),
        ({"seconds": float("inf")}, "a duration is no number"),
    ],
)
def test_a_result_that_no_run_wrote_is_refused(tmp_path, changes, words):
    whole_run(**changes).save(tmp_path)
    with pytest.raises(CorruptFile, match=words):
        load_result(tmp_path)


def run_of(name: str, levels: list[LevelResult], *, network: str = "mlp") -> RunResult:
    arms = tuple(ArmResult(arm, None, {}) for arm in dict.fromkeys(row.arm for row in levels))
    recipe = {"arms": {arm.name: {"network": {"name": network}} for arm in arms}}
    seeds = tuple(sorted({row.seed for row in levels}))
    return RunResult(name, name * 64, recipe, {}, arms, seeds, True, 1.0, (ACCURACY,), tuple(levels), ())


def from_dense(arm: str, gain: float, *, steps: int = 1, seeds: int = 4) -> list[LevelResult]:
    """A dense training that is the same for all arms, and a level that gains, with noise of its own."""
    dense = [replace(row, arm=arm, steps=steps) for row in noisy(["dense"], [0], seeds)]
    return [*dense, *(level(arm, s, 0.5 + 0.1 * s + gain * (1 + s / 9)) for s in range(seeds))]


def test_arms_of_several_runs_are_paired_where_their_dense_trainings_agree():
    one, other = from_dense("host", 0), [*from_dense("host", 0.01), *from_dense("new", 0.02)]
    run = between([run_of("a", one), run_of("b", other)])
    assert [(row.arm, row.reference, row.level) for row in run.differences] == [
        ("b: host", "a: host", 1),
        ("b: new", "a: host", 1),  # no arm of its name: the first
    ]
    values = [0.01 * (1 + s / 9) for s in range(4)]
    found, expected = run.differences[0], stats.ttest_1samp(values, 0)
    assert (found.n, found.n_reference, found.mean) == (4, None, pytest.approx(np.mean(values)))
    assert found.p == pytest.approx(expected.pvalue)
    assert [row.p_adjusted for row in run.differences] == holm([row.p for row in run.differences])
    assert run.name == "a and b"


@pytest.mark.parametrize("why", ["steps", "numbers", "recipe", "none"])
def test_arms_of_other_dense_trainings_are_compared_as_two_groups(why):
    one, other = from_dense("host", 0), from_dense("host", 0.01, steps=2 if why == "steps" else 1, seeds=3)
    if why == "numbers":
        other[0] = replace(other[0], numbers={"test_accuracy": 0.123})
    if why == "none":
        one, other = ([row for row in rows if row.level] for rows in (one, other))
    run = between([run_of("a", one), run_of("b", other, network="mlp" if why != "recipe" else "lenet-5")])
    assert [row.level for row in run.differences] == [0, 1][why == "none" :]
    found = run.differences[-1]
    groups = [[row.numbers["test_accuracy"] for row in rows if row.level] for rows in (other, one)]
    expected = stats.ttest_ind(*groups, equal_var=False)
    low, high = expected.confidence_interval()
    assert (found.n, found.n_reference, found.mean) == (3, 4, pytest.approx(np.mean(groups[0]) - np.mean(groups[1])))
    assert (found.low, found.high, found.p) == pytest.approx((low, high, expected.pvalue))


def test_arms_of_several_runs_that_keep_other_numbers_of_weights_are_not_compared():
    one, other = from_dense("host", 0), [replace(row, kept=79) if row.level else row for row in from_dense("host", 0)]
    assert between([run_of("a", one), run_of("b", other)]).differences == ()


def test_runs_of_one_name_are_told_apart():
    runs = [run_of("a", from_dense("host", 0))] * 2
    assert between(runs).arm_names == ("a (aaaaaaaa) #1: host", "a (aaaaaaaa) #2: host")
