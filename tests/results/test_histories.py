"""Own loops around `iterate`, read as a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from scipy import stats
from torch import nn

import budbreak as bb
from budbreak.diagnostics import Quantity
from budbreak.errors import BudbreakError
from budbreak.iteration import LevelRecord
from budbreak.results import run_of_histories

AP = [bb.ActivateWhilePruning(q=0.05, variant="pro")]


def history(seed: int, *, start: int | None = None, then=(), **options) -> tuple[LevelRecord, ...]:
    torch.manual_seed(seed if start is None else start)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    x, optimizer = torch.randn(16, 4), torch.optim.SGD(model.parameters(), lr=0.01)
    plan = bb.Plan(criterion=bb.criteria.Magnitude(), schedule=bb.schedules.Geometric(0.3, 2), then=list(then), floor=4)
    with bb.iterate(model, optimizer, plan, seed=seed, **options) as running:
        for level in running:
            for _ in level.epochs(2):
                optimizer.zero_grad()
                model(x).square().mean().backward()
                optimizer.step()
            level.record(accuracy=0.5 + model(x)[0, 0].sigmoid().item() / 9, size=3.0)
    return running.history


@pytest.fixture(scope="module")
def arms() -> dict[str, list[tuple[LevelRecord, ...]]]:
    return {"host": [history(seed) for seed in range(3)], "ap": [history(seed, then=AP) for seed in range(3)]}


def test_a_single_history_is_an_arm(arms) -> None:
    run = run_of_histories(arms["host"][0], name="mine")
    assert (run.name, run.arm_names, run.seeds, run.differences) == ("mine", ("pruned",), (0,), ())
    assert [level.density for level in run.levels] == [record.density for record in arms["host"][0]]
    assert [level.numbers for level in run.levels] == [record.metrics for record in arms["host"][0]]
    assert [quantity.name for quantity in run.quantities] == ["accuracy", "size"]
    assert [quantity.unit for quantity in run.quantities] == ["share", ""]


def test_arms_are_paired_by_the_dense_training_that_they_share(arms) -> None:
    run = run_of_histories(arms)
    rows = [row for row in run.differences if row.quantity == "accuracy"]
    assert [(row.arm, row.reference, row.level, row.n, row.n_reference) for row in rows] == [
        ("ap", "host", 1, 3, None),
        ("ap", "host", 2, 3, None),
    ]
    ours, theirs = ([h[-1].metrics["accuracy"] for h in arms[arm]] for arm in ("ap", "host"))
    assert rows[-1].p == pytest.approx(stats.ttest_rel(ours, theirs).pvalue)


def test_what_was_not_reached_is_a_remark_of_its_level(arms) -> None:
    records = [
        replace(record, ending=f"level {record.level}: late" * (record.level == 2)) for record in arms["host"][0]
    ]
    assert [level.notes for level in run_of_histories(records).levels] == [(), (), ("level 2: late",)]


def test_what_a_level_cost_is_summed_over_its_trainings(arms) -> None:
    one = next(level for level in run_of_histories(arms).levels if (level.arm, level.level) == ("ap", 1))
    stages = [record for record in arms["ap"][0] if record.level == 1]
    assert len(stages) == 2
    assert (one.epochs, one.steps, one.seconds) == (4, 4, sum(record.seconds for record in stages))
    assert one.numbers == stages[-1].metrics


def test_other_trainings_are_two_groups(arms) -> None:
    others = [history(seed, start=seed + 9) for seed in range(2)]
    rows = run_of_histories({"a": arms["host"], "b": others}).differences
    assert {(row.n, row.n_reference) for row in rows} == {(2, 3)}
    assert {row.level for row in rows} == {0, 1, 2}


def test_the_reference_can_be_any_arm(arms) -> None:
    run = run_of_histories(arms, reference="ap")
    assert [(arm.name, arm.reference) for arm in run.arms] == [("host", "ap"), ("ap", None)]


def test_stores_are_read_from_their_folders(tmp_path: Path) -> None:
    for seed in (3, 5):
        history(seed, store=tmp_path / "host" / f"s{seed}")
    expected = history(7, store=tmp_path / "other" / "s7")
    one = run_of_histories(tmp_path / "other" / "s7")
    assert (one.arm_names, one.seeds) == (("pruned",), (7,))
    assert [level.numbers for level in one.levels] == [record.metrics for record in expected]
    assert run_of_histories(tmp_path / "host").seeds == (3, 5)
    named = run_of_histories({"a": tmp_path / "host", "b": [str(tmp_path / "other" / "s7")], "c": expected})
    assert [(level.arm, level.seed) for level in named.levels if level.level == 0] == [
        ("a", 3),
        ("a", 5),
        ("b", 7),
        ("c", 0),
    ]
    run = run_of_histories(str(tmp_path))
    assert (run.arm_names, run.seeds) == (("host", "other"), (3, 5, 7))
    assert {row.n_reference for row in run.differences} == {2}


def test_a_level_that_is_not_over_is_left_out(arms) -> None:
    (*over, last) = arms["ap"][0]
    run = run_of_histories([*over])
    assert last.last_stage
    assert {level.level for level in run.levels} == {0, 1}


def changed(records: tuple[LevelRecord, ...], **metrics: float) -> list[LevelRecord]:
    return [replace(record, metrics=metrics) for record in records]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda h: {}, "there is no arm"),
        (lambda h: {"host": []}, "has no level that is over"),
        (lambda h: {"host": [h, None]}, "arm 'host', history 1 is None"),
        (lambda h: {"host": [h, [3]]}, "a history is levels.history"),
        (lambda h: [3], "a history is levels.history"),
        (lambda h: (), "has no level that is over"),
        (lambda h: "no/such/folder", "holds no store"),
        (lambda h: {"host": ["no/such/folder"]}, "holds no store"),
        (lambda h: changed(h), "write level.record"),
        (lambda h: changed(h, accuracy=97.3), "record 0.973"),
        (lambda h: [*h, h[-1]], "has 2 histories of seed 0"),
    ],
)
def test_what_is_no_history_is_refused(arms, make, said: str) -> None:
    with pytest.raises(BudbreakError) as refused:
        run_of_histories(make(arms["host"][0]))
    assert said in str(refused.value)


def test_levels_themselves_are_no_history(arms) -> None:
    class Levels:
        history = arms["host"][0]

    with pytest.raises(BudbreakError, match=r"levels\.history"):
        run_of_histories(Levels())  # pyright: ignore


def test_unknown_references_and_quantities_are_refused(arms) -> None:
    with pytest.raises(BudbreakError, match="did you mean 'host'"):
        run_of_histories(arms, reference="hosts")
    with pytest.raises(BudbreakError, match="was never recorded"):
        run_of_histories(arms, quantities=[Quantity("f1", "F1")])


def test_what_is_compared_first_can_be_said(arms) -> None:
    size = Quantity("size", "size", "count", "lower")
    assert run_of_histories(arms, quantities=[size]).quantities[0] == size
