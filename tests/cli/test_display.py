"""Progress: one line that changes, and no estimate before it is worth something."""

import re

import pytest

from budbreak.cli import display
from budbreak.cli.display import Display
from budbreak.cli.folding import WIDTH
from budbreak.studies import Event


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test turns: seconds in a list of one."""
    now = [1000.0]
    monkeypatch.setattr(display.time, "monotonic", lambda: now[0])
    return now


def event(done, *, task="host seed 0", ended=False, total=100):
    return Event(task, done, total, 1, done, 0.8, {"test_accuracy": 0.9736} if ended else {}, ended)


def shown(capsys):
    return capsys.readouterr().err.splitlines()


def test_no_estimate_while_processes_start(clock, capsys):
    with Display(epochs=100, workers=2) as progress:
        progress.progress(None, {"host seed 0": 0, "host seed 1": 0})
        clock[0] += 60  # torch is imported
        progress.show(event(1))
        clock[0] += 30
        progress.show(event(1, task="host seed 1"))
        assert "left" not in capsys.readouterr().err


def test_the_estimate_is_the_pace_since_the_first_epoch(clock, capsys):
    with Display(epochs=100, workers=1) as progress:
        clock[0] += 3600
        for done in range(1, 11):
            progress.show(event(done))
            clock[0] += 10
        # 9 epochs in the 100 s since the first, and 90 are left
        assert progress._line(clock[0]) == "10/100 epochs, about 17 min left"


def test_epochs_of_earlier_sessions_are_no_pace(clock, capsys):
    with Display(epochs=100, workers=1) as progress:
        progress.progress(None, {"host seed 0": 50})
        for done in range(51, 61):
            progress.show(event(done))
            clock[0] += 10
        assert "60/100 epochs, about 7 min left" in progress._line(clock[0])  # 9 in 100 s, 40 are left


def test_a_short_while_is_no_pace_either(clock):
    with Display(epochs=100, workers=1) as progress:
        for done in range(1, 20):
            progress.show(event(done))
            clock[0] += 0.2
        assert "left" not in progress._line(clock[0])


def test_each_task_counts_once_and_nothing_is_left_at_the_end(clock, capsys):
    with Display(epochs=4, workers=1) as progress:
        for task in ("dense of host seed 0", "host seed 0"):
            progress.progress(None, {task: 0})
            for done in (1, 2):
                clock[0] += 30
                progress.show(event(done, task=task, total=2))
                progress.show(event(done, task=task, total=2, ended=done == 2))
    lines = shown(capsys)
    assert lines[-1] == "4/4 epochs | host seed 0 at 80.0 %: test 97.36 %"
    assert len(set(lines)) == len(lines)


def test_where_there_is_no_terminal_a_line_now_and_then(clock, capsys):
    with Display(epochs=1000, workers=1) as progress:
        for done in range(1, 101):
            progress.show(event(done, total=1000))
            clock[0] += 1
    lines = shown(capsys)
    assert 5 <= len(lines) <= 7
    assert lines[-1].startswith("100/1000 epochs, about 15 min left")


def test_on_a_terminal_one_line_changes(clock, capsys, monkeypatch):
    monkeypatch.setattr(display.sys.stderr, "isatty", lambda: True)
    with Display(epochs=10, workers=1) as progress:
        for done in range(1, 11):
            progress.show(event(done, total=10))
            clock[0] += 1
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert len(re.findall(r"\r\d+/10 epochs", text)) == 10


def test_nothing_is_printed_of_a_run_that_never_began(capsys):
    with pytest.raises(KeyError), Display(epochs=10, workers=1):
        raise KeyError
    assert capsys.readouterr().err == ""


def test_large_numbers_fit_80_columns(clock, capsys):
    with Display(epochs=12_345_678, workers=1) as progress:
        clock[0] += 1000
        progress.show(Event("a-rather-long-name-of-an-arm@learning_rate=0.001 seed 999", 1234567, 9999999, 100, 1,
                            0.00012, {"test_accuracy": 0.12345}, ended=True))  # fmt: skip
    assert all(len(line) <= WIDTH for line in shown(capsys))
