"""Progress: lines that change on a terminal, a line per level elsewhere; no estimate before it is worth something."""

import contextlib
import io
import re
import sys
import warnings

import pytest
from screens import Terminal

from budbreak.cli import display, guarded
from budbreak.cli.display import Display
from budbreak.studies import Event


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test turns: seconds in a list of one."""
    now = [1000.0]
    monkeypatch.setattr(display.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def on_terminal(monkeypatch):
    """Gives a function that puts the errors on a terminal of some columns."""
    opened = []

    def put(columns: int, lines: int = 30, encoding: str = "utf-8", term: str = "xterm") -> Terminal:
        for name, value in {"COLUMNS": columns, "LINES": lines, "TERM": term}.items():
            monkeypatch.setenv(name, str(value))
        for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
            monkeypatch.delenv(name, raising=False)
        terminal = Terminal(columns, lines)
        stream = io.TextIOWrapper(
            io.FileIO(terminal.slave, "w", closefd=False), encoding, "backslashreplace", line_buffering=True
        )
        monkeypatch.setattr(sys, "stderr", stream)
        opened.append(terminal)
        return terminal

    yield put
    for terminal in opened:
        terminal.close()


def event(done, *, task="host seed 0", ended=False, total=100, density=0.8):
    numbers = {"validation_accuracy": 0.9123} | ({"test_accuracy": 0.9736} if ended else {})
    return Event(task, done, total, 1, done, density, numbers, ended)


def test_no_estimate_while_processes_start(clock):
    progress = Display(epochs=100, workers=2)
    progress.progress(None, {"host seed 0": 0, "host seed 1": 0})
    clock[0] += 60  # torch is imported
    progress.show(event(1))
    clock[0] += 30
    progress.show(event(1, task="host seed 1"))
    assert progress._whole(clock[0]) == "2/100 epochs"


def test_the_estimate_is_the_pace_since_the_first_epoch(clock):
    progress = Display(epochs=100, workers=1)
    clock[0] += 3600
    for done in range(1, 11):
        clock[0] += 10
        progress.show(event(done))
    # 9 epochs in the 90 s since the first, and 90 are left
    assert progress._whole(clock[0]) == "10/100 epochs, about 15 min left"
    assert progress._whole(clock[0] + 8) == "10/100 epochs, about 15 min left"
    assert progress._whole(clock[0] + 5000) == "10/100 epochs, about 15 min left"  # no further than the next epoch


def test_epochs_of_earlier_sessions_are_no_pace(clock):
    progress = Display(epochs=100, workers=1)
    progress.progress(None, {"host seed 0": 50})
    for done in range(51, 61):
        clock[0] += 10
        progress.show(event(done))
    assert progress._whole(clock[0]) == "60/100 epochs, about 7 min left"  # 9 in 90 s, 40 are left


def test_a_short_while_is_no_pace_either(clock):
    progress = Display(epochs=100, workers=1)
    for done in range(1, 20):
        progress.show(event(done))
        clock[0] += 0.2
    assert "left" not in progress._whole(clock[0])


def test_each_task_counts_once_and_each_level_has_a_line(clock, capsys):
    with Display(epochs=4, workers=1) as progress:
        for task in ("dense of host seed 0", "host seed 0"):
            progress.progress(None, {task: 0})
            for done in (1, 2):
                clock[0] += 30
                progress.show(event(done, task=task, total=2))
                if done == 2:
                    progress.show(event(done, task=task, total=2, ended=True))
    assert capsys.readouterr().err.splitlines() == [
        "2/4 epochs | dense of host seed 0 at 80.0 %: test 97.36 %",
        "4/4 epochs | host seed 0 at 80.0 %: test 97.36 %",
    ]


def test_an_interrupted_run_ends_with_where_it_stands(clock, capsys):
    with contextlib.suppress(KeyboardInterrupt), Display(epochs=40, workers=1) as progress:
        progress.progress(None, {"host seed 0": 10})
        progress.show(event(11))
        raise KeyboardInterrupt
    assert capsys.readouterr().err == "11/40 epochs\n"


@pytest.mark.parametrize("done", [{}, {"host seed 0": 10}])
def test_nothing_is_printed_where_nothing_happened(done, capsys):
    with Display(epochs=10, workers=1) as progress:
        progress.progress(None, done)
    assert capsys.readouterr().err == ""


def test_a_line_of_a_log_is_one_line_however_long(clock, capsys):
    with Display(epochs=12_345_678, workers=1) as progress:
        progress.show(event(1234567, task=f"{'long' * 30} seed 9", total=9999999, ended=True))
    assert capsys.readouterr().err == f"1234567/12345678 epochs | {'long' * 30} seed 9 at 80.0 %: test 97.36 %\n"


def both_at_work(progress, clock):
    """Two workers, a few epochs into a level."""
    progress.progress(None, {})
    progress.working({"host seed 0": 40, "ap-lite seed 11": 40})
    for done in range(1, 6):
        clock[0] += 20
        progress.show(event(done, total=40))
        progress.show(event(done, task="ap-lite seed 11", total=40, density=0.0072))
    clock[0] += 1
    progress.show(event(5, total=40, ended=True))


@pytest.mark.parametrize("columns", [60, 80, 140])
def test_a_terminal_has_a_line_per_worker_and_one_for_the_whole(columns, clock, on_terminal):
    terminal = on_terminal(columns)
    with Display(epochs=80, workers=2) as progress:
        both_at_work(progress, clock)
        lines = terminal.lines()
    live = lines[-5:] if not lines[-1] else lines[-4:]
    assert lines[0] == "host seed 0 at 80.0 %: test 97.36 %"  # of the log, above what changes
    assert [line.split() for line in live[:3]] == [
        ["at", "work", "lambda", "validation", "epochs", "left"],
        ["host", "seed", "0", "80.0", "%", "91.23", "%", "5/40", "12", "min"],
        ["ap-lite", "seed", "11", "0.7", "%", "91.23", "%", "5/40", "12", "min"],
    ]
    assert live[3].endswith("10/80 epochs, about 10 min left")
    assert terminal.lines()[:2] == ["host seed 0 at 80.0 %: test 97.36 %", "10/80 epochs, about 10 min left"]
    assert max(map(len, lines)) <= columns - 3


def test_what_changes_leaves_nothing_behind(clock, on_terminal):
    terminal = on_terminal(80)
    with Display(epochs=80, workers=2) as progress:
        both_at_work(progress, clock)
        progress.working({"ap-lite seed 11": 40})
        for done in range(6, 41):
            progress.show(event(done, task="ap-lite seed 11", total=40))
            clock[0] += 1
        progress.show(event(40, task="ap-lite seed 11", total=40, ended=True))
    lines = terminal.lines()
    assert [line for line in lines if line] == [
        "host seed 0 at 80.0 %: test 97.36 %",
        "ap-lite seed 11 at 80.0 %: test 97.36 %",
        "45/80 epochs, about 2 min left",
    ]


def test_a_killed_process_leaves_the_cursor_to_be_seen(on_terminal):
    terminal = on_terminal(80)
    with Display(epochs=80, workers=2) as progress:
        progress.working({"host seed 0": 40})
        assert re.findall(r"\x1b\[\?25[lh]", terminal.written)[-1].endswith("h")


def test_names_fold_where_there_is_little_room_and_numbers_stay_whole(clock, on_terminal):
    terminal, name = on_terminal(60), "a-rather-long-name-of-an-arm@learning_rate=0.001 seed 999"
    with Display(epochs=80, workers=2) as progress:
        progress.working({name: 40})
        clock[0] += 1
        progress.show(event(3, task=name, total=40))
        lines = terminal.lines()
    folded = [re.split(r"\s{2,}|$", line)[0] for line in lines if line]
    assert "".join(folded[1:-1]).replace(" ", "") == name.replace(" ", "")
    assert any("80.0 %     91.23 %    3/40" in line for line in lines)


def test_more_workers_than_the_terminal_is_high_are_counted(on_terminal):
    terminal = on_terminal(80, lines=10)
    with Display(epochs=80, workers=20) as progress:
        progress.working({f"host seed {seed}": 4 for seed in range(20)})
        lines = terminal.lines()
    assert sum("starting" in line for line in lines) == 6
    assert any("0/80 epochs" in line for line in lines)


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_a_terminal_that_can_nothing_gets_plain_lines(term, clock, on_terminal):
    terminal = on_terminal(80, term=term)
    with Display(epochs=80, workers=2) as progress:
        both_at_work(progress, clock)
    assert "\x1b" not in terminal.written
    assert terminal.lines()[0] == "10/80 epochs, about 10 min left | host seed 0 at 80.0 %: test 97.36 %"


def test_without_colour_none_is_shown(clock, on_terminal, monkeypatch):
    terminal = on_terminal(80)
    monkeypatch.setenv("NO_COLOR", "1")
    with Display(epochs=80, workers=2) as progress:
        both_at_work(progress, clock)
    assert not re.search(r"\x1b\[(?:\d;)*(?:3\d|4\d|9\d)[;m]", terminal.written)


def test_an_encoding_without_lines_gets_a_bar_of_dashes(clock, on_terminal):
    terminal = on_terminal(80, encoding="ascii")
    with Display(epochs=10, workers=1) as progress:
        progress.working({"h\u03bbst seed 0": 10})
        clock[0] += 1
        progress.show(event(9, task="h\u03bbst seed 0", total=10))
    assert "h\\u03bbst seed 0" in terminal.written
    assert re.search("-{10,}", terminal.written)
    assert "\\u2501" not in terminal.written


def test_warnings_and_prints_meanwhile_stand_above_what_changes(clock, on_terminal):
    terminal = on_terminal(80)

    def command() -> int:
        with warnings.catch_warnings(), Display(epochs=80, workers=2) as progress:
            warnings.simplefilter("always")
            progress.working({"host seed 0": 40})
            warnings.warn("[red]careful[/red]", UserWarning, stacklevel=1)
            print("a tracker says so", file=sys.stderr)
            clock[0] += 1
            progress.show(event(3, total=40))
        return 0

    assert guarded(command) == 0
    lines = terminal.lines()
    assert lines[0] == "warning: [red]careful[/red]"
    assert lines[1].startswith("(UserWarning, ")
    assert "a tracker says so" in lines
    assert [line for line in lines if line][-1] == "3/80 epochs"
