"""Tasks on a Ray cluster: two nodes, started on this machine, one of which dies in the middle."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest
from counting import Count, attempts, count, expected

from budbreak.errors import InvalidValue
from budbreak.studies.executing import ProcessEnded
from budbreak.studies.executors import open_executor
from budbreak.studies.scheduling import carry_out

ray = pytest.importorskip("ray")

pytestmark = pytest.mark.slow


def drive(tasks, tick=lambda: None, *, executor="ray", workers=None):
    with open_executor(executor, workers) as opened:
        return carry_out(
            tasks, count, executor=opened.executor, workers=opened.workers, tick=tick, finished=lambda task: None
        )


@pytest.fixture
def alone(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.fixture
def cluster(monkeypatch):
    """A cluster of one node with one CPU, which RAY_ADDRESS names."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    yield cluster
    cluster.shutdown()


def gone(pid: int, seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        time.sleep(0.05)
    return not Path(f"/proc/{pid}").exists()


def test_a_node_that_dies_loses_nothing_and_the_results_equal_local_ones(cluster, tmp_path):
    node = cluster.add_node(num_cpus=1)
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    here.mkdir()
    tasks = [Count(there, f"{number}", steps=40, pause=0.1) for number in range(5)]
    killed_at = []

    def kill() -> None:
        running = [len(task.lines()) for task in tasks if 3 <= len(task.lines()) < 30]
        if not killed_at and len(running) == 2:  # one on each node
            killed_at.extend(running)
            cluster.remove_node(node, allow_graceful=False)

    before = signal.getsignal(signal.SIGTERM)
    assert not drive(tasks, kill)
    assert killed_at
    assert sorted(len(attempts(task)) for task in tasks) == [1, 1, 1, 1, 2]
    assert signal.getsignal(signal.SIGTERM) == before

    local = [Count(here, task.name, steps=40) for task in tasks]
    assert not drive(local, executor="here")
    assert [task.file.read_bytes() for task in tasks] == [task.file.read_bytes() for task in local]


@pytest.mark.usefixtures("alone")
def test_without_a_cluster_one_is_started_and_reports_every_end_of_a_task(tmp_path):
    killed = Count(tmp_path, "killed", end="killed")
    tasks = [
        killed,
        Count(tmp_path, "exits", end="exits"),
        Count(tmp_path, "unpicklable", end="unpicklable"),
        Count(tmp_path, "raises", end="raises"),
        Count(tmp_path, "fine"),
    ]
    failures = {failure.task: failure.text for failure in drive(tasks, workers=2)}
    assert set(failures) == {"exits", "unpicklable", "raises"}
    assert "SystemExit: so long" in failures["exits"]
    assert "it holds a lock" in failures["unpicklable"]
    assert "RuntimeError: no luck" in failures["raises"]
    assert not any("\x1b" in text for text in failures.values())
    assert tasks[-1].lines() == killed.lines() == expected(killed)
    assert len(attempts(killed)) == 2
    assert not ray.is_initialized()


@pytest.mark.usefixtures("alone")
def test_an_error_in_this_process_ends_the_workers(tmp_path):
    task = Count(tmp_path, "long", steps=1000, pause=0.05)

    def stop() -> None:
        if len(task.lines()) > 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drive([task], stop, workers=1)
    assert not ray.is_initialized()
    assert all(gone(pid) for pid in attempts(task))


@pytest.mark.usefixtures("alone")
def test_errors_of_calls_are_themselves_and_lost_processes_are_told():
    with open_executor("ray", 1) as opened:
        error = opened.executor.submit(int, "seven").exception(60)
        assert isinstance(error, ValueError)
        assert "Traceback" not in str(error)
        lost = opened.executor.submit(os._exit, 3)
        assert isinstance(lost.exception(120), ProcessEnded)
        assert "WorkerCrashedError" in str(lost.exception())
        with open_executor("ray") as again:  # Ray is in use: this one joins it, and leaves it as it was
            assert again.executor.submit(int, "6").result(60) == 6
        last = opened.executor.submit(int, "7")
        opened.executor.shutdown()
        assert last.result(60) == 7


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "cluster"])
def test_an_address_at_which_nothing_answers_is_refused(monkeypatch, address):
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(InvalidValue, match=re.escape(f"RAY_ADDRESS is '{address}'")), open_executor("ray"):
        pass
