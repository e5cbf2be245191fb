"""Tasks on a Ray cluster of one node, started on this machine."""

from __future__ import annotations

import os
import re
import shutil
import socket
import tempfile
import time
from pathlib import Path

import pytest
from counting import Count, attempts, count, expected

from budbreak.errors import InvalidValue
from budbreak.executors.executing import ProcessEnded
from budbreak.executors.executors import open_executor
from budbreak.executors.ray_executor import RayExecutor
from budbreak.executors.scheduling import carry_out

ray = pytest.importorskip("ray")

pytestmark = pytest.mark.slow


def drive(tasks, opened, tick=lambda: None):
    hooks = {"tick": tick, "finished": lambda task: None}
    return carry_out(tasks, count, executor=opened.executor, workers=opened.workers, **hooks)


@pytest.fixture
def alone(monkeypatch):
    """No cluster is known here: neither by name, nor one that was started on this machine."""
    folder = tempfile.mkdtemp(prefix="ray")  # short: the path of a socket has at most 107 letters
    monkeypatch.setenv("RAY_TMPDIR", folder)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    yield
    shutil.rmtree(folder, ignore_errors=True)


def gone(pid: int, seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        time.sleep(0.05)
    return not Path(f"/proc/{pid}").exists()


@pytest.mark.usefixtures("alone")
def test_without_a_cluster_one_is_started_reports_every_end_of_a_task_and_a_call_and_is_ended(tmp_path):
    killed, long = Count(tmp_path, "killed", end="killed"), Count(tmp_path, "long", steps=100_000, pause=0.05)
    tasks = [
        killed,
        Count(tmp_path, "exits", end="exits"),
        Count(tmp_path, "unpicklable", end="unpicklable"),
        Count(tmp_path, "raises", end="raises"),
        Count(tmp_path, "fine"),
    ]

    def stop() -> None:
        if len(long.lines()) > 2:
            raise KeyboardInterrupt

    def all_of_it() -> None:
        with open_executor("ray", 2) as opened:
            failures.update((failure.task, failure.text) for failure in drive(tasks, opened))
            errors.append(opened.executor.submit(int, "seven").exception(300))
            errors.append(opened.executor.submit(os._exit, 3).exception(300))
            with open_executor("ray") as again:  # Ray is in use: this one joins it, and leaves it as it was
                last = again.executor.submit(int, "6")
                again.executor.shutdown()
                assert last.result(300) == 6
            drive([long], opened, stop)

    failures: dict[str, str] = {}
    errors: list[BaseException | None] = []
    with pytest.raises(KeyboardInterrupt):
        all_of_it()
    assert not ray.is_initialized()
    assert all(gone(pid) for pid in attempts(long))
    assert set(failures) == {"exits", "unpicklable", "raises"}
    assert "SystemExit: so long" in failures["exits"]
    assert "it holds a lock" in failures["unpicklable"]
    assert "RuntimeError: no luck" in failures["raises"]
    assert not any("\x1b" in text for text in failures.values())
    assert tasks[-1].lines() == killed.lines() == expected(killed)
    assert len(attempts(killed)) == 2
    wrong, lost = errors
    assert isinstance(wrong, ValueError)
    assert "Traceback" not in str(wrong)
    assert isinstance(lost, ProcessEnded)
    assert "WorkerCrashedError" in str(lost)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "cluster"])
def test_an_address_at_which_nothing_answers_is_refused(monkeypatch, address):
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(InvalidValue, match=re.escape(f"RAY_ADDRESS is '{address}'")), open_executor("ray"):
        pass


def initialized(monkeypatch, folder) -> dict[str, object]:
    """What Ray is begun with where it keeps its files in ``folder``."""
    monkeypatch.setenv("RAY_TMPDIR", str(folder))
    asked: dict[str, object] = {}
    monkeypatch.setattr(ray, "init", lambda **how: asked.update(how))
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0})
    RayExecutor(2)
    return asked


@pytest.mark.parametrize("left", [None, "127.0.0.1:1", ""], ids=["nothing", "a killed cluster", "an empty file"])
def test_a_cluster_is_started_where_none_was_by_name_though_a_program_may_keep_one_for_itself(
    monkeypatch, tmp_path, left
):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if left is not None:
        (tmp_path / "ray").mkdir()
        (tmp_path / "ray" / "ray_current_cluster").write_text(left)
    asked = initialized(monkeypatch, tmp_path)
    assert (asked["address"], asked["num_cpus"]) == ("local", 2)


def test_the_cluster_that_was_started_on_this_machine_is_joined(monkeypatch, tmp_path):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    (tmp_path / "ray").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        (tmp_path / "ray" / "ray_current_cluster").write_text(f"127.0.0.1:{server.getsockname()[1]}\n")
        asked = initialized(monkeypatch, tmp_path)
    assert asked["address"] is None  # Ray joins what was started, by a token if that asks for one
    assert "num_cpus" not in asked


def test_what_listens_and_is_no_cluster_is_refused(monkeypatch):
    def refuse(**how: object) -> None:
        raise ConnectionError("Failed to connect to Ray cluster")

    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(InvalidValue, match=r"(?s)Ray does not join it.*RAY_AUTH_MODE=token"):
            RayExecutor()


def test_a_cluster_that_was_started_on_this_machine_and_is_not_joined_is_named(monkeypatch, tmp_path):
    def refuse(**how: object) -> None:
        raise ConnectionError("Failed to connect to Ray cluster")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    (tmp_path / "ray").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        (tmp_path / "ray" / "ray_current_cluster").write_text(f"127.0.0.1:{server.getsockname()[1]}\n")
        with pytest.raises(InvalidValue, match=r"(?s)^ray start has begun .*: Ray does not join it.*ray stop"):
            RayExecutor()
    assert "RAY_USAGE_STATS_ENABLED" not in os.environ
