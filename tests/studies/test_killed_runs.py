"""Runs as processes: killed as a whole or in part, and two at once; they end with the same bits."""

import functools
import importlib
import itertools
import os
import signal
import time
from pathlib import Path

import psutil
import pytest
from midway import die_once

import forking
from budbreak.cli import guarded
from budbreak.studies import Event, run
from small import choose, digests, small

pytestmark = pytest.mark.slow
CHANGES = {"train.epochs": 4, "prune.schedule": {"is": "geometric", "rate": 0.2, "levels": 2}}
ARMS = {"host": {}, "ap": {"prune.then": ["ap"]}, "pro": {"prune.then": [{"is": "ap", "variant": "pro"}]}}


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The ends of all trainings of a run that nothing disturbs, in this process."""
    out = tmp_path_factory.mktemp("straight")
    run(choose(small(CHANGES, arms=ARMS), out))
    return digests(out)


def carry_out(name: str, arms: list[str], out: Path, workers: int, signalled: tuple[int, int] | None = None) -> int:
    """A run with some of the arms as the command does it, but for the page; its exit code.

    Args:
        signalled: the process sends itself the first of these signals once it was told of so many epochs and ends:
            it is then in the middle of its work, however slow it or whoever watches it may be.
    """
    recipe = small(CHANGES, name=name, arms={arm: ARMS[arm] for arm in arms})
    told = itertools.count(1)

    def report(event: Event) -> None:
        if signalled is not None and next(told) == signalled[1]:
            os.kill(os.getpid(), signalled[0])

    return guarded(lambda: int(not run(choose(recipe, out, workers=workers), report=report).complete))


def test_a_run_killed_again_and_again_ends_with_the_same_bits(tmp_path, straight):
    out = tmp_path / "out"
    for kill, after, count in ((signal.SIGKILL, 3, 2), (signal.SIGINT, 6, 1)):
        process = forking.start(carry_out, "tiny", [*ARMS], out, count, (kill, after))
        assert forking.end(process) == {signal.SIGKILL: -signal.SIGKILL, signal.SIGINT: 130}[kill]
        assert digests(out) != straight
    assert run(choose(small(CHANGES, arms=ARMS), out)).complete
    assert digests(out) == straight
    assert not list(out.rglob("*budbreak-unfinished"))


def test_killed_workers_take_nothing_with_them(tmp_path, straight, caplog, monkeypatch):
    """Both die in the middle of a task, when that is known: an idle one that is killed is replaced without a word."""
    met, told, events = tmp_path / "met", [], []
    met.mkdir()
    module = importlib.import_module("budbreak.studies.run")  # the room has a function of this name
    monkeypatch.setattr(module, "carry_out_task", functools.partial(die_once, met))

    def report(event):
        events.append((event.task, event.task in told[-1]))
        (met / event.task).touch()

    arms = {name: ARMS[name] for name in ("host", "ap")}
    assert run(choose(small(CHANGES, arms=arms), tmp_path, workers=2), report=report, working=told.append).complete
    assert sorted(path.name for path in met.glob("died *")) == ["died ap seed 0", "died host seed 0"]
    assert caplog.text.count("it goes on from its last checkpoint") == 2
    assert {name: epochs for tasks in told for name, epochs in tasks.items()} == {
        "dense of host seed 0": 4,
        "host seed 0": 8,
        "ap seed 0": 8,
    }
    assert max(map(len, told)) == 2
    assert told[-1] == {}
    assert {(f"{arm} seed 0", True) for arm in arms} <= set(events)
    found = digests(tmp_path)
    assert len(found) == 3
    assert found == {folder: straight[folder] for folder in found}


def test_two_runs_at_once_share_the_dense_training_and_one_waits(tmp_path, straight):
    """The first is stopped in its dense training: the second waits for it, and then takes its result."""
    out = tmp_path / "out"
    first = forking.start(carry_out, "one", ["host", "ap"], out, 1, (signal.SIGSTOP, 2))
    while psutil.Process(first.pid).status() != psutil.STATUS_STOPPED:
        time.sleep(0.01)
    noted = {path: path.stat().st_mtime_ns for path in out.glob("tasks/*/notes.json")}
    assert len(noted) == 1
    other = small(CHANGES, name="two", arms={name: ARMS[name] for name in ("host", "pro")})
    second = forking.start(carry_out, "two", ["host", "pro"], out, 1)
    while not (out / other.folder_name / "results.json").exists() and second.is_alive():
        time.sleep(0.01)
    time.sleep(1)  # it asks for the lock five times in this time
    assert {path: path.stat().st_mtime_ns for path in out.glob("tasks/*/notes.json")} == noted
    assert second.is_alive()
    os.kill(first.pid, signal.SIGCONT)
    assert (forking.end(first), forking.end(second)) == (0, 0)
    assert digests(out) == straight
