"""Cells compared: paired by seed, corrected by Holm, judged by one rule."""

import pytest
from made_cells import made_study
from scipy import stats

from reproductions.judging import SINGLE, expected_by_chance, judge, sentence, verdict_table
from reproductions.study import Study

ACCURACY = "test_accuracy"
HOST = [[0.9, 0.80, 0.70], [0.9, 0.81, 0.72], [0.9, 0.79, 0.71]]
BETTER = [[0.9, 0.9001, 0.8002], [0.9, 0.9100, 0.8201], [0.9, 0.8902, 0.8100]]  # by about 0.1
LIKE = [[0.9, 0.81, 0.69], [0.9, 0.80, 0.73], [0.9, 0.80, 0.70]]


def test_differences_are_paired_by_seed_and_corrected_over_all():
    study = made_study({"a": HOST, "a-ap": BETTER, "b": HOST, "b-ap": LIKE})
    rows = study.differences(study.pairs(), ACCURACY)
    assert [(row.arm, row.reference, row.level, row.n) for row in rows] == [
        ("a-ap", "a", 1, 3), ("a-ap", "a", 2, 3), ("b-ap", "b", 1, 3), ("b-ap", "b", 2, 3),
    ]  # fmt: skip
    ours = [stats.ttest_rel([r[level] for r in two], [r[level] for r in HOST]).pvalue for two, level in (
        (BETTER, 1), (BETTER, 2), (LIKE, 1), (LIKE, 2))]  # fmt: skip
    assert [row.p for row in rows] == pytest.approx(ours)
    smallest = min(range(4), key=ours.__getitem__)
    assert rows[smallest].p_adjusted == pytest.approx(4 * ours[smallest])
    assert rows[0].mean == pytest.approx((0.1001 + 0.1 + 0.1002) / 3)


def test_only_seeds_that_both_have_are_compared():
    study = made_study({"a": HOST, "a-ap": BETTER[:2]}, seeds=3)
    assert {row.n for row in study.differences(study.pairs(), ACCURACY)} == {2}
    (verdict,) = judge(study, study.pairs())
    assert verdict.power == "2 of 3"
    assert study.missing == [("a-ap", [2])]


def test_seeds_that_differ_by_the_same_have_no_p():
    host = [[0.9, 0.3, 0.5], [0.9, 0.7, 0.5], [0.9, 0.81, 0.5]]
    up = [[row[0], row[1] + 0.1, row[2] + 0.01 * seed] for seed, row in enumerate(host)]
    assert len({after[1] - before[1] for after, before in zip(up, host, strict=True)}) > 1  # the last bits differ
    study = made_study({"a": host, "a-ap": up})
    first, second = study.differences(study.pairs(), ACCURACY)
    assert (round(first.mean, 9), first.p, first.p_adjusted) == (0.1, None, None)
    assert second.p == second.p_adjusted  # the only one left to correct


def test_the_mean_over_densities_gives_one_number_a_seed():
    study = made_study({"a": HOST, "a-ap": BETTER})
    ((pair, mean, p),) = study.pooled(study.pairs(), ACCURACY)
    per_seed = [(b[1] - h[1] + b[2] - h[2]) / 2 for b, h in zip(BETTER, HOST, strict=True)]
    expected = stats.ttest_1samp(per_seed, 0)
    assert (pair, mean.n) == (("a-ap", "a"), 3)
    assert mean.mean == pytest.approx(sum(per_seed) / 3)
    assert p == pytest.approx(expected.pvalue)
    assert (mean.low, mean.high) == pytest.approx(tuple(expected.confidence_interval()))


def worse(rows):
    return [[row[0], *(2 * host - own for own, host in zip(row[1:], base[1:], strict=True))] for row, base in zip(
        rows, HOST, strict=True)]  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "outcome"),
    [(BETTER, "helped"), (worse(BETTER), "hurt"), (LIKE, "no difference shown"), (BETTER[:1], SINGLE)],
    ids=["better", "worse", "alike", "one seed"],
)
def test_verdicts(rows, outcome):
    study = made_study({"a": HOST, "a-ap": rows})
    verdicts = judge(study, study.pairs())
    assert [verdict.outcome for verdict in verdicts] == [outcome]
    assert outcome in verdict_table(verdicts)
    assert f"{outcome}: a-ap" in sentence(verdicts, "toys")


def test_an_arm_may_help_here_and_hurt_there():
    mixed = [[b[0], b[1], 2 * h[2] - b[2]] for b, h in zip(BETTER, HOST, strict=True)]
    study = made_study({"a": HOST, "a-ap": mixed})
    (verdict,) = judge(study, study.pairs())
    assert verdict.outcome == "helped and hurt"
    assert (verdict.apart(1), verdict.apart(-1)) == ([0.5], [0.25])
    assert "Of 2 uncorrected 95 % intervals 1 lie above zero and 1 below" in expected_by_chance([verdict])


def test_the_sentence_says_how_large_a_difference_may_be():
    study = made_study({"a": HOST, "a-ap": LIKE})
    rows = study.differences(study.pairs(), ACCURACY)
    text = sentence(judge(study, study.pairs()), "toys")
    highest = max(rows, key=lambda row: row.high)
    assert f"the highest upper end {100 * highest.high:+.2f} points (a-ap at" in text


def test_tables_show_the_levels_nearest_to_round_densities():
    study = made_study({"a": [[0.9] * 6]})
    assert [round(study.density[level], 3) for level in study.shown] == [0.5, 0.031]  # 0.25 is not near 0.2
    assert study.shown == [1, 5]


def test_arms_without_cells_are_missing():
    study = Study("made", {"a": None, "b": None}, 2, made_study({"a": HOST[:1]}).cells)
    assert study.missing == [("a", [1]), ("b", [0, 1])]
    assert study.arms == ["a"]


def test_the_sentence_says_what_an_arm_is_compared_with_where_that_is_not_clear():
    study = made_study({"a": HOST, "b": HOST, "a-ap": LIKE})
    text = sentence(judge(study, [("a-ap", "a"), ("a-ap", "b"), ("b", "a")]), "toys")
    assert "a-ap against a, a-ap against b and b." in text
