"""Trainings that end before their last epoch: by `level.stop`, or when what `until` asks for is there."""

import json

import numpy as np
import pytest
import torch
from small_runs import STEPS_PER_EPOCH, Parts, geometric, outcome

from budbreak.errors import InvalidValue

ENDS = {0: 3, 1: 1, 2: 2}
"""Level -> after how many epochs it is ended."""


def stopping(parts, level, **options):
    """Up to five epochs, ended by a call."""
    for epoch in level.epochs(5, **options):
        parts.epoch()
        if epoch + 1 == ENDS[level.number]:
            level.stop()


def then_left(parts, level, **options):
    """The same, left at once."""
    for epoch in level.epochs(5, **options):
        parts.epoch()
        if epoch + 1 == ENDS[level.number]:
            level.stop()
            break


def twice(parts, level, **options):
    """Said in the middle of the epoch, and again at its end."""
    for epoch in level.epochs(5, **options):
        ends = epoch + 1 == ENDS[level.number]
        if ends:
            level.stop()
        parts.epoch()
        if ends:
            level.stop()


def until(parts, level, **options):
    """Up to five epochs, ended by a number."""
    for epoch in level.epochs(5, until=lambda numbers: numbers["done"] >= ENDS[level.number], **options):
        parts.epoch()
        level.record(done=epoch + 1)


def counted(parts, level):
    """As many epochs as there are, known before."""
    for epoch in level.epochs(ENDS[level.number]):
        parts.epoch()
        level.record(done=epoch + 1)


def run(parts, body, *, leave=None, store=None, levels=2, **options):
    """Returns (parts, history); left, as by a kill, once the parts have made ``leave`` steps."""

    def each(parts, x):
        if parts.steps == leave:
            raise KeyboardInterrupt

    epoch = parts.epoch
    parts.epoch = lambda: epoch(each)
    with parts.iterate(geometric(levels), store=store) as loop:
        for level in loop:
            body(parts, level, **options)
            level.record(accuracy=parts.accuracy())
    return parts, loop.history


def told(parts, history):
    """What two runs share that end alike, whatever ended them."""
    found = outcome(parts, history)
    return {**found, "records": [(r.level, r.epochs, r.steps, r.end_digest, r.metrics["accuracy"]) for r in history]}


@pytest.mark.parametrize("body", [stopping, then_left, twice, until])
def test_what_is_ended_early_equals_what_was_planned_as_short(body):
    parts, history = run(Parts(), body)
    assert [(r.epochs, r.steps) for r in history] == [(3, 12), (1, 4), (2, 8)]
    assert told(parts, history) == told(*run(Parts(), counted))


@pytest.fixture(scope="module")
def planned():
    """What trainings that were planned as short end with."""
    torch.manual_seed(0)
    return told(*run(Parts(), counted))


KILLED = [*((1, epochs) for epochs in range(1, 7)), (2, 2), (2, 3), (2, 5), (9, 3), (9, 6)]
"""Epochs between checkpoints, and the epoch in which it is killed."""


@pytest.mark.parametrize("body", [stopping, then_left, until])
@pytest.mark.parametrize(("every", "epochs"), KILLED)
def test_killed_within_an_epoch_it_ends_at_the_same_one(tmp_path, body, every, epochs, planned):
    leave = epochs * STEPS_PER_EPOCH - 1
    with pytest.raises(KeyboardInterrupt):
        run(Parts(), body, leave=leave, store=tmp_path, checkpoint_every=every)
    resumed = run(Parts(), body, store=tmp_path, checkpoint_every=every)
    assert told(*resumed) == planned
    assert resumed[0].steps <= 24 - (epochs - 1) * STEPS_PER_EPOCH or every > 1


def test_killed_after_its_last_epoch_a_stopped_level_trains_no_more(tmp_path):
    def killed(parts, level):
        stopping(parts, level)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(Parts(), killed, store=tmp_path, levels=1)
    again = Parts()
    with again.iterate(geometric(1), store=tmp_path) as levels:
        assert levels.resumed == "going on from level 0 of 1, stage 0: 3 of its epochs are done"
        level = next(iter(levels))
        assert list(level.epochs(5)) == []
    assert again.steps == 0
    assert [record.epochs for record in levels.history] == [3], "it is over, and is finished"


def test_a_stopped_level_is_over_when_the_loop_over_the_levels_is_left():
    for leave in (True, False):
        parts = Parts()
        with parts.iterate(geometric(2)) as levels:
            for level in levels:
                for _ in level.epochs(5):
                    parts.epoch()
                    if parts.steps == 8:
                        level.stop()
                        if leave:
                            break
                if level.number == 0:
                    break
        assert [(r.level, r.epochs) for r in levels.history] == [(0, 2)]


def test_numbers_are_those_of_the_epoch_alone():
    seen, parts = [], Parts()

    def look(numbers):
        seen.append(numbers)
        return False

    with parts.iterate(geometric(1)) as levels:
        for level in levels:
            level.record(before=1.0)
            for epoch in level.epochs(3, until=look):
                parts.epoch()
                level.record(loss=0.5, epoch=epoch)
                if epoch == 1:
                    level.record(accuracy=0.25, loss=0.75)
    assert seen[:3] == [
        {"loss": 0.5, "epoch": 0.0},
        {"loss": 0.75, "epoch": 1.0, "accuracy": 0.25},
        {"loss": 0.5, "epoch": 2.0},
    ]
    assert seen[3:] == seen[:3]
    assert [record.epochs for record in levels.history] == [3, 3]
    assert levels.history[0].metrics == {"before": 1.0, "loss": 0.5, "epoch": 2.0, "accuracy": 0.25}


class Patience:
    """Early stopping that remembers: an object in ``resets``."""

    def __init__(self):
        self.best, self.waited = float("inf"), 0

    def __call__(self, numbers):
        self.waited = 0 if numbers["loss"] < self.best else self.waited + 1
        self.best = min(self.best, numbers["loss"])
        return self.waited >= 2

    def state_dict(self):
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state):
        self.best, self.waited = state["best"], state["waited"]


@pytest.mark.parametrize("leave", [1, 2, 3, 4, 6])
def test_patience_in_resets_ends_a_resumed_level_at_the_same_epoch(tmp_path, leave):
    losses = [3.0, 2.0, 4.0, 2.5, 0.0, 0.0]

    def run(leave=None, store=None):
        parts, patience = Parts(), Patience()
        with parts.iterate(geometric(1), resets=[parts.scheduler, patience], store=store) as levels:
            for level in levels:
                for epoch in level.epochs(6, until=patience):
                    if parts.steps == leave:
                        return None
                    parts.epoch()
                    level.record(loss=losses[epoch])
        return [(r.epochs, r.end_digest) for r in levels.history]

    run(leave * STEPS_PER_EPOCH, tmp_path)
    resumed = run(store=tmp_path)
    assert resumed == run()
    assert [epochs for epochs, _ in resumed] == [4, 4]


def test_a_gate_that_stays_closed_ends_nothing():
    parts = Parts()
    with parts.iterate(geometric(1)) as levels:
        for level in levels:
            for _ in level.epochs(2, until=lambda numbers: numbers["accuracy"] > 2):
                parts.epoch()
                level.record(accuracy=parts.accuracy())
    assert [record.epochs for record in levels.history] == [2, 2]


def test_a_scheduler_of_the_level_does_not_send_a_stopped_one_back(tmp_path):
    """Its last epoch is stored, though none before was."""

    def killed(parts, level):
        scheduler = torch.optim.lr_scheduler.ConstantLR(parts.optimizer, factor=1.0)
        for epoch in level.epochs(5):
            parts.epoch()
            scheduler.step()
            if epoch == 2:
                level.stop()
        raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="is made in each level"), pytest.raises(KeyboardInterrupt):
        run(Parts(), killed, store=tmp_path, levels=1)
    with Parts().iterate(geometric(1), store=tmp_path) as levels:
        assert list(next(iter(levels)).epochs(5)) == []


def test_the_record_on_disk_has_the_epochs_that_were_trained(tmp_path):
    run(Parts(), until, store=tmp_path)
    records = json.loads((tmp_path / "records.json").read_text())["records"]
    assert [record["epochs"] for record in records] == [3, 1, 2]


# --- what is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after", "without"])
def test_stop_belongs_into_the_loop_over_the_epochs(when):
    parts = Parts()
    with parts.iterate(geometric(1)) as levels:
        level = next(iter(levels))
        if when != "without":
            epochs = level.epochs(1)
        if when == "after":
            for _ in epochs:
                parts.epoch()
        with pytest.raises(InvalidValue, match=r"stop\(\) outside the epochs of level 0\n.*\n.*by break"):
            level.stop()


def test_a_level_that_is_over_is_not_stopped():
    parts = Parts()
    with parts.iterate(geometric(1)) as levels:
        loop = iter(levels)
        level = next(loop)
        epochs = level.epochs(2)
        next(epochs)
        parts.epoch()
        next(loop)
        with pytest.raises(InvalidValue, match=r"stop\(\) in level 0, which is over"):
            level.stop()


ANSWERS = {
    "nothing": (lambda numbers: None, r"until gave None for epoch 0\n.*True or False"),
    "a number": (lambda numbers: 0.93, r"until gave 0\.93 for epoch 0"),
    "a text": (lambda numbers: "no", r"until gave 'no' for epoch 0"),
    "a number that is not there": (
        lambda numbers: numbers["val_accuracy"] > 0.9,
        r"until looks at 'val_accuracy', and epoch 0 has recorded accuracy\n.*\nwrite level\.record\(val_accuracy=",
    ),
}


def asking(until, *, within=True):
    """A training of one epoch in which an accuracy is recorded, or before which."""
    parts = Parts()
    with parts.iterate(geometric(1)) as levels:
        level = next(iter(levels))
        level.record(accuracy=0.5)
        for _ in level.epochs(2, until=until):
            parts.epoch()
            if within:
                level.record(accuracy=0.5)


@pytest.mark.parametrize("what", ANSWERS)
def test_an_answer_that_is_none_is_refused(what):
    answer, words = ANSWERS[what]
    with pytest.raises(InvalidValue, match=words):
        asking(answer)


def test_a_number_recorded_outside_the_epochs_is_not_looked_at():
    with pytest.raises(InvalidValue, match="until looks at 'accuracy', and epoch 0 has recorded nothing"):
        asking(lambda numbers: numbers["accuracy"] > 0.4, within=False)


def test_an_error_within_until_is_its_own():
    with pytest.raises(KeyError, match="accuracy"):
        asking(lambda numbers: {}["accuracy"])


@pytest.mark.parametrize("given", ["accuracy", 0.9, True, dict])
def test_what_is_no_question_is_refused_before_the_first_epoch(given):
    with Parts().iterate(geometric(1)) as levels:
        level = next(iter(levels))
        with pytest.raises(InvalidValue, match=r"until is .*\nit must be a function\nwrite until="):
            level.epochs(2, until=given)


def test_numpy_answers_are_answers():
    parts = Parts()
    with parts.iterate(geometric(1)) as levels:
        for level in levels:
            for _ in level.epochs(3, until=lambda numbers: np.float64(numbers["loss"]) < 1):
                parts.epoch()
                level.record(loss=0.5)
    assert [record.epochs for record in levels.history] == [1, 1]


def test_a_stopped_level_goes_on_with_as_many_planned_epochs_as_before(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(Parts(), stopping, leave=6, store=tmp_path)
    with (
        Parts().iterate(geometric(2), store=tmp_path) as levels,
        pytest.raises(InvalidValue, match=r"epochs\(7\), but this level was begun with epochs\(5\) and has done 1"),
    ):
        next(iter(levels)).epochs(7)


def test_an_until_changes_no_store(tmp_path):
    run(Parts(), until, store=tmp_path)
    parts, history = run(Parts(), stopping, store=tmp_path)
    assert parts.steps == 0
    assert [record.epochs for record in history] == [3, 1, 2]
