"""Accuracy gates and the early stop: as pure rules, and around trainings whose numbers are written down here."""

import itertools
import random

import pytest
from small_runs import STEPS_PER_EPOCH, Parts, outcome

import budbreak as bb
from budbreak.errors import InvalidValue, UnknownName
from budbreak.iteration import AccuracyGates, EarlyStop, Ending, EndingRule, PastEpoch, SoFar

# --- the early stop -----------------------------------------------------------------------------------------------


def stopped_at(losses, **options):
    """The first epoch by which it has stopped; None: never."""
    rule = EarlyStop(**options)
    return next((epoch for epoch in range(len(losses)) if rule.stops(losses[: epoch + 1])), None)


@pytest.mark.parametrize(
    ("losses", "epoch"),
    [
        ([1.0, 1.2, 1.3, 1.4], 3),  # three rises above 1.1
        ([1.0, 1.2, 1.15, 1.2, 1.3], 4),  # what falls but stays above 1.1 leaves the two ticks: 1.2, 1.2, 1.3
        ([1.0, 1.2, 1.3, 1.05, 1.2, 1.3, 1.4], 6),  # below 1.1 takes them back
        ([1.0, 1.2, 1.3, 0.9, 1.2], 4),  # a new lowest does not: 1.2, 1.3, then 1.2 > 0.99
        ([1.0, 1.05, 1.09, 1.05, 1.09], None),  # never a tenth above
        ([1.0, 1.2, 1.2, 1.2, 1.2], None),  # no rise over the epoch before
        ([3.0, 2.0, 1.0], None),
    ],
)
def test_golden_early_stops(losses, epoch):
    assert stopped_at(losses) == epoch


def by_specification(losses, rise, ticks):
    """The rule once more, with indices and a table of every epoch's ticks."""
    table = [0]
    for epoch in range(1, len(losses)):
        lowest, now, last = min(losses[:epoch]), losses[epoch], table[-1]
        far = now > lowest and now > (1 + rise) * lowest
        near = lowest <= now < (1 + rise) * lowest
        table.append(last + 1 if far and now > losses[epoch - 1] else 0 if near else last)
    return next((epoch for epoch, count in enumerate(table) if count == ticks), None)


def test_the_early_stop_is_its_specification():
    draw = random.Random(0)
    found = set()
    for _ in range(300):
        losses = [draw.choice([0.9, 1.0, 1.05, 1.1, 1.15, 1.2, 1.3]) for _ in range(12)]
        rise, ticks = draw.choice([0.0625, 0.125]), draw.choice([1, 2, 3])
        found.add(stopped_at(losses, rise=rise, ticks=ticks))
        assert stopped_at(losses, rise=rise, ticks=ticks) == by_specification(losses, rise, ticks)
    assert len(found) > 8


# --- the gates ----------------------------------------------------------------------------------------------------


def so_far(*levels, most=500):
    """Accuracies of the epochs of each level, the last of which runs; the losses fall for ever."""
    falls = itertools.count(1)
    epochs = [
        PastEpoch(level, 0, {"train_accuracy": one, "validation_loss": 1 / next(falls)})
        for level, accuracies in enumerate(levels)
        for one in accuracies
    ]
    return SoFar(len(levels) - 1, 0, True, 5, most, tuple(epochs))


def test_gates_rise_as_published():
    for prunings, expected in (
        (5, [0.8, 0.836, 0.872, 0.908, 0.944, 0.98]),
        (10, [0.8, 0.818, 0.836, 0.854, 0.872, 0.89, 0.908, 0.926, 0.944, 0.962, 0.98]),
    ):
        rule = AccuracyGates(prunings)
        gates = [rule.gate(so_far(*[[0.5]] * (level + 1))) for level in range(prunings + 1)]
        assert gates == pytest.approx(expected, abs=1e-12)


def test_a_gate_opens_at_its_accuracy():
    rule = AccuracyGates(5)
    assert rule.ends(so_far([0.7, 0.7999])) is None
    assert rule.ends(so_far([0.7, 0.8])) == Ending()
    assert rule.ends(so_far([0.8], [0.5])) is None
    assert rule.ends(so_far([0.99])) == Ending()
    assert rule.ends(so_far(*[[0.99]] * 5, [0.979])) is None
    assert rule.ends(so_far(*[[0.99]] * 5, [0.98])) == Ending()


@pytest.mark.parametrize(
    ("accuracy", "fix"), [(85.0, "record 0.85"), (-0.5, "record correct"), (850, "record correct")]
)
def test_an_accuracy_that_is_no_share_opens_nothing(accuracy, fix):
    so_far = SoFar(0, 0, True, 5, 9, (PastEpoch(0, 0, {"train_accuracy": accuracy, "validation_loss": 1.0}),))
    with pytest.raises(InvalidValue, match=rf"train_accuracy is {accuracy:g}(.|\n)*{fix}"):
        AccuracyGates(5).ends(so_far)


def test_regained_is_the_accuracy_at_the_last_pruning():
    rule = AccuracyGates(3, gates="regained")
    gates = [rule.gate(so_far(*levels)) for levels in ([[0.1]], [[0.2, 0.83], [0.4]], [[0.83], [0.85], [0.2]])]
    assert gates == [0.8, 0.83, 0.85]
    assert rule.gate(so_far([0.83], [0.85], [0.9], [0.5])) == 0.98


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (
            lambda: AccuracyGates(5, start=0.98, final=0.8),
            InvalidValue,
            "start is 0.98, final 0.8\n.*\nwrite start=0.8",
        ),
        (lambda: AccuracyGates(5, start=0.9, final=0.9), InvalidValue, "gates rise"),
        (lambda: AccuracyGates(5, start=80), InvalidValue, "a percentage\\? write 0.8"),
        (lambda: AccuracyGates(-1), InvalidValue, "prunings is -1"),
        (lambda: AccuracyGates(5, order="authors"), UnknownName, "order is 'authors'"),
        (lambda: AccuracyGates(5, gates="falling"), UnknownName, "gates is 'falling'"),
        (lambda: AccuracyGates(5, early_stop=3), InvalidValue, "early_stop is 3"),
        (lambda: AccuracyGates(5, early_stop=EarlyStop), InvalidValue, "early_stop is"),
        (lambda: EarlyStop(rise=0), InvalidValue, "rise is 0"),
        (lambda: EarlyStop(ticks=0), InvalidValue, "ticks is 0"),
    ],
)
def test_gates_out_of_order_are_refused(make, kind, words):
    with pytest.raises(kind, match=words):
        make()


# --- around trainings ---------------------------------------------------------------------------------------------

RISING = (0.5, 0.79, 0.81, 0.6, 0.9, 0.85, 0.93, 0.99)
"""With three prunings the gates are 0.8, 0.86, 0.92, and 0.98 in the end: opened by the epochs 2, 4, 6 and 7."""


def gated(parts, rule, accuracies=RISING, losses=(), *, store=None, leave=None, most=50, prunings=3, **options):
    """Epoch after epoch with these numbers, losses falling unless given: (parts, levels that ran, levels)."""
    plan = bb.Plan(schedule=bb.schedules.Decaying(0.6, prunings), rewind_to=None, **options)
    with parts.iterate(plan, store=store) as levels:
        for level in levels:
            done = len([one for record in level.history for one in range(record.epochs)]) + level.epochs_done
            for _ in level.epochs(most, until=rule):
                if parts.steps == leave:
                    raise KeyboardInterrupt
                parts.epoch()
                loss = losses[done] if done < len(losses) else 1 / (1 + done)
                level.record(train_accuracy=accuracies[min(done, len(accuracies) - 1)], validation_loss=loss)
                done += 1
    return parts, levels


def trained(levels):
    return [(record.level, record.epochs) for record in levels.history]


def test_each_gate_is_a_pruning_and_the_last_accuracy_the_end():
    _, levels = gated(Parts(), AccuracyGates(3))
    assert trained(levels) == [(0, 3), (1, 2), (2, 2), (3, 1)]
    assert levels.ending == ""
    total = levels.history[0].total
    assert [total - record.kept for record in levels.history] == [
        round(total * 0.6 * (1 - 0.8**level) / (1 - 0.8**3)) for level in range(4)
    ]


def test_every_epoch_prunes_once_at_most():
    _, levels = gated(Parts(), AccuracyGates(3), accuracies=(0.995,))
    assert trained(levels) == [(0, 1), (1, 1), (2, 1), (3, 1)]


@pytest.mark.parametrize("leave", range(1, 8))
def test_killed_and_resumed_it_is_the_same(tmp_path, leave):
    with pytest.raises(KeyboardInterrupt):
        gated(Parts(), AccuracyGates(3), store=tmp_path, leave=leave * STEPS_PER_EPOCH)
    parts, levels = gated(Parts(), AccuracyGates(3), store=tmp_path)
    resumed = outcome(parts, levels.history)
    parts, levels = gated(Parts(), AccuracyGates(3))
    assert resumed == outcome(parts, levels.history)


RISES = (1.0, 0.9, 1.2, 1.3, 1.4, 1.5, 1.6)
"""The early stop fires in the epoch 4."""


def test_a_gate_that_is_not_reached_ends_the_iteration_and_keeps_all(tmp_path, caplog):
    _, levels = gated(Parts(), AccuracyGates(3), accuracies=(0.81, 0.7), losses=RISES[1:], store=tmp_path)
    assert trained(levels) == [(0, 1), (1, 5)]  # a pruning resets the stop: 1.2 is its lowest, 1.4 the first tick
    said = "level 1: the gate 0.86 was not reached, 0.7 at best: stopped early after 5 epochs; no further pruning"
    assert (levels.ending, [record.closes for record in levels.history]) == (said, [False, True])
    assert said in caplog.text
    assert levels.history[-1].metrics["train_accuracy"] == 0.7
    again = gated(Parts(), AccuracyGates(3), store=tmp_path, leave=0)[1]
    assert trained(again) == [(0, 1), (1, 5)]
    assert "nothing left to train" in again.resumed


def test_all_epochs_together_are_as_many_as_were_given():
    _, levels = gated(Parts(), AccuracyGates(3), most=4)
    assert trained(levels) == [(0, 3), (1, 1)]
    assert levels.ending.startswith("level 1: the gate 0.86 was not reached, 0.6 at best: all 4 epochs are done")
    _, levels = gated(Parts(), AccuracyGates(3), most=5)
    assert trained(levels) == [(0, 3), (1, 2), (2, 1)], "the pruning of the last epoch is followed by recovery"


def test_epochs_that_recovery_took_beyond_those_that_were_given_are_said():
    accuracies = (0.81, 0.87, 0.93, 0.95)  # each opens its gate; the last is below 0.98
    for most, said in (
        (1, "its one epoch is done, and 3 more after prunings"),
        (3, "all 3 epochs are done, and 1 more"),
    ):
        _, levels = gated(Parts(), AccuracyGates(3), accuracies, most=most)
        assert trained(levels) == [(0, 1), (1, 1), (2, 1), (3, 1)]
        assert said in levels.ending
    assert levels.ending.endswith("0.95 at best: all 3 epochs are done, and 1 more after a pruning")


def test_a_final_accuracy_that_is_not_reached_is_said():
    _, levels = gated(Parts(), AccuracyGates(3), accuracies=(0.95,), losses=(9, 8, 7, *RISES))
    assert trained(levels) == [(0, 1), (1, 1), (2, 1), (3, 5)]
    assert (
        levels.ending == "level 3: the final accuracy 0.98 was not reached, 0.95 at best: stopped early after 5 epochs"
    )
    assert not levels.history[-1].closes


def test_a_stop_in_the_epoch_of_a_gate_recovers_by_default():
    accuracies = (0.5, 0.5, 0.5, 0.5, 0.81, 0.87, 0.93, 0.99)
    _, levels = gated(Parts(), AccuracyGates(3), accuracies, RISES)
    assert trained(levels) == [(0, 5), (1, 1), (2, 1), (3, 1)]


def test_in_the_official_order_it_prunes_and_ends_unrecovered(tmp_path):
    accuracies = (0.5, 0.5, 0.5, 0.5, 0.81, 0.87, 0.93, 0.99)
    rule = AccuracyGates(3, order="official")
    parts, levels = gated(Parts(), rule, accuracies, RISES, store=tmp_path)
    assert trained(levels) == [(0, 5), (1, 0)]
    assert [record.kept < record.total for record in levels.history] == [False, True]
    assert levels.history[1].closes
    assert parts.steps == 5 * STEPS_PER_EPOCH
    assert trained(gated(Parts(), rule, accuracies, RISES, store=tmp_path)[1]) == [(0, 5), (1, 0)]


def test_in_the_official_order_a_pruning_does_not_reset_the_stop():
    losses = (1.0, 1.2, 1.3, 1.25, 1.4)  # ticks: 1.2, 1.3, 1.4; the pruning comes after the second
    rule = AccuracyGates(3, order="official")
    _, levels = gated(Parts(), rule, (0.5, 0.5, 0.82, 0.6), losses)
    assert trained(levels) == [(0, 3), (1, 2)]
    assert "level 1: the gate 0.86 was not reached" in levels.ending
    assert trained(gated(Parts(), AccuracyGates(3), (0.5, 0.5, 0.82, 0.6), losses, most=9)[1]) == [(0, 3), (1, 6)]


def test_in_the_official_order_the_final_accuracy_ends_with_its_pruning():
    _, levels = gated(Parts(), AccuracyGates(3, order="official"), accuracies=(0.99,))
    assert trained(levels) == [(0, 1), (1, 0)]


def test_layer_by_layer_waits_for_what_it_had():
    _, levels = gated(Parts(), AccuracyGates(3, gates="regained"), (0.85, 0.6, 0.86, 0.855, 0.86, 0.99))
    assert trained(levels) == [(0, 1), (1, 2), (2, 2), (3, 1)]


def test_early_stop_alone_ends_each_training():
    _, levels = gated(Parts(), EarlyStop(), losses=RISES, prunings=1, most=6)
    assert trained(levels) == [(0, 5), (1, 6)]
    assert levels.ending == ""


@pytest.mark.parametrize("variant", ["lite", "pro"])
def test_ap_may_follow_within_a_gated_level(variant):
    then = [bb.ActivateWhilePruning(q=0.02, variant=variant)]
    _, levels = gated(Parts(), AccuracyGates(3), accuracies=(0.5, 0.81, 0.99), then=then)
    two = variant == "pro"
    assert [(r.level, r.stage, r.epochs) for r in levels.history] == [
        (0, 0, 2),
        *[(level, stage, 1) for level in (1, 2, 3) for stage in ((0, 1) if two else (0,))],
    ]
    assert levels.history[-1].follow_ups_removed[0] > 0


def test_ap_may_follow_where_a_level_removes_nothing():
    parts, plan = Parts(), bb.Plan(schedule=Late(3), rewind_to=None, then=[bb.ActivateWhilePruning(q=0.02)])
    with parts.iterate(plan) as levels:
        for level in levels:
            for epoch in level.epochs(2, until=AccuracyGates(3)):
                parts.epoch()
                level.record(train_accuracy=0.99, validation_loss=1 / (1 + epoch))
    assert [record.kept for record in levels.history] == [132, 132, 132, 66]
    assert [record.follow_ups_removed for record in levels.history] == [(), (0,), (0,), (2,)]


class Late(bb.schedules.OneShot):
    """Nothing before the last level."""

    def __init__(self, levels):
        object.__setattr__(self, "levels", levels)
        object.__setattr__(self, "sparsity", 0.5)

    def __call__(self, progress):
        return 0.5 if progress.level == self.levels else 0.0


def test_whole_units_where_a_level_removes_none():
    """Of 132 weights in units of 8, the last shares are 4, 3, 3 and 2: what went before is enough for some of them."""
    units = bb.masks.Unit(budget="weights")
    _, levels = gated(Parts(), AccuracyGates(10), (0.99,), granularity=units, prunings=10)
    removed = [132 - record.kept for record in levels.history]
    assert (removed[0], removed[-1], len(set(removed))) == (0, 80, 8)
    assert trained(levels) == [(level, 1) for level in range(11)]


def test_a_dense_training_is_shared_with_its_epochs(tmp_path):
    rule = AccuracyGates(3)
    plan = bb.Plan(schedule=bb.schedules.Decaying(0.6, 3), rewind_to=None)
    dense, parts = Parts(), Parts()
    with dense.iterate(plan.dense, store=tmp_path / "dense") as levels:
        train(dense, levels, rule)
    assert trained(levels) == [(0, 3)]
    with parts.iterate(plan, store=tmp_path / "own", dense=tmp_path / "dense") as levels:
        train(parts, levels, rule)
    straight = gated(Parts(), rule)
    assert outcome(parts, levels.history)["model"] == outcome(straight[0], straight[1].history)["model"]
    assert trained(levels) == trained(straight[1])


def train(parts, levels, rule):
    for level in levels:
        done = sum(record.epochs for record in level.history)
        for epoch in level.epochs(50, until=rule):
            parts.epoch()
            level.record(train_accuracy=RISING[done + epoch], validation_loss=1 / (1 + done + epoch))


# --- what is wrong ------------------------------------------------------------------------------------------------


def test_another_number_of_prunings_is_refused_before_anything_is_trained():
    parts = Parts()
    with pytest.raises(InvalidValue, match=r"prunings is 5, and the plan has 3\n.*\nwrite prunings=3"):
        gated(parts, AccuracyGates(5))
    assert parts.steps == 0


def test_a_number_that_is_not_recorded_is_asked_for():
    with Parts().iterate(bb.Plan(schedule=bb.schedules.OneShot(0.5), rewind_to=None)) as levels:
        level = next(iter(levels))
        epochs = level.epochs(3, until=AccuracyGates(1))
        next(epochs)
        level.record(loss=1.0)
        with pytest.raises(InvalidValue, match="until looks at 'train_accuracy', and epoch 0 has recorded loss"):
            next(epochs)


def test_what_is_no_rule_is_no_rule():
    assert isinstance(AccuracyGates(1), EndingRule)
    assert not isinstance(lambda numbers: True, EndingRule)
