"""The pool of workers: no worker that is killed at any moment takes the run with it."""

import dataclasses
import os
import signal
import time
from pathlib import Path

import pytest
from budbreak.studies.job import Job

from budbreak.studies import Event, pool
from budbreak.studies.recipe import make_recipe

RECIPE = make_recipe({"name": "x", "dataset": "digits", "network": "mlp", "epochs": 1})


def scripted(job: Job, report) -> None:
    """Stands for `run_job` in the workers: does what the name of the arm says, 50 events before it."""
    for done in range(50):
        report(Event(job.name, done, 50, 0, done, 1.0, {"loss": 0.5}))
    if job.arm == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if job.arm == "killed-once" and not (job.folder / "tried").exists():
        (job.folder / "tried").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if job.arm == "killed-amid-words":
        os.write(own_pipe(), b"\x00\x00")  # half of the length of a message
        os.kill(os.getpid(), signal.SIGKILL)
    if job.arm == "raises":
        raise RuntimeError("no such luck")
    if job.arm == "stops":
        os.kill(os.getpid(), signal.SIGSTOP)
    (job.folder / job.name).write_text("ran")


def own_pipe() -> int:
    """The file descriptor of the worker's socket."""
    sockets = [int(name) for name in os.listdir("/proc/self/fd") if is_socket(name)]
    return sockets[0]


def is_socket(name: str) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{name}").startswith("socket")
    except OSError:
        return False


def scripted_worker(pipe, parent) -> None:
    pool.run_job = scripted
    WORK(pipe, parent)


WORK = pool._work


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.setattr(pool, "_work", scripted_worker)


def jobs(folder: Path, arms: list[str]) -> list[Job]:
    return [Job(RECIPE, arm, seed, folder, None, 1) for seed, arm in enumerate(arms)]


@pytest.mark.slow
def test_killed_and_failing_workers_are_tried_again_or_reported_and_all_others_run(tmp_path, caplog):
    shared = set(os.listdir("/dev/shm")) if Path("/dev/shm").is_dir() else set()
    everything = jobs(tmp_path, ["killed", "fine", "killed-amid-words", "raises", "killed-once", "fine"])
    events, finished = [], []
    failures = pool.run_jobs(everything, workers=2, report=events.append, finished=finished.append)
    by_job = {failure.job: failure for failure in failures}
    assert set(by_job) == {"killed-seed0", "killed-amid-words-seed2", "raises-seed3"}
    assert "code -9 (killed; out of memory?), twice" in by_job["killed-seed0"].text
    assert "no such luck" in by_job["raises-seed3"].text
    ran = ["fine-seed1", "fine-seed5", "killed-once-seed4"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [*ran, "tried"]
    assert sorted(job.name for job in finished) == ran
    assert "killed-once-seed4: its process ended with code -9" in caplog.text
    assert len(events) == 50 * (len(everything) + 3)  # three were killed once
    if shared:
        assert set(os.listdir("/dev/shm")) <= shared


@pytest.mark.slow
def test_an_interrupt_ends_workers_that_do_not_answer(tmp_path):
    def interrupt(event: Event) -> None:
        if event.done == 49:
            time.sleep(0.3)
            raise KeyboardInterrupt

    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        pool.run_jobs(jobs(tmp_path, ["stops", "stops"]), workers=2, report=interrupt, finished=print)
    assert time.monotonic() - begin < 40
    assert not list(tmp_path.iterdir())


def test_messages_cross_the_pipe(tmp_path):
    import pickle

    job = jobs(tmp_path, ["fine"])[0]
    assert pickle.loads(pickle.dumps(job)) == job
    failure = pool.Failure("a", "b", known=True)
    assert pickle.loads(pickle.dumps(failure)) == dataclasses.replace(failure)
