"""Runs as processes: killed as a whole or in part, and two at once; they end with the same bits."""

import contextlib
import json
import os
import signal
import time
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from small import choose, digests, small

import forking
from budbreak.cli import guarded
from budbreak.studies import Recipe, run

pytestmark = pytest.mark.slow
CHANGES = {"train.epochs": 4, "prune.schedule": {"is": "geometric", "rate": 0.2, "levels": 2}}
ARMS = {"host": {}, "ap": {"prune.then": ["ap"]}, "pro": {"prune.then": [{"is": "ap", "variant": "pro"}]}}


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The ends of all trainings of a run that nothing disturbs, in this process."""
    out = tmp_path_factory.mktemp("straight")
    run(choose(small(CHANGES, arms=ARMS), out))
    return digests(out)


def carry_out(name: str, arms: list[str], out: Path, workers: int) -> int:
    """A run with some of the arms as the command does it, but for the page; its exit code."""
    return guarded_run(small(CHANGES, name=name, arms={arm: ARMS[arm] for arm in arms}), out, workers)


def guarded_run(recipe: Recipe, out: Path, workers: int) -> int:
    """The exit code of a run."""
    return guarded(lambda: int(not run(choose(recipe, out, workers=workers)).complete))


def wait_for_checkpoints(out: Path, count: int, process: BaseProcess) -> None:
    """Until tasks have written about so many checkpoints, by their modification times."""
    seen: set[int] = set()
    while len(seen) < count and process.is_alive():
        for path in out.glob("tasks/*/checkpoint.safetensors"):
            with contextlib.suppress(FileNotFoundError):
                seen.add(path.stat().st_mtime_ns)
        time.sleep(0.005)


def test_a_run_killed_again_and_again_ends_with_the_same_bits(tmp_path, straight):
    out = tmp_path / "out"
    for kill, after, count in ((signal.SIGKILL, 3, 2), (signal.SIGINT, 9, 1)):
        process = forking.start(carry_out, "tiny", [*ARMS], out, count)
        wait_for_checkpoints(out, after, process)
        os.kill(process.pid, kill)
        assert forking.end(process) in (-signal.SIGKILL, 130)
    assert run(choose(small(CHANGES, arms=ARMS), out)).complete
    assert digests(out) == straight
    assert not list(out.rglob("*budbreak-unfinished"))


PHASES = ("trial", "finalist", "tuning", "tuned", "final")
SEARCH = {
    "prune.schedule": {"is": "one-shot", "sparsity": 0.8},
    "train.epochs": 4,
    "activations": {"space": ["relu", "swish", "tanh"], "trials": 3, "epochs": 3, "finalists": 1, "trainable": True},
    "tune": {"space": {"batch_size": {"choose": [32, 64, 128]}}, "trials": 3, "epochs": 3, "finalists": 1},
}


def found_by(out: Path) -> dict[str, object]:
    """Folder of a trial -> its candidate and scores, without what the clock says."""
    trials = {path.parent.name: json.loads(path.read_text()) for path in out.glob("tasks/*/trial.json")}
    return {name: {**trial["trial"], "seconds": 0} for name, trial in trials.items()}


def wait_for_phase(out: Path, phase: str, process: BaseProcess) -> None:
    """Until a task of this kind has written a checkpoint in its midst."""
    while process.is_alive() and not list(out.glob(f"tasks/{phase}-*/checkpoint.safetensors")):
        time.sleep(0.002)


def test_a_search_killed_in_each_of_its_phases_ends_with_the_same_bits(tmp_path):
    recipe, out = small(SEARCH), tmp_path / "out"
    for place, phase in enumerate(PHASES):
        kill, code = ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130))[place % 2]
        process = forking.start(guarded_run, recipe, out, 1)
        wait_for_phase(out, phase, process)
        os.kill(process.pid, kill)
        assert forking.end(process) == code, phase
    assert run(choose(recipe, out)).complete
    run(choose(recipe, tmp_path / "straight"))
    assert digests(out) == digests(tmp_path / "straight")
    assert found_by(out) == found_by(tmp_path / "straight")
    assert len(found_by(out)) == 8
    assert not list(out.rglob("*budbreak-unfinished"))


def workers() -> list[int]:
    """The living worker processes of this one."""
    found = []
    for child in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split():
        with contextlib.suppress(FileNotFoundError):
            line = Path(f"/proc/{child}/cmdline").read_bytes().decode()
            if "loky" in line and "tracker" not in line:
                found.append(int(child))
    return found


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the workers in /proc")
def test_killed_workers_take_nothing_with_them(tmp_path, straight, caplog):
    killed = []

    def kill(event):
        if event.level == 1 and not killed:
            killed.extend(workers())
            for worker in killed:
                os.kill(worker, signal.SIGKILL)

    choice = replace(choose(small(CHANGES, arms=ARMS), tmp_path), executor="processes")
    assert run(choice, report=kill).complete
    assert killed
    assert "it goes on from its last checkpoint" in caplog.text
    assert digests(tmp_path) == straight


def test_two_runs_at_once_share_the_dense_training_and_one_waits(tmp_path, straight):
    """The first is stopped in its dense training: the second waits for it, and then takes its result."""
    out = tmp_path / "out"
    first = forking.start(carry_out, "one", ["host", "ap"], out, 1)
    wait_for_checkpoints(out, 2, first)
    os.kill(first.pid, signal.SIGSTOP)
    other = small(CHANGES, name="two", arms={name: ARMS[name] for name in ("host", "pro")})
    second = forking.start(carry_out, "two", ["host", "pro"], out, 1)
    while not (out / other.folder_name / "results.json").exists() and second.is_alive():
        time.sleep(0.05)
    time.sleep(1)
    noted = {path: path.stat().st_mtime_ns for path in out.glob("tasks/*/notes.json")}
    time.sleep(1)
    assert {path: path.stat().st_mtime_ns for path in out.glob("tasks/*/notes.json")} == noted
    assert len(noted) == 1
    assert second.is_alive()
    os.kill(first.pid, signal.SIGCONT)
    assert (forking.end(first), forking.end(second)) == (0, 0)
    assert digests(out) == straight
