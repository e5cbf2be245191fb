"""Executors: here, and in real processes that are killed in every way; nothing is lost, hangs or stays behind."""

from __future__ import annotations

import builtins
import contextlib
import gc
import multiprocessing
import os
import platform
import resource
import signal
import sys
import threading
import time
from concurrent.futures import wait
from pathlib import Path

import pytest
import torch
from counting import ENDS, Count, attempts, count, expected

import forking
from budbreak.errors import InvalidValue, UnknownName
from budbreak.executors.executing import environment_defaults
from budbreak.executors.executors import EXECUTORS, HereExecutor, open_executor, usual_executor
from budbreak.executors.scheduling import carry_out

SHARED = Path("/dev/shm")


@pytest.fixture
def nothing_left():
    """No process and no semaphore is there afterwards that was not there before."""
    children, held = set(multiprocessing.active_children()), semaphores()
    yield
    assert set(multiprocessing.active_children()) == children
    assert eventually(lambda: semaphores() == held)


def semaphores() -> list[str]:
    gc.collect()  # a pool that lost its process is a circle, which holds its semaphores
    return [name for name in sorted(os.listdir(SHARED)) if f"loky-{os.getpid()}-" in name] if SHARED.is_dir() else []


def eventually(condition, seconds: float = 60.0) -> bool:
    """Whether it holds in the end; a slow machine is given much time, since only what fails takes it."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def lives(pid: int) -> bool:
    """Whether a process runs; one that has ended, but was not waited for by its parent, does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in ("Z", "X")
    except OSError:
        return False


@pytest.fixture(scope="module")
def opened():
    """Two processes for the tests that leave them alive; they are gone afterwards, and so is all that they held."""
    with open_executor("processes", 2) as two:
        yield two
    assert multiprocessing.active_children() == []
    assert eventually(lambda: not semaphores())


def carried_out(tasks, opened, *, tick=lambda: None, finished=lambda task: None):
    return carry_out(tasks, count, executor=opened.executor, workers=opened.workers, tick=tick, finished=finished)


def drive(tasks, **hooks):
    """With two processes of their own."""
    with open_executor("processes", 2) as own:
        return carried_out(tasks, own, **hooks)


# here


def test_here_a_call_is_done_when_it_is_submitted():
    future = HereExecutor().submit(divmod, 7, 2)
    assert future.done()
    assert future.result() == (3, 1)


def test_here_an_error_stays_in_the_future():
    error = HereExecutor().submit(ENDS["raises"]).exception()
    assert isinstance(error, RuntimeError)


@pytest.mark.parametrize(("end", "error"), [("exits", SystemExit), ("interrupted", KeyboardInterrupt)])
def test_here_what_stops_the_program_is_not_kept_from_it(end, error):
    with pytest.raises(error):
        HereExecutor().submit(ENDS[end])


def test_here_tasks_run_in_this_process(tmp_path):
    task = Count(tmp_path, "a")
    with open_executor("here") as here:
        assert not carried_out([task], here)
    assert attempts(task) == [os.getpid()]


# names


def test_an_unknown_executor_is_refused_with_the_nearest_one():
    with (
        pytest.raises(UnknownName, match=r"no executor named 'process'\n.*'here', 'processes', 'ray'\n.*'processes'\?"),
        open_executor("process"),
    ):
        pass


@pytest.mark.parametrize("name", EXECUTORS)
def test_workers_are_counted_from_one(name):
    with pytest.raises(InvalidValue, match="workers is 0"), open_executor(name, 0):
        pass


def test_here_are_no_several_workers():
    with pytest.raises(InvalidValue, match="workers is 2"), open_executor("here", 2):
        pass


def test_ray_that_is_not_installed_is_an_extra(monkeypatch):
    real = builtins.__import__

    def without_ray(name, *rest):
        if name == "ray":
            raise ModuleNotFoundError("No module named 'ray'", name="ray")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_ray)
    with pytest.raises(InvalidValue, match=r"pip install 'budbreak\[ray\]'"), open_executor("ray"):
        pass


def test_one_worker_needs_no_other_process():
    assert (usual_executor(1), usual_executor(2)) == ("here", "processes")


def test_variables_of_the_user_stay_and_ours_are_taken_back(monkeypatch):
    monkeypatch.setenv("BUDBREAK_A", "theirs")
    monkeypatch.delenv("BUDBREAK_B", raising=False)
    with environment_defaults({"BUDBREAK_A": "ours", "BUDBREAK_B": "ours"}):
        assert (os.environ["BUDBREAK_A"], os.environ["BUDBREAK_B"]) == ("theirs", "ours")
    assert os.environ["BUDBREAK_A"] == "theirs"
    assert "BUDBREAK_B" not in os.environ


# processes


@pytest.mark.slow
def test_many_tasks_on_two_processes_are_begun_in_order_and_finish(tmp_path, opened):
    before = dict(os.environ)
    tasks = [Count(tmp_path, f"{number:02}", pause=0.005) for number in range(50)]
    finished = []
    assert not carried_out(tasks, opened, finished=finished.append)
    assert sorted(task.name for task in finished) == [task.name for task in tasks]
    assert all(task.lines() == expected(task) for task in tasks)
    begun: dict[int, list[str]] = {}
    for task in sorted(tasks, key=lambda task: (tmp_path / f"{task.name}.attempts").stat().st_mtime_ns):
        begun.setdefault(attempts(task)[0], []).append(task.name)
    assert len(begun) == 2
    assert os.getpid() not in begun
    assert all(names == sorted(names) for names in begun.values())
    assert dict(os.environ) == before


def faults_of_a_step() -> float:
    """Page faults of what a training step does: take some megabytes, give them back."""
    for round_ in range(12):
        if round_ == 2:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        held = [torch.zeros(1 << 20) for _ in range(8)]
        del held
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 10


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_a_worker_keeps_the_memory_of_a_step_for_the_next(opened):
    assert opened.executor.submit(faults_of_a_step).result() < 100  # of 8,192 pages


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_left")
def test_every_end_of_a_worker_is_survived_or_reported_and_all_others_run(tmp_path, caplog):
    def task(name, **fields) -> Count:
        return Count(tmp_path, name, **fields)

    broken = task("killed-always", end="killed", again=True)
    tasks = [
        task("fine", pause=0.05, steps=40),  # beside all the others
        task("killed", end="killed"),
        broken,
        task("leaves", end="leaves"),
        task("exits", end="exits"),
        task("raises", end="raises"),
        task("unpicklable", end="unpicklable"),
        task("unreadable", end="unreadable"),
        task("needs-broken", needs=(broken,)),
    ]
    finished = []
    failures = {failure.task: failure for failure in drive(tasks, finished=finished.append)}
    assert {name: failure.known for name, failure in failures.items()} == {
        "killed-always": True,
        "exits": False,
        "raises": False,
        "unpicklable": False,
        "unreadable": False,
        "needs-broken": True,
    }
    assert failures["killed-always"].text == "its process ended with code -9 (killed; out of memory?), twice"
    assert failures["needs-broken"].text == "it was not begun: it needs 'killed-always', which failed"
    assert "SystemExit: so long" in failures["exits"].text
    assert "RuntimeError: no luck" in failures["raises"].text
    assert "counting.py" in failures["raises"].text
    assert "it holds a lock" in failures["unpicklable"].text
    assert "one and other" in failures["unreadable"].text
    assert sorted(task.name for task in finished) == ["fine", "killed", "leaves"]
    assert all(task.lines() == expected(task) for task in finished)
    assert {task.name: len(attempts(task)) for task in finished} == {"killed": 2, "leaves": 2, "fine": 1}
    assert "leaves: its process ended with code 3; it goes on from its last checkpoint" in caplog.messages
    assert len(caplog.messages) == 3


@pytest.mark.slow
@pytest.mark.usefixtures("nothing_left")
def test_an_error_in_this_process_ends_workers_that_do_not_answer(tmp_path):
    stopped, quick = Count(tmp_path, "stopped", end="stops"), Count(tmp_path, "quick")
    raised = []

    def stop() -> None:
        if len(stopped.lines()) == stopped.steps // 2:
            raised.append(time.monotonic())
            raise RuntimeError("the display is gone")

    tasks = [stopped, quick, Count(tmp_path, "later", pause=0.5), Count(tmp_path, "last")]
    with pytest.raises(RuntimeError, match="the display is gone"):
        drive(tasks, tick=stop)
    assert time.monotonic() - raised[0] < 60  # it would never end: nobody wakes the worker
    assert not any(lives(pid) for pid in attempts(stopped))


@pytest.mark.slow
def test_a_task_that_cannot_be_sent_fails_alone(tmp_path, opened):
    fine = Count(tmp_path, "fine")
    wrong = Count(tmp_path, "wrong", needs=(threading.Lock(),))  # it is only looked at by pickle
    object.__setattr__(wrong, "needs", ())
    object.__setattr__(wrong, "lock", threading.Lock())
    failures = carried_out([wrong, fine], opened)
    assert [failure.task for failure in failures] == ["wrong"]
    assert "cannot pickle" in failures[0].text
    assert fine.lines() == expected(fine)


@pytest.mark.slow
def test_more_calls_than_processes_wait_for_their_turn(opened):
    futures = [opened.executor.submit(pow, 2, power) for power in range(7)]
    wait(futures, timeout=300)
    assert [future.result() for future in futures] == [1, 2, 4, 8, 16, 32, 64]


# whole programs, which get the signals


def count_in_two_processes(folder):
    """A program that stands in a folder full of traps, and has work for half an hour."""
    os.chdir(folder)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
    drive([Count(folder, f"{n}", steps=100_000, pause=0.02) for n in range(6)])


@pytest.fixture
def program(tmp_path):
    """A program with two workers, in a process group of its own; what it writes to stderr is in the file said."""
    (tmp_path / "random.py").write_text("raise SystemExit('imported from the current folder')")
    process = forking.start(count_in_two_processes, tmp_path, errors=tmp_path / "said")
    yield process
    with contextlib.suppress(ProcessLookupError):  # nothing of it is left, as it should be
        os.killpg(process.pid, signal.SIGKILL)
    forking.end(process)


def members(group: int) -> list[int]:
    """The processes of a group that run."""
    stats = {pid: Path(f"/proc/{pid}/stat") for pid in os.listdir("/proc") if pid.isdigit()}
    return [int(pid) for pid in stats if lives(int(pid)) and group_of(int(pid)) == group]


def group_of(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except OSError:
        return -1


def both_count(folder: Path) -> bool:
    return all(len(Count(folder, name).lines()) > 2 for name in "01")


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are listed from /proc")


@needs_proc
@pytest.mark.slow
def test_workers_and_their_helpers_die_with_a_driver_that_is_killed(program, tmp_path):
    assert eventually(lambda: both_count(tmp_path), 300)
    program.kill()
    forking.end(program)
    assert eventually(lambda: not members(program.pid))
    before = Count(tmp_path, "0").lines()
    time.sleep(0.2)
    assert Count(tmp_path, "0").lines() == before


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 1), (signal.SIGTERM, 143)])
def test_a_signal_to_the_whole_group_ends_it_at_once_without_words_from_workers(program, tmp_path, number, code):
    assert eventually(lambda: both_count(tmp_path), 300)
    os.killpg(program.pid, number)
    assert forking.end(program) == code
    assert eventually(lambda: not members(program.pid))
    assert (tmp_path / "said").read_text().count("Traceback") == (1 if number == signal.SIGINT else 0)


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.0, 0.2])
def test_ctrl_c_while_the_workers_start_is_the_same(program, tmp_path, delay):
    assert eventually(lambda: len(members(program.pid)) > 1, 300)  # its first helper is there
    time.sleep(delay)
    os.killpg(program.pid, signal.SIGINT)
    forking.end(program)
    assert eventually(lambda: not members(program.pid))
    said = (tmp_path / "said").read_text()
    assert said.count("Traceback") == 1
    assert "KeyboardInterrupt" in said
