"""The command as a person sees it, on terminals of several widths, and with nobody watching."""

import os
import re
import sys
import termios
import time
from pathlib import Path

import pytest
from screens import Terminal
from small_commands import DIGITS, QUICK, TINY, sets

import forking
from budbreak.cli import main
from budbreak.cli.console import complain
from budbreak.cli.data import _bars
from budbreak.errors import InvalidValue

PLAIN = {**os.environ, "TERM": "xterm", "NO_COLOR": "1"}
for name in ("COLUMNS", "LINES", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
    PLAIN.pop(name, None)


@pytest.fixture
def terminal(request):
    """Of as many columns as the test names."""
    opened = Terminal(getattr(request, "param", 80))
    yield opened
    opened.close()


def in_turn(folder, first, *then):
    """One command after the other in a folder."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(PLAIN)
    code = main(first)
    for more in then:
        print("then")
        code = code or main(more)
    return code


@pytest.mark.parametrize("terminal", [60, 140], indirect=True)
def test_a_run_and_the_list_of_runs(terminal, tmp_path):
    process = terminal.start(in_turn, tmp_path, ["run", DIGITS, *QUICK, "--out", "out"], ["runs", "out"])
    assert forking.end(process) == 0
    shown = terminal.lines()
    turn = shown.index("then")
    lines, listed = shown[:turn], shown[turn + 1 :]
    at_work = re.compile(r"host seed [01] +(\d+\.\d %)? +(starting|\d+\.\d\d %) +[012]/2 *$", re.MULTILINE)
    assert at_work.search(without_moves(terminal.written))
    log = [line for line in lines if ": test " in line]
    assert len(log) == len(set(log)) == 6
    assert not any("at work" in line for line in lines)  # what changed has gone
    assert max(map(len, lines)) <= terminal.columns
    assert ("  difference, points [95 %]" in "\n".join(lines)) is (terminal.columns <= 80)
    assert any(line.startswith("run: out/digits-mlp-") for line in lines)
    (run,) = (path.parent for path in (tmp_path / "out").glob("*/results.json"))
    assert any(line.startswith(f"out/{run.name}") for line in listed)
    assert any(line.split()[:2] == ["folder", "recipe"] for line in listed) is (terminal.columns > 80)


def without_moves(written: str) -> str:
    """All that was ever drawn, without what moves and colours."""
    return re.sub(r"\x1b\[\??[\d;]*[A-Za-z]|\r", "", written)


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["here", "processes"])
def test_ctrl_c_leaves_the_terminal_as_it_was(executor, terminal, tmp_path):
    before = termios.tcgetattr(terminal.slave)
    long = [*sets(train__epochs=2000, train__schedule="constant"), "--seeds", "1", "--executor", executor]
    process = terminal.start(in_turn, tmp_path, ["run", DIGITS, *long, "--out", "out"])
    while not re.search(r"\b[1-9]\d*/\d+ epochs", terminal.written):
        assert process.is_alive()
        time.sleep(0.05)
    terminal.type(b"\x03")
    assert forking.end(process) == 130
    assert termios.tcgetattr(terminal.slave) == before
    assert re.findall(r"\x1b\[\?25[lh]", terminal.written)[-1].endswith("h")
    lines = [line for line in terminal.lines() if line]
    assert lines[-1] == "stopped; the same command goes on from the last checkpoint"
    assert re.fullmatch(r"\d+/\d+ epochs(, about .* left)?", lines[-2])
    assert not any("at work" in line for line in lines)


def test_where_nobody_watches_there_are_no_control_characters(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "")
    assert main(["run", DIGITS, *TINY, "--workers", "1", "--out", str(tmp_path)]) == 0
    streams = capsys.readouterr()
    assert "\x1b" not in streams.out + streams.err
    assert re.fullmatch(
        r"1/2 epochs \| dense of host seed 0 at 100.0 %: test \d+\.\d\d %\n"
        r"2/2 epochs \| host seed 0 at 80.0 %: test \d+\.\d\d %\n",
        streams.err,
    )


def test_an_error_is_three_lines_of_which_none_is_broken_or_read_as_markup(capsys):
    error = InvalidValue("[red]" * 20, "it must be ':smile:'", "write [arms.host] " * 10)
    complain("error", error.value, error.rule, error.fix)
    assert capsys.readouterr().err == f"error: {error}\n"


def test_an_arm_that_looks_like_markup_is_named_as_it_is(tmp_path, capsys):
    path = tmp_path / "a.toml"
    path.write_text(Path(DIGITS).read_text() + "\n[arms.'[red]']\n")
    assert main(["run", str(path)]) == 1
    assert capsys.readouterr().err.startswith("error: an arm is named '[red]'\n")


def test_a_download_has_a_bar_where_somebody_watches(terminal, monkeypatch, capsys):
    with _bars() as show:
        show("[red].gz", 5_000_000, 10_000_000)
    assert capsys.readouterr().err == ""
    for name, value in {"COLUMNS": "80", "LINES": "30", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    with open(terminal.slave, "w", encoding="utf-8", closefd=False) as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        with _bars() as show:
            show("[red].gz", 5_000_000, 10_000_000)
            show("[red].gz", 10_000_000, 10_000_000)
    assert any(re.match(r"\[red\]\.gz .* 10\.0/10\.0 MB", line) for line in terminal.lines())
