"""The numbers of the tables and the words of the conclusion."""

from __future__ import annotations

import csv
import functools
import io
import json
import re
import statistics
from dataclasses import replace
from pathlib import Path

import pytest
from fake_runs import ARMS, QUANTITIES, eight_arms, fake_run
from rich.console import Console
from scipy.stats import ttest_rel

from budbreak.diagnostics import Quantity
from budbreak.reporting import conclusion, terminal_table, write_report
from budbreak.reporting.estimate import Axis, Series, arm_series, difference_series, points
from budbreak.reporting.figures.lines import Lines
from budbreak.reporting.summary import endings
from budbreak.reporting.tables import table_of
from budbreak.results import (
    Difference,
    RunResult,
    between,
    costs,
    difference_rows,
    level_rows,
    paired_differences,
    to_csv,
    to_json,
)


def two_levels(gain: float) -> RunResult:
    return fake_run(ARMS[:2], levels=2, gains={"ap-lite": gain}, name="tiny")


def terminal(run: RunResult, columns: int = 80) -> str:
    """What a terminal of some columns shows."""
    console = Console(file=io.StringIO(), width=columns)
    console.print(terminal_table(run), crop=False)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def accuracy_differences(run: RunResult) -> list[Difference]:
    return [row for row in run.differences if row.quantity == "test_accuracy"]


def test_a_tiny_run_on_a_wide_terminal() -> None:
    run = two_levels(0.01)
    lines = terminal(run, 100).splitlines()
    (difference,) = accuracy_differences(run)
    host, lite = (series.points for series in arm_series(run, "test_accuracy"))
    assert lines[0] == "tiny: means over 5 seeds"
    assert lines[2:4] == ["test accuracy (%)", "arm      100.0 %   80.0 %"]
    assert lines[6] == f"ap-lite   {100 * lite[0].estimate.mean:.2f}    {100 * lite[1].estimate.mean:.2f}*"
    assert difference.p_adjusted is not None
    assert difference.p_adjusted < 0.05
    assert lines[8] == "Arms at lambda = 80.0 %"
    spread = statistics.stdev(value for _, value in host[1].values)
    assert lines[12].split()[:5] == ["host", f"{100 * host[1].estimate.mean:.2f}", "+-", f"{100 * spread:.2f}", "%"]
    said = f"{100 * difference.mean:+.2f} [{100 * difference.low:+.2f}, {100 * difference.high:+.2f}]"
    assert f"host  {said}" in lines[13]


def test_where_arms_end_is_stacked_on_80_columns() -> None:
    run = two_levels(0.01)
    (difference,) = accuracy_differences(run)
    for columns in (80, 60):
        lines = terminal(run, columns).splitlines()
        start = lines.index("Arms at lambda = 80.0 %")
        assert [line.split("  ")[0] or line[2:].split("  ")[0] for line in lines[start + 1 : start + 10]] == [
            *("host", "test accuracy, mean +- sd", "total DNR"),
            *(
                "ap-lite",
                "test accuracy, mean +- sd",
                "minus reference",
                "difference, points [95 %]",
                "p, Holm",
                "total DNR",
            ),
        ]
        assert f"{100 * difference.mean:+.2f} [{100 * difference.low:+.2f}," in lines[start + 7]


RUNS = {
    "one": ARMS[:1],
    "two": ARMS[:2],
    "five": ARMS,
    "long": ("a" * 200, "b" * 200),
    "sixteen": tuple(f"quite-a-long-name-{place}" for place in range(16)),
    "eight": (),
}


@functools.cache
def run_of(name: str) -> RunResult:
    return fake_run(RUNS[name]) if RUNS[name] else eight_arms()


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 100, 140])
@pytest.mark.parametrize("name", RUNS)
def test_a_table_fits_and_nothing_is_cut(name: str, columns: int) -> None:
    run = run_of(name)
    text = terminal(run, columns)
    assert max(map(len, text.splitlines())) <= columns
    assert "\u2026" not in text
    whole = "".join(text.split())
    table = endings(run)
    for _, accuracy, *others in table.rows:
        assert "".join(accuracy.replace("\u00b1", "+-").split()) in whole or columns < 100
        assert accuracy[:5] in whole
        assert "[" in whole or not any("[" in cell for cell in others)
    if columns >= 100 and name != "long":
        assert all(arm.name in text for arm in run.arms)


def test_levels_that_are_left_out_are_counted() -> None:
    run = fake_run(ARMS[:2])
    assert "test accuracy (%), 8 of 13 levels; the report has all" in terminal(run, 80)
    wide = terminal(run, 140).splitlines()
    assert "test accuracy (%)" in wide
    assert len(wide[3].replace(" %", "%").split()) == 1 + 13
    assert {"100.0", "6.9"} <= set(terminal(run, 40).split())  # the first and the last are never left out


def test_what_is_no_accuracy_is_shown_in_its_own_unit() -> None:
    run = fake_run(ARMS[:2], levels=2)
    loss = Quantity("error", "error", "nats", "lower")
    values = {"host": [1.50, 1.52, 1.51, 1.55, 1.49], "ap-lite": [0.10, 0.11, 0.13, 0.12, 0.10]}
    levels = tuple(replace(row, numbers={"error": values[row.arm][row.seed]}) for row in run.levels)
    rows = tuple(paired_differences(levels, run.arms, [loss]))
    text = terminal(replace(run, levels=levels, quantities=(loss,), differences=rows))
    assert "\nerror (nats)\narm " in text
    assert re.search(r"^ap-lite +0\.112\*? +0\.112\*", text, re.MULTILINE)
    assert "difference, nats [95 %]" in text
    assert "accuracy" not in text


def test_differences_between_groups_say_so() -> None:
    runs = [fake_run(ARMS[:2], seeds, levels=3, name=f"run{seeds[0]}") for seeds in ((0, 1, 2), (5, 6, 7))]
    text = terminal(between(runs)).split()
    assert "Differences are unpaired (Welch), as the dense trainings differ" in " ".join(text)


def test_names_are_no_markup_and_no_emoji() -> None:
    text = terminal(fake_run(("[red]", "[/red]b", ":smile:"), levels=2, name="[bold]x[/nothing]"), 100)
    assert text.startswith("[bold]x[/nothing]: means over")
    for name in ("[red]", "[/red]b", ":smile:"):
        assert sum(line.startswith(name) for line in text.splitlines()) == 2


def test_stars_stand_only_where_the_corrected_p_is_small(tmp_path: Path) -> None:
    run = eight_arms(levels=6)
    rows = accuracy_differences(run)
    found = [row for row in rows if row.p_adjusted is not None and row.p_adjusted < 0.05]
    assert 0 < len(found) < sum(row.p is not None and row.p < 0.05 for row in rows)
    first, last = terminal(run, 140).split("\n\n")[1:3]
    assert first.count("*") == len(found)
    marked = {line.split()[0] for line in last.splitlines() if "*" in line and "*:" not in line}
    assert marked == {row.arm for row in found if row.level == 5}
    page = write_report([run], tmp_path).read_text(encoding="utf-8")
    assert page.count("]*</td>") == len(marked) < 4


def test_arms_with_references_of_their_own_are_compared_with_these() -> None:
    text = conclusion(eight_arms())
    assert "against magnitude was more accurate at" in text
    assert "gradient-ap shows no difference from gradient that 5 seeds could tell from chance" in text
    assert "host" not in text.replace("Four hosts", "")
    assert text.count("\n") == 6


def test_pairs_that_show_nothing_share_a_sentence() -> None:
    text = conclusion(fake_run(tuple("abcdef"), gains={}))
    assert "No difference that 5 seeds could tell from chance: b, c, d, e and f against a." in text
    assert "12 densities" not in text


def test_one_seed_has_no_interval() -> None:
    run = fake_run(ARMS[:2], (0,))
    assert "\nn=1: no interval.\n" in terminal(run)
    assert terminal(run).endswith("level 12: AP found too few candidates: the host took 12 more")
    assert "*" not in terminal(run)


def test_arms_of_other_densities_are_told_apart() -> None:
    run = fake_run(("a", "b"), levels=3, references={})
    levels = tuple(replace(row, density=row.density / 2) if row.arm == "b" and row.level else row for row in run.levels)
    lines = terminal(replace(run, levels=levels), 100).splitlines()
    assert lines[3] == "arm  100.0 %  level 1  level 2"
    assert lines[8] == "Arms at their last level"
    assert [line.split()[1] for line in lines[12:14]] == ["64.0", "32.0"]


def test_nothing_is_said_of_what_was_not_measured(tmp_path: Path) -> None:
    run = fake_run(ARMS[:2], levels=2)
    kept = {"test_accuracy", "validation_accuracy", "train_loss"}
    levels = tuple(
        replace(row, numbers={name: row.numbers[name] for name in kept}, layers=(), curve=()) for row in run.levels
    )
    rows = tuple(row for row in run.differences if row.quantity in kept)
    bare = replace(run, levels=levels, differences=rows, quantities=QUANTITIES[:3])
    page = write_report([bare], tmp_path, formats=("html", "svg")).read_text(encoding="utf-8")
    assert "DNR" not in terminal(bare) + conclusion(bare) + page
    assert {path.stem for path in (tmp_path / "figures").glob("*.svg")} == {
        f"{name}-{width}" for name in ("accuracy", "difference", "cost") for width in ("1col", "2col")
    }


def test_terminal_table_prints_no_control_characters() -> None:
    assert "\x1b" not in terminal(fake_run(("\x1b[31mred", "b"), levels=2, name="\x1b]0;x"))
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
        assert {name: float(row[name]) for name in level.numbers} == level.numbers
        assert row["reference"] == ("" if level.arm == "host" else "host")


def test_difference_csv_holds_every_number_exactly() -> None:
    run = fake_run(ARMS[:2], (0,), levels=2)
    rows = list(csv.DictReader(io.StringIO(to_csv(difference_rows([run])))))
    assert [(float(row["mean"]), row["low"], row["quantity"], row["p_adjusted"]) for row in rows] == [
        (record.mean, "", record.quantity, "") for record in run.differences
    ]


def test_json_rows_survive_nan() -> None:
    assert json.dumps(to_json([{"a": float("nan"), "b": 1.5}]), allow_nan=False) == '[{"a": null, "b": 1.5}]'


def test_cost_is_compared_on_the_jobs_that_both_finished() -> None:
    run = fake_run(ARMS[:3:2], levels=3)
    unfinished = [row for row in run.levels if (row.arm, row.seed) != ("host", 4)]
    lost = RunResult(**{**vars(run), "levels": tuple(unfinished), "complete": False})
    host, pro = costs(lost)
    assert host.epochs_ratio is None  # it has no reference
    assert pro.epochs_ratio == pytest.approx((20 + 40 + 40) / 60)


def test_intervals_of_rates_end_where_rates_do() -> None:
    run = fake_run(ARMS[:2], (0, 1), levels=2)
    rows = tuple(replace(row, numbers={"dead_units_static": (0.001, 0.999)[row.seed]}) for row in run.levels)
    rates = [
        point.estimate for line in arm_series(replace(run, levels=rows), "dead_units_static") for point in line.points
    ]
    assert {(rate.low, rate.high) for rate in rates} == {(0.0, 1.0)}
    wide = tuple(replace(row, low=-3.0, high=0.5) for row in run.differences)
    cut = difference_series(replace(run, differences=wide), "test_accuracy")[0].points[0].estimate
    assert (cut.low, cut.high) == (-1.0, 0.5)
    losses = difference_series(replace(run, differences=wide), "train_loss")[0].points[0].estimate
    assert losses.low == -3.0


def test_a_series_runs_over_any_axis() -> None:
    loss = Quantity("loss", "loss")
    found = points(loss, [(2, 2, 0, 0.25), (1, 1, 1, 0.5), (1, 1, 0, 1.0), (3, 3, 0, None)])
    assert [(point.place, point.x, point.estimate.mean) for point in found] == [(1, 1, 0.75), (2, 2, 0.25)]
    line = Series("host", 0, found, axis=Axis("trial", "trial"))
    lines = Lines("loss", loss, (line,))
    table = table_of(lines.columns)
    assert (table.header, [row[0] for row in table.rows]) == (("trial", "host"), ["1", "2"])
    assert lines.words.endswith("0.25 at trial 2.")
    drawn = lines.x_axis(500).to_dict()
    assert (drawn["title"], drawn["scale"]["type"], drawn["scale"]["reverse"]) == ("trial", "linear", False)


def test_conclusion_says_gain_only_where_the_corrected_p_does() -> None:
    text = conclusion(two_levels(0.05))
    assert "against host was more accurate at 1 of 1 density (lambda = 80.0 %), after the correction" in text
    assert "p < 0.001: more accurate." in text
    assert "less accurate" not in text


def test_conclusion_says_loss() -> None:
    text = conclusion(two_levels(-0.05))
    assert "against host was less accurate at 1 of 1 density (lambda = 80.0 %)" in text
    assert "p < 0.001: less accurate." in text
    assert "more accurate" not in text


def test_conclusion_says_mixed() -> None:
    run = fake_run(ARMS[:2], levels=3)
    up, down = accuracy_differences(run)
    both = (replace(up, mean=0.02, low=0.01, high=0.03, p_adjusted=0.01), replace(down, mean=-0.02, p_adjusted=0.04))
    text = conclusion(replace(run, differences=both))
    assert "more accurate at 1 of 2 densities (lambda = 80.0 %) and less accurate at 1 (lambda = 64.0 %)," in text
    assert "p is corrected for all 2 differences of test accuracy (Holm)" in text


def test_an_interval_off_zero_is_no_gain_before_the_correction() -> None:
    run = two_levels(0.0)
    rows = tuple(replace(row, mean=0.02, low=0.01, high=0.03, p=0.01, p_adjusted=0.2) for row in run.differences)
    text = conclusion(replace(run, differences=rows))
    assert "shows no difference from host that 5 seeds could tell from chance, at 1 density." in text
    assert "p = 0.2: no difference is shown" in text
    assert "1 of the uncorrected 95 % intervals lie off zero, 0 with p < 0.05" in text
    assert "more accurate" not in text


def test_conclusion_of_one_seed_claims_nothing() -> None:
    text = conclusion(fake_run(ARMS[:2], (0,)))
    assert "n=1: no interval, so no difference can be told from chance" in text
    assert "more accurate" not in text
    assert "gained" not in text


def test_conclusion_names_diagnostics_and_cost_of_a_few_arms() -> None:
    text = conclusion(fake_run(ARMS[:3]))
    assert "There it differed in total DNR by" in text
    assert "static DNR by" in text
    assert "dynamic DNR by" in text
    assert "times the epochs and" in text
    assert "corrected for all 24 differences of test accuracy (Holm)" in text


def test_conclusion_of_one_arm_and_of_nothing() -> None:
    assert "No arm is compared with another." in conclusion(fake_run(ARMS[:1]))
    assert "Pruning alone" not in conclusion(fake_run(ARMS[:2], levels=1))
    empty = fake_run(levels=0, complete=False)
    assert conclusion(empty) == "No level has finished yet: nothing can be said."
    assert terminal(empty).endswith("no level has finished yet")


def test_the_first_line_says_what_was_pruned_and_the_second_what_that_cost() -> None:
    run = fake_run(ARMS[:2])
    first, second, third, *_ = conclusion(run).splitlines()
    assert first == "ResNet-20 on CIFAR-10, global magnitude, 12 prunings of 20 %, 5 seeds."
    host = [(row.level, row.numbers["test_accuracy"]) for row in run.levels if row.arm == "host"]
    ends = {end: [value for level, value in host if level == end] for end in (0, 12)}
    change = ttest_rel(ends[12], ends[0]).confidence_interval()
    dense, sparse = (100 * statistics.fmean(ends[level]) for level in (0, 12))
    assert second.startswith("Pruning alone changed the test accuracy, with 95 % intervals in brackets: host")
    assert f"from {dense:.2f} % dense to {sparse:.2f} % at lambda = 6.9 %" in second
    assert f"by {sparse - dense:+.2f} [{100 * change.low:+.2f}, {100 * change.high:+.2f}] points." in second
    assert third.startswith("ap-lite (AP, activate-while-pruning")


@pytest.mark.parametrize(
    ("section", "field", "value"), [("prune", "rewind", "none"), ("train", "until", {"is": "early-stop"})]
)
def test_where_weights_do_not_return_pruning_is_not_all(section, field, value) -> None:
    run = fake_run(ARMS[:2])
    run.recipe["arms"]["host"][section][field] = value
    second = conclusion(run).splitlines()[1]
    assert second.startswith("Pruning and further training changed the test accuracy")


def test_words_are_explained_once_and_only_where_they_occur() -> None:
    text = conclusion(fake_run(ARMS[:3]))
    for word in (
        "host (the criterion that prunes)",
        "% (the density: ",
        "DNR (dead neuron rate",
        "(AP, activate-while-pruning",
    ):
        assert text.count(word.partition("(")[2]) == 1
        assert word in text
    bare = conclusion(fake_run(("a", "b-host"), levels=1))
    assert "(" not in bare.replace("(Holm)", "")
    assert "AP" not in conclusion(fake_run(("magnitude", "wake")))


def test_ap_is_explained_also_where_its_arms_share_a_sentence() -> None:
    text = conclusion(eight_arms((0, 1)))
    assert text.count("activate-while-pruning") == 1
    assert text.endswith("that the criterion chose.")


def test_runs_that_are_compared_say_how() -> None:
    one = fake_run(ARMS[:2], levels=3, name="one")
    other = fake_run(ARMS[:2], levels=3, name="other")
    paired = conclusion(between([one, other]))
    assert "shows no difference from one: host" in paired
    assert "each from a t-test, paired by seed;" in paired
    apart = conclusion(between([one, fake_run(ARMS[:2], (5, 6, 7), levels=3, name="other")]))
    assert "each from a t-test, unpaired (Welch), as the dense trainings differ;" in apart
    fewer = replace(other, levels=tuple(replace(r, kept=r.kept - 1) if r.level == 2 else r for r in other.levels))
    said = conclusion(between([one, fewer]))
    assert "as other numbers of weights stay there: other: host at 1 level and other: ap-lite at 1 level." in said


def test_what_is_no_accuracy_is_judged_by_which_way_is_better() -> None:
    run = fake_run(ARMS[:2], levels=2)
    for better, word in (("lower", "better"), ("higher", "worse"), ("", "lower")):
        loss = Quantity("error", "error", "", better)
        values = {"host": [0.50, 0.52, 0.51, 0.55, 0.49], "ap-lite": [0.10, 0.11, 0.13, 0.12, 0.10]}
        levels = tuple(replace(row, numbers={"error": values[row.arm][row.seed]}) for row in run.levels)
        rows = paired_differences(levels, run.arms, [loss])
        text = conclusion(replace(run, levels=levels, quantities=(loss,), differences=tuple(rows)))
        assert f"was {word} at " in text
        assert "accura" not in text


def test_an_interrupted_run_says_so() -> None:
    run = fake_run(complete=False)
    assert "interrupted" in conclusion(run)
    assert "INTERRUPTED" in terminal(run)


def test_conclusion_of_two_seeds_claims_nothing_however_tight_the_interval() -> None:
    words = conclusion(fake_run(ARMS[:2], seeds=(0, 1), levels=3, gains={"host": 0.0, "ap-lite": 0.5}))
    assert "two seeds are too few" in words
    assert "a gain" not in words.replace("neither a gain nor a loss", "")
