"""Runs as processes: killed as a whole or in part, and two at once; they end with the same bits."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small import choose, digests, small

from budbreak.studies import load_recipe, load_result, run
from budbreak.studies.recipefile import to_toml

pytestmark = pytest.mark.slow
CHANGES = {"train.epochs": 4, "prune.schedule": {"is": "geometric", "rate": 0.2, "levels": 2}}
ARMS = {"host": {}, "ap": {"prune.then": ["ap"]}, "pro": {"prune.then": [{"is": "ap", "variant": "pro"}]}}


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The ends of all trainings of a run that nothing disturbs, in this process."""
    out = tmp_path_factory.mktemp("straight")
    run(choose(small(CHANGES, arms=ARMS), out))
    return digests(out)


def started(folder: Path, recipe, out: Path, *extra: str) -> subprocess.Popen:
    path = folder / f"{recipe.name}.toml"
    path.write_text(to_toml(recipe.plain))
    with (folder / f"{recipe.name}.err").open("w") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", "budbreak", "run", str(path), "--out", str(out), *extra],
            stdout=subprocess.DEVNULL,
            stderr=errors,
            # where the tests themselves run in the background, SIGINT is ignored, and children would inherit that
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )


def wait_for_checkpoints(out: Path, count: int, process: subprocess.Popen) -> None:
    """Until tasks have written about so many checkpoints, by their modification times."""
    seen: set[int] = set()
    while len(seen) < count and process.poll() is None:
        for path in out.glob("tasks/*/checkpoint.safetensors"):
            with contextlib.suppress(FileNotFoundError):
                seen.add(path.stat().st_mtime_ns)
        time.sleep(0.005)


def test_a_run_killed_again_and_again_ends_with_the_same_bits(tmp_path, straight):
    recipe, out = small(CHANGES, arms=ARMS), tmp_path / "out"
    for kill, after in ((signal.SIGKILL, 3), (signal.SIGINT, 9)):
        process = started(tmp_path, recipe, out, "--workers", "2")
        wait_for_checkpoints(out, after, process)
        os.kill(process.pid, kill)
        assert process.wait() in (-signal.SIGKILL, 130)
    assert started(tmp_path, recipe, out, "--workers", "2").wait() == 0
    assert digests(out) == straight
    assert load_result(out / recipe.folder_name).complete
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

    choice = choose(small(CHANGES, arms=ARMS), tmp_path, workers=2)
    assert run(choice, report=kill).complete
    assert killed
    assert "it goes on from its last checkpoint" in caplog.text
    assert digests(tmp_path) == straight


def test_two_runs_at_once_share_the_dense_training_and_one_waits(tmp_path, straight):
    """The first is stopped in its dense training: the second waits for it, and then takes its result."""
    out = tmp_path / "out"
    first = started(
        tmp_path, small(CHANGES, name="one", arms={name: ARMS[name] for name in ("host", "ap")}), out, "--workers", "1"
    )
    wait_for_checkpoints(out, 2, first)
    os.kill(first.pid, signal.SIGSTOP)
    other = small(CHANGES, name="two", arms={name: ARMS[name] for name in ("host", "pro")})
    second = started(tmp_path, other, out, "--workers", "1")
    while not (out / other.folder_name / "results.json").exists() and second.poll() is None:
        time.sleep(0.05)
    time.sleep(1)
    noted = {path: path.stat().st_mtime_ns for path in out.glob("tasks/*/notes.json")}
    time.sleep(1)
    assert {path: path.stat().st_mtime_ns for path in out.glob("tasks/*/notes.json")} == noted
    assert len(noted) == 1
    assert second.poll() is None
    os.kill(first.pid, signal.SIGCONT)
    assert (first.wait(), second.wait()) == (0, 0)
    assert digests(out) == straight


def test_a_class_of_the_users_own_is_run_by_workers(tmp_path, mine):
    """The researcher's morning: a file beside the recipe, and an arm for it."""
    arms = {"host": {}, "mine": {"prune.criterion": {"is": "mine:Mine", "power": 3}}}
    (mine / "morning.toml").write_text(to_toml(small(arms=arms, seeds=2).plain))
    recipe = load_recipe(mine / "morning.toml")
    result = run(choose(recipe, tmp_path, workers=2, imports=(str(mine),)))
    assert result.complete
    assert {(row.arm, row.reference, row.n) for row in result.differences} == {("mine", "host", 2)}
    # a power leaves the order of sizes: the same weights stay, and the same bits come of them
    assert {row.mean for row in result.differences} == {0.0}
