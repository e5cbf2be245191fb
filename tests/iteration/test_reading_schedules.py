"""Schedules that look at metrics: checked, previewed as far as they are known, asked only for what was recorded."""

import re
from dataclasses import dataclass

import pytest
from small_runs import Parts, geometric, run

import budbreak as bb
from budbreak.errors import ContractBroken, InvalidValue, StoreMismatch
from budbreak.iteration.plan import LevelTarget
from budbreak.testing import mlp
from budbreak.testing.contracts import check_schedule


@dataclass(frozen=True)
class UntilAccuracyFalls:
    """Half of the weights at level 1; then more as long as the accuracy stays above a bound."""

    bound: float = 0.5
    levels: int = 3
    metric: str = "accuracy"

    @property
    def reads(self):
        return (self.metric,)

    def __call__(self, progress):
        if progress.level <= 1:
            return 0.5 * progress.level
        good = [level for level in progress.metrics if level[self.metric] >= self.bound]
        return 0.5 + 0.1 * len(good)


@dataclass(frozen=True)
class Hides:
    """Looks at a metric without saying so."""

    levels = 2

    def __call__(self, progress):
        return 0.0 if progress.level == 0 else 0.1 * progress.level * progress.metrics[0]["accuracy"]


@dataclass(frozen=True)
class BySteps:
    levels: int = 2

    def __call__(self, progress):
        return min(0.9, progress.step / 100)


def test_a_schedule_that_reads_any_metric_keeps_the_contract():
    check_schedule(UntilAccuracyFalls())
    check_schedule(UntilAccuracyFalls(metric="f1"))
    check_schedule(UntilAccuracyFalls(), {"accuracy": 0.1})


@pytest.mark.parametrize("reads", ["accuracy", (3,)])
def test_reads_are_names(reads):
    @dataclass(frozen=True)
    class Reads(UntilAccuracyFalls):
        reads = None

    Reads.reads = reads
    with pytest.raises(InvalidValue, match=r"schedule\.reads is .*\n.*names of metrics\nwrite reads = \(.accuracy.,\)"):
        bb.Plan(schedule=Reads())
    Hides.reads = reads
    try:
        with pytest.raises(ContractBroken, match="names in reads the metrics"):
            check_schedule(Hides())
    finally:
        del Hides.reads


def test_a_schedule_that_hides_what_it_reads_breaks_the_contract():
    with pytest.raises(ContractBroken, match=r"says in reads that it looks at accuracy\nwrite reads = \('accuracy',\)"):
        check_schedule(Hides())


def test_the_preview_shows_what_is_known():
    plan = bb.Plan(schedule=UntilAccuracyFalls(), then=[bb.Train()])
    preview = plan.preview(mlp())
    assert [(row.level, row.keep, row.trainings) for row in preview.rows] == [
        (0, 432, 1),
        (1, 216, 2),
        (2, None, 2),
        (3, None, 2),
    ]
    lines = str(preview).splitlines()
    assert re.fullmatch(r" +1  50\.00% +216 +216 +0 +2", lines[2])
    assert re.fullmatch(r" +2 +decided as it goes +2", lines[3])
    assert len(lines[3]) == len(lines[2])
    assert lines[5].startswith("7 trainings")
    assert plan.targets(100) == [LevelTarget(0, 100, 100, 0, ()), LevelTarget(1, 100, 50, 50, ())]


@pytest.mark.parametrize("schedule", [Hides(), BySteps()])
def test_the_preview_does_not_guess_metrics_or_steps(schedule):
    assert [row.keep for row in bb.Plan(schedule=schedule).preview(mlp()).rows] == [432, None, None]


def test_a_preview_with_macs_leaves_out_those_of_what_is_not_known():
    import torch

    rows = bb.Plan(schedule=UntilAccuracyFalls()).preview(mlp(), example=torch.zeros(1, 8)).rows
    assert [row.macs is None for row in rows] == [False, False, True, True]


def test_the_levels_follow_the_metrics():
    _, history = run(Parts(), bb.Plan(schedule=UntilAccuracyFalls(bound=0.0)))
    assert [record.kept for record in history] == [132, 66, 40, 26]  # sparsities 0, 0.5, 0.7, 0.8


@pytest.mark.parametrize("stored", [False, True])
def test_a_level_that_lacks_the_metric_is_refused_at_its_end_and_can_be_ended_again(tmp_path, stored):
    plan = bb.Plan(schedule=UntilAccuracyFalls(metric="f1", levels=2))
    options = {"store": tmp_path} if stored else {}
    words = (
        r"level 0 has recorded accuracy, not 'f1'\nUntilAccuracyFalls\(.*\) looks at it to decide the next level\n"
        r"write level\.record\(f1=\.\.\.\)"
    )
    with pytest.raises(InvalidValue, match=words):
        run(Parts(), plan, **options)
    if not stored:
        return
    parts = Parts()
    _, history = run(parts, plan, each_level=lambda _, level: level.record(f1=0.5), **options)
    assert [record.level for record in history] == [0, 1, 2]
    assert parts.steps == 2 * 2 * 4, "the epochs of level 0 were not lost"


def test_the_last_level_need_not_record_it():
    plan = bb.Plan(schedule=UntilAccuracyFalls(metric="f1", levels=1))
    _, history = run(Parts(), plan, each_level=lambda _, level: level.number or level.record(f1=0.5))
    assert [sorted(record.metrics) for record in history] == [["accuracy", "f1"], ["accuracy"]]


def test_of_several_stages_the_last_one_records_it():
    plan = bb.Plan(schedule=UntilAccuracyFalls(metric="f1", levels=2), then=[bb.Train()])
    _, history = run(Parts(), plan, each_level=lambda _, level: level.record(f1=0.5) if level.last_stage else None)
    assert len(history) == 5


def test_a_dense_store_without_the_metric_is_refused(tmp_path):
    plan = bb.Plan(schedule=UntilAccuracyFalls(metric="f1"))
    run(Parts(), plan.dense, store=tmp_path / "dense")
    with pytest.raises(StoreMismatch, match=r"level 0 has not recorded 'f1'\n.*decide level 1\n.*level\.record\(f1="):
        run(Parts(), plan, store=tmp_path / "arm", dense=tmp_path / "dense")
    run(Parts(), geometric(), store=tmp_path / "other", dense=tmp_path / "dense")
