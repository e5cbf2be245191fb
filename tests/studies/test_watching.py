"""Progress is read from the notes of tasks, wherever they are computed."""

import pytest

import forking
from budbreak.results.notes import Notes
from budbreak.studies import run
from budbreak.studies.tasks import tasks_of
from budbreak.studies.training import carry_out_task
from budbreak.studies.watching import Watch
from small import Stopped, choose, small, stop_at

PRO = {"prune.then": [{"is": "ap", "variant": "pro"}]}


def pair(out, changes=None):
    recipe = small(changes)
    ((dense, levels),) = tasks_of("host", recipe.arms[0].setup, [0], choose(recipe, out).place)
    return dense, levels


def test_each_epoch_and_each_end_is_told_once(tmp_path):
    tasks, events = pair(tmp_path, PRO), []
    watch = Watch(tasks, events.append)
    for task in tasks:
        carry_out_task(task, watch.look)
        watch.look()
    assert [(e.task, e.done, e.total, e.level, e.epoch, e.ended) for e in events] == [
        ("dense of host seed 0", 1, 2, 0, 1, False),
        ("dense of host seed 0", 2, 2, 0, 2, False),
        ("dense of host seed 0", 2, 2, 0, 2, True),
        ("host seed 0", 1, 4, 1, 1, False),
        ("host seed 0", 2, 4, 1, 2, False),
        ("host seed 0", 2, 4, 1, 2, True),
        ("host seed 0", 3, 4, 1, 1, False),
        ("host seed 0", 4, 4, 1, 2, False),
        ("host seed 0", 4, 4, 1, 2, True),
    ]
    assert [round(event.density, 2) for event in events] == [1.0] * 3 + [0.82] * 3 + [0.8] * 3
    assert watch.done() == {"dense of host seed 0": 2, "host seed 0": 4}
    assert all(("test_accuracy" in event.numbers) == event.ended for event in events)


def test_retrainings_are_counted_and_told(tmp_path):
    changes = {"retrain": {"ways": ["masked", "free"]}}
    tasks, events = pair(tmp_path, changes), []
    for task in tasks:
        carry_out_task(task)
    watch = Watch(tasks, events.append)
    assert watch.done() == {"dense of host seed 0": 2, "host seed 0": 6}
    assert [task.epochs for task in tasks] == [2, 6]

    fresh = pair(tmp_path / "again", changes)
    watch = Watch(fresh, events.append)
    for task in fresh:
        carry_out_task(task, watch.look)
    assert [(e.retraining, e.done, e.total, e.level, e.epoch, e.ended) for e in events if e.task == "host seed 0"] == [
        ("", 1, 6, 1, 1, False),
        ("", 2, 6, 1, 2, False),
        ("", 2, 6, 1, 2, True),
        ("masked", 3, 6, 1, 1, False),
        ("masked", 4, 6, 1, 2, False),
        ("masked", 4, 6, 1, 2, True),
        ("free", 5, 6, 1, 1, False),
        ("free", 6, 6, 1, 2, False),
        ("free", 6, 6, 1, 2, True),
    ]
    watch.look()
    assert len(events) == 12


def test_what_earlier_sessions_noted_is_counted_and_not_told_again(tmp_path):
    with pytest.raises(Stopped):
        run(choose(small(), tmp_path), report=stop_at(1, 1))
    events = []
    watch = Watch(pair(tmp_path), events.append)
    assert watch.done() == {"dense of host seed 0": 2, "host seed 0": 1}
    watch.look()
    assert events == []
    carry_out_task(pair(tmp_path)[1], watch.look)
    assert [(event.epoch, event.ended) for event in events] == [(2, False), (2, True)]


def test_a_task_in_another_process_is_watched_too(tmp_path):
    dense, _ = pair(tmp_path)
    events = []
    watch = Watch([dense], events.append)
    assert forking.end(forking.start(carry_out_task, dense)) == 0
    watch.look()
    assert [event.epoch for event in events] == [1, 2, 2]
    watch.look()
    assert len(events) == 3


def test_notes_that_cannot_be_read_are_left_to_the_task(tmp_path):
    dense, _ = pair(tmp_path)
    events = []
    watch = Watch([dense], events.append)
    dense.folder.mkdir(parents=True)
    (dense.folder / "notes.json").write_text("{")
    watch.look()
    assert events == []
    (dense.folder / "notes.json").unlink()
    carry_out_task(dense)
    watch.look()
    assert len(events) == 3


def test_an_epoch_that_is_repeated_after_a_kill_is_told_once(tmp_path):
    dense, _ = pair(tmp_path)
    carry_out_task(dense)
    events = []
    watch = Watch([dense], events.append)
    notes = Notes(dense.folder, dense.identity)
    notes.add_epoch(notes.epochs[0, 0, 1])
    watch.look()
    assert events == []
