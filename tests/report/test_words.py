"""The numbers of the tables and the words of the conclusion."""

from __future__ import annotations

import csv
import io
import json

import pytest
from fake_runs import ARMS, fake_run

from budbreak.report import conclusion, terminal_table
from budbreak.report.estimate import arm_series, costs
from budbreak.report.tables import difference_rows, level_rows, to_csv, to_json
from budbreak.studies import RunResult


def two_levels(gain: float) -> RunResult:
    return fake_run(ARMS[:2], levels=2, gains={"ap-lite": gain}, name="tiny")


def test_terminal_table_of_a_tiny_run() -> None:
    run = two_levels(0.01)
    lines = terminal_table(run).splitlines()
    means = {
        series.label: [point.estimate.mean for point in series.points] for series in arm_series(run, "test_accuracy")
    }
    (difference,) = (row for row in run.differences if row.metric == "test_accuracy" and row.level == 1)
    assert lines[0] == "tiny: means over 5 seeds"
    assert lines[2].split() == ["remaining", "host", "ap-lite", "ap-lite", "-", "host"]
    assert lines[8].split() == ["remaining", "host", "ap-lite"]  # dead neuron rates: all in one is too wide
    row = lines[6]
    assert row.startswith("lambda =  80.0 %")
    assert f"{100 * means['host'][1]:.2f} %   {100 * means['ap-lite'][1]:.2f} %" in row
    assert f"{100 * difference.mean:+.2f} [{100 * difference.low:+.2f}, {100 * difference.high:+.2f}]" in row


@pytest.mark.parametrize("arms", [ARMS[:1], ARMS[:2], ARMS, ("a" * 200, "b" * 200)])
def test_terminal_table_fits_80_columns(arms: tuple[str, ...]) -> None:
    assert max(map(len, terminal_table(fake_run(arms)).splitlines())) <= 80


def test_terminal_table_prints_no_control_characters() -> None:
    assert "\x1b" not in terminal_table(fake_run(("\x1b[31mred", "b"), levels=2, name="\x1b]0;x"))
    assert "\x1b" not in conclusion(fake_run(("\x1b[31mred", "b"), levels=2, name="\x1b]0;x"))


def test_csv_holds_every_number_exactly() -> None:
    runs = [fake_run(ARMS[:2], levels=3), fake_run(ARMS[:3], levels=2, name='a "quoted", name')]
    rows = list(csv.DictReader(io.StringIO(to_csv(level_rows(runs)))))
    records = [(run, level) for run in runs for level in run.levels]
    assert len(rows) == len(records) == 2 * 5 * 3 + 3 * 5 * 2
    for row, (run, level) in zip(rows, records, strict=True):
        assert (row["run"], row["identity"], row["arm"]) == (run.name, run.identity, level.arm)
        for field in ("seed", "level", "kept", "total", "epochs", "steps"):
            assert int(row[field]) == getattr(level, field)
        for field in ("density", "density_all", "seconds"):
            assert float(row[field]) == getattr(level, field)
        assert {name: float(row[name]) for name in level.metrics} == level.metrics


def test_difference_csv_holds_every_number_exactly() -> None:
    run = fake_run(ARMS[:2], (0,), levels=2)
    rows = list(csv.DictReader(io.StringIO(to_csv(difference_rows([run])))))
    assert [(float(row["mean"]), row["low"], row["metric"]) for row in rows] == [
        (record.mean, "", record.metric) for record in run.differences
    ]


def test_json_rows_survive_nan() -> None:
    assert json.dumps(to_json([{"a": float("nan"), "b": 1.5}]), allow_nan=False) == '[{"a": null, "b": 1.5}]'


def test_cost_is_compared_on_the_jobs_that_both_finished() -> None:
    run = fake_run(ARMS[:3:2], levels=3)
    unfinished = [row for row in run.levels if (row.arm, row.seed) != ("host", 4)]
    lost = RunResult(**{**vars(run), "levels": tuple(unfinished), "complete": False})
    host, pro = costs(lost)
    assert host.epochs_ratio == 1.0
    assert pro.epochs_ratio == pytest.approx((20 + 40 + 40) / 60)


def test_conclusion_says_gain_only_where_the_interval_does() -> None:
    text = conclusion(two_levels(0.05))
    assert "ap-lite was more accurate than host at 1 of 1 pruned density (lambda = 80.0 %), where" in text
    assert "points; a gain." in text
    assert "less accurate" not in text


def test_conclusion_says_loss() -> None:
    text = conclusion(two_levels(-0.05))
    assert "ap-lite was less accurate than host at 1 of 1 pruned density (lambda = 80.0 %)" in text
    assert "points; a loss." in text
    assert "a gain" not in text


def test_conclusion_says_mixed() -> None:
    run = two_levels(0.05)
    levels = [
        level for level in fake_run(ARMS[:2], levels=3).differences if level.metric == "test_accuracy" and level.level
    ]
    up, down = ({**vars(levels[0]), "low": 0.01, "high": 0.03}, {**vars(levels[1]), "low": -0.03, "high": -0.01})
    both = RunResult(**{**vars(run), "differences": (type(levels[0])(**up), type(levels[0])(**down))})
    text = conclusion(both)
    assert "more accurate than host at 1 of 2 pruned densities (lambda = 80.0 %) and less" in text
    assert "less accurate at 1 (lambda = 64.0 %), where the 95 % interval of the difference lies off zero." in text
    assert "2 intervals of accuracy are looked at without correction" in text


def test_conclusion_says_nothing_was_gained() -> None:
    run = two_levels(0.0)
    flat = tuple(type(row)(**{**vars(row), "mean": 0.0, "low": -0.01, "high": 0.01}) for row in run.differences)
    text = conclusion(RunResult(**{**vars(run), "differences": flat}))
    assert "ap-lite gained nothing over host, and lost nothing, that 5 seeds could show" in text
    assert "neither a gain nor a loss is shown" in text
    assert "more accurate" not in text


def test_conclusion_of_one_seed_claims_nothing() -> None:
    text = conclusion(fake_run(ARMS[:2], (0,)))
    assert "with one seed there is no interval" in text
    assert "a gain" not in text
    assert "gained" not in text


def test_conclusion_names_dnr_and_cost() -> None:
    text = conclusion(fake_run())
    assert "There it differed in total DNR by" in text
    assert "static DNR by" in text
    assert "dynamic DNR by" in text
    assert "times the epochs and" in text
    assert "48 intervals of accuracy are looked at without correction" in text
    assert "about 2.4 of them" in text


def test_conclusion_of_one_arm_and_of_nothing() -> None:
    assert "no paired difference was recorded" in conclusion(fake_run(ARMS[:1]))
    assert "nothing to compare it with yet" in conclusion(fake_run(ARMS[:2], levels=1))
    empty = fake_run(levels=0, complete=False)
    assert conclusion(empty) == "No level has finished yet: nothing can be said."
    assert terminal_table(empty).endswith("no level has finished yet")


def test_an_interrupted_run_says_so() -> None:
    run = fake_run(complete=False)
    assert "interrupted" in conclusion(run)
    assert "INTERRUPTED" in terminal_table(run)


def test_conclusion_of_two_seeds_claims_nothing_however_tight_the_interval() -> None:
    words = conclusion(fake_run(ARMS[:2], seeds=(0, 1), levels=3, gains={"host": 0.0, "ap-lite": 0.5}))
    assert "two seeds are too few" in words
    assert "a gain" not in words.replace("neither a gain nor a loss", "")
