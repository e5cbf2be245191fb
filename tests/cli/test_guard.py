"""Streams, signals and errors of the operating system: none of them decides over the work, none shows a traceback."""

import contextlib
import errno
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_commands import DIGITS, QUICK, TINY

from budbreak.cli import guarded, main
from budbreak.cli.streams import SteadyStream

START = [sys.executable, "-P", "-c", "import sys; from budbreak_command import main; sys.exit(main())"]


def on(path_or_descriptor, encoding="utf-8"):
    return io.TextIOWrapper(io.FileIO(path_or_descriptor, "w"), encoding=encoding, line_buffering=True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_device_costs_the_text_and_says_so():
    with on("/dev/full") as full:
        stream = SteadyStream(full)
        assert stream.write("one\n") == 4
        stream.write("two\n")
        stream.flush()
        assert stream.lost == os.strerror(errno.ENOSPC)


def test_a_reader_that_left_is_no_loss():
    reading, writing = os.pipe()
    os.close(reading)
    with on(writing) as stream:
        steady = SteadyStream(stream)
        steady.write("one\n")
        assert steady.lost == ""


def test_characters_that_the_encoding_lacks_are_spelt(tmp_path):
    with on(str(tmp_path / "a"), "ascii") as stream:
        SteadyStream(stream).write("λ = 1\n")
    assert (tmp_path / "a").read_bytes() == b"\\u03bb = 1\n"


def test_no_stream_at_all_and_a_closed_one():
    closed = io.StringIO()
    closed.close()
    for stream in (SteadyStream(None), SteadyStream(closed)):
        stream.write("x")
        stream.flush()
        assert not stream.isatty()


def test_lost_output_tells_in_the_exit_code(monkeypatch, capsys):
    with on("/dev/full") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert guarded(lambda: print("x") or 0) == 1
    assert "what was asked is done" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            PermissionError(errno.EACCES, "Permission denied", "secret"),
            ["secret: Permission denied", "the right to it"],
        ),
        (OSError(errno.ENAMETOOLONG, "File name too long", "x"), ["shorter name"]),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), ["the system: No such", "folder that exists"]),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "a"), ["give a file"]),
        (OSError("odd"), ["odd"]),
        (MemoryError(), ["not enough memory"]),
    ],
)
def test_an_error_of_the_system_is_three_lines(error, words, capsys):
    def command():
        raise error

    assert guarded(command) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 3
    assert all(word in err for word in words)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_unwinds_and_ends_with_its_code(number, code, capsys):
    unwound = []

    def command():
        try:
            os.kill(os.getpid(), number)
            time.sleep(5)
        finally:
            unwound.append(True)
        return 0

    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert guarded(command) == code
    finally:
        signal.signal(signal.SIGINT, before)
    assert unwound
    assert "goes on from the last checkpoint" in capsys.readouterr().err


def test_the_folder_in_which_one_stands_is_gone(tmp_path, monkeypatch, capsys):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    for arguments in (
        ["run", DIGITS, *TINY],
        ["run", DIGITS, "--set", "network.name=nowhere:x"],
        ["report", "x"],
        ["runs"],
    ):
        assert main(arguments) == 1
    err = capsys.readouterr().err
    assert err.count("error: ") == 4
    assert "Traceback" not in err


def shell(text: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which BUDBREAK is the command."""
    line = text.replace("BUDBREAK", f"'{sys.executable}' -P -m budbreak")
    return subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True)


@pytest.mark.slow
def test_closed_streams_do_not_stop_a_run(tmp_path):
    arguments = " ".join(TINY)
    done = shell(f"PYTHONIOENCODING=ascii BUDBREAK run {DIGITS} {arguments} --out out >&- 2>&- <&-", tmp_path)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "out").glob("*/report.html"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_reader_that_left_and_a_full_device_do_not_stop_a_run(tmp_path, monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    with on("/dev/full", "ascii") as full, on(writing, "ascii") as pipe:
        monkeypatch.setattr(sys, "stderr", full)
        monkeypatch.setattr(sys, "stdout", pipe)
        assert main(["run", DIGITS, *TINY, "--out", str(tmp_path)]) == 0
        monkeypatch.undo()
        for stream in (full, pipe):  # at its end it would try once more
            with contextlib.suppress(OSError):
                stream.close()
    assert list(tmp_path.glob("*/report.html"))


@pytest.mark.slow
def test_a_reader_that_left_and_a_full_device_do_not_stop_the_whole_command(tmp_path):
    done = shell("PYTHONIOENCODING=ascii BUDBREAK runs . 2>/dev/full | true; exit ${PIPESTATUS[0]}", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
def test_a_full_device_is_told_by_the_code_of_the_whole_command(tmp_path):
    done = shell("BUDBREAK runs . >/dev/full", tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 3
    assert os.strerror(errno.ENOSPC) in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.1, 0.3, 0.6])
def test_an_interrupt_during_the_imports_shows_no_traceback(seconds, tmp_path):
    start = [part.replace("; sys.exit", "; print('begun', flush=True); sys.exit") for part in START]
    process = subprocess.Popen(
        [*start, "run", DIGITS, *TINY, "--out", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"  # what comes before is Python's own
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode in (-signal.SIGINT, 130)
    assert "Traceback" not in err


def of_session(session: int) -> list[int]:
    """The living processes of a session."""
    living = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has gone meanwhile
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                living.append(int(path.parent.name))
    return living


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc")
def test_a_run_with_two_workers_is_stopped_whole_and_goes_on(finished, tmp_path):
    """The command again ends with the networks of a run that nothing disturbed."""
    command = [*START, "run", DIGITS, *QUICK, "--workers", "2", "--out", "out"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while not list(tmp_path.glob("out/tasks/*/notes.json")):  # the first epoch of a worker
        assert process.poll() is None
        time.sleep(0.02)
    process.terminate()
    _, err = process.communicate(timeout=300)
    assert process.returncode == 143
    assert "Traceback" not in err
    assert "goes on from the last checkpoint" in err
    end = time.monotonic() + 60
    while of_session(process.pid):
        assert time.monotonic() < end, "processes left over"
        time.sleep(0.05)
    assert main(["run", DIGITS, *QUICK, "--out", str(tmp_path / "out")]) == 0  # here: who computes does not matter
    for path in (finished / "networks").iterdir():
        assert path.read_bytes() == (tmp_path / "out" / finished.name / "networks" / path.name).read_bytes()
    assert not list((tmp_path / "out").rglob(".*"))
