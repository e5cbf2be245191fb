"""Levels that are left, entered twice, recorded late or never trained."""

import json

import pytest
import torch
from small_runs import Parts, geometric, run

import budbreak as bb
from budbreak.errors import InvalidValue


def epochs(parts, level, count=2):
    for _ in level.epochs(count):
        parts.epoch()


def test_a_level_left_by_break_counts_when_its_epochs_are_done(tmp_path):
    _, expected = run(Parts(), geometric(2))
    parts = Parts()
    with parts.iterate(geometric(2), store=tmp_path) as levels:
        for level in levels:
            epochs(parts, level)
            level.record(accuracy=parts.accuracy())
            if level.number == 1:
                break
    assert [(r.level, r.end_digest, r.metrics) for r in levels.history] == [
        (r.level, r.end_digest, r.metrics) for r in expected[:2]
    ]
    assert len(json.loads((tmp_path / "records.json").read_text())["records"]) == 2
    again = Parts()
    _, history = run(again, geometric(2), store=tmp_path)
    assert [r.end_digest for r in history] == [r.end_digest for r in expected]
    assert again.steps == parts.steps // 2, "level 2 only"


@pytest.mark.parametrize("early", [False, True])
def test_what_was_recorded_after_the_training_counts_too(early):
    """Without level.epochs, or with early stopping, nothing but the record says that a level is over."""
    parts = Parts()
    with parts.iterate(geometric(2)) as levels:
        for level in levels:
            for _ in level.epochs(5) if early else range(2):
                parts.epoch()
                if early and parts.steps % 8 == 0:
                    break
            level.record(accuracy=parts.accuracy())
            if level.number == 1:
                break
    assert [(r.level, list(r.metrics)) for r in levels.history] == [(0, ["accuracy"]), (1, ["accuracy"])]


def test_what_is_recorded_within_epochs_or_before_a_step_ends_nothing(tmp_path):
    parts = Parts()
    with parts.iterate(geometric(2), store=tmp_path) as levels:
        for level in levels:
            for epoch in level.epochs(4):
                parts.epoch()
                level.record(loss=epoch)
                if epoch == 1:
                    break
            break
    assert levels.history == ()
    with Parts().iterate(geometric(2), store=tmp_path) as levels:
        assert list(next(iter(levels)).epochs(4)) == [1, 2, 3], "the epoch that was left is done again"


def test_an_error_in_the_body_finishes_nothing(tmp_path):
    parts = Parts()

    def fail(level):
        epochs(parts, level)
        raise RuntimeError("while measuring")

    with pytest.raises(RuntimeError), parts.iterate(geometric(), store=tmp_path) as levels:
        fail(next(iter(levels)))
    _, history = run(Parts(), geometric(), store=tmp_path)
    assert "accuracy" in history[0].metrics


def test_a_second_loop_goes_on_after_a_level_that_is_over():
    _, expected = run(Parts(), geometric(2))
    parts = Parts()
    with parts.iterate(geometric(2)) as levels:
        for level in levels:
            epochs(parts, level)
            level.record(accuracy=parts.accuracy())
            break
        for level in levels:
            epochs(parts, level)
            level.record(accuracy=parts.accuracy())
    assert [r.end_digest for r in levels.history] == [r.end_digest for r in expected]


def test_a_second_loop_from_the_middle_of_a_level_is_refused():
    parts = Parts()
    with parts.iterate(geometric(2)) as levels:
        next(iter(levels))
        parts.epoch()
        with pytest.raises(InvalidValue, match=r"level 0 was left after 4 steps\n.*\n.*with a store it goes on"):
            next(iter(levels))
    assert levels.history == ()


def test_a_look_at_the_first_level_changes_nothing():
    _, expected = run(Parts(), geometric(1))
    parts = Parts()
    with parts.iterate(geometric(1)) as levels:
        assert next(iter(levels)).density == 1
        torch.rand(3)
        for level in levels:
            epochs(parts, level)
            level.record(accuracy=parts.accuracy())
    assert [r.end_digest for r in levels.history] == [r.end_digest for r in expected]


def test_epochs_are_given_once():
    parts = Parts()
    with parts.iterate(geometric()) as levels:
        level = next(iter(levels))
        epochs(parts, level)
        with pytest.raises(InvalidValue, match=r"epochs\(3\), the second time in level 0"):
            level.epochs(3)


@pytest.mark.parametrize("what", ["record", "epochs"])
@pytest.mark.parametrize("when", ["next level", "after"])
def test_what_comes_when_a_level_is_over_is_refused(what, when):
    parts = Parts()

    def late(level):
        with pytest.raises(InvalidValue, match=r"(record\(\)|epochs\(2\)) in level 0, which is over\n.*\ndo it in"):
            level.record(accuracy=1) if what == "record" else level.epochs(2)

    with parts.iterate(geometric()) as levels:
        loop = iter(levels)
        first = next(loop)
        epochs(parts, first)
        if when == "next level":
            next(loop)
            late(first)
    late(first)


def test_a_level_keeps_its_own_mask():
    parts = Parts()
    with parts.iterate(geometric(2, 0.5)) as levels:
        kept = [(level, parts.epoch())[0] for level in levels]
    assert [level.density for level in kept] == [r.density for r in levels.history]


@pytest.mark.parametrize(
    "plan",
    [
        {"then": [bb.ActivateWhilePruning(q=0.05)]},
        {"criterion": bb.criteria.Displacement()},
    ],
)
def test_what_never_moved_is_not_pruned_by_its_movement(plan):
    with Parts().iterate(geometric(1, **plan)) as levels:
        loop = iter(levels)
        next(loop)
        with pytest.raises(InvalidValue, match=r"is to remove weights, but none has moved .*\n.*index.*\ntrain first"):
            next(loop)


def test_a_network_that_trains_but_does_not_move_is_said():
    parts = Parts(lr=0.0)
    with parts.iterate(geometric(1, then=[bb.ActivateWhilePruning(q=0.05)])) as levels:
        loop = iter(levels)
        next(loop)
        parts.epoch()
        with pytest.warns(UserWarning, match="none has moved .* the learning rate 0") as caught:
            next(loop)
    assert caught[0].filename == __file__


def test_other_criteria_may_prune_an_untrained_network():
    parts = Parts()
    with parts.iterate(geometric(1, then=[bb.ActivateWhilePruning(q=0.05, variant="pro")])) as levels:
        for level in levels:
            if level.number > 0:
                parts.epoch()
    assert [r.steps for r in levels.history] == [0, 4, 4]


@pytest.mark.parametrize("mistake", ["no step", "a new model and optimizer"])
def test_epochs_without_a_step_of_the_optimizer_are_refused_in_level_0(mistake):
    parts = Parts()
    with parts.iterate(geometric(2)) as levels:
        level = next(iter(levels))
        if mistake == "a new model and optimizer":
            parts = Parts()
        counted = level.epochs(2)
        for _ in range(2):
            next(counted)
            if mistake != "no step":
                parts.epoch()
        with pytest.raises(InvalidValue, match="level 0: 2 epochs without a step of the SGD"):
            next(counted)
