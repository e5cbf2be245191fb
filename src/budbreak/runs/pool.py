"""Several jobs at once: one process per core, each with one thread; they die with their parent."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.context import SpawnProcess
from typing import Any

from budbreak.errors import BudbreakError, check_count
from budbreak.runs.job import Event, Job, Report, run_job


@dataclass(frozen=True)
class Failure:
    """A job that stopped with an error; ``known`` errors explain themselves, others come with their traceback."""

    job: str
    text: str
    known: bool


def run_jobs(jobs: Sequence[Job], *, workers: int, report: Report, finished: Any) -> list[Failure]:
    """Run all jobs; one that fails does not stop the others.

    Args:
        jobs: what to run; in this process if ``workers`` is 1.
        workers: processes at a time.
        report: called in this process with each `Event`.
        finished: called in this process with each `Job` that ended well.

    Returns:
        The failures.
    """
    check_count("workers", workers)
    if workers == 1 or len(jobs) <= 1:
        return [failure for job in jobs if (failure := _run_here(job, report, finished)) is not None]
    return _Pool(jobs, min(workers, len(jobs)), report, finished).run()


def _run_here(job: Job, report: Report, finished: Any) -> Failure | None:
    failure = _attempt(job, report)
    if failure is None:
        finished(job)
    return failure


def _attempt(job: Job, report: Report) -> Failure | None:
    try:
        run_job(job, report)
    except BudbreakError as error:
        return Failure(job.name, str(error), known=True)
    except Exception:
        return Failure(job.name, traceback.format_exc(), known=False)
    return None


class _Pool:
    """Long-lived workers that take jobs from a queue and send events back."""

    def __init__(self, jobs: Sequence[Job], workers: int, report: Report, finished: Any) -> None:
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read by the workers when they import torch
        context = multiprocessing.get_context("spawn")
        self.report, self.finished = report, finished
        self.by_name = {job.name: job for job in jobs}
        self.pending = list(jobs)
        self.inboxes = [context.SimpleQueue() for _ in range(workers)]
        self.events: Any = context.Queue()
        self.running: dict[int, Job] = {}
        self.failures: list[Failure] = []
        self.processes: list[SpawnProcess] = [
            context.Process(target=_work, args=(index, inbox, self.events, os.getpid()), daemon=True)
            for index, inbox in enumerate(self.inboxes)
        ]

    def run(self) -> list[Failure]:
        try:
            for index, process in enumerate(self.processes):
                process.start()
                self._give(index)
            while self.running:
                self._wait()
        finally:
            self._stop()
        return self.failures

    def _give(self, index: int) -> None:
        self.running.pop(index, None)
        if self.pending:
            self.running[index] = self.pending.pop(0)
            self.inboxes[index].put(self.running[index])

    def _wait(self) -> None:
        try:
            index, message = self.events.get(timeout=0.5)
        except queue.Empty:
            self._look_for_dead_workers()
            return
        if isinstance(message, Event):
            self.report(message)
            return
        if isinstance(message, Failure):
            self.failures.append(message)
        else:
            self.finished(self.by_name[message])
        self._give(index)

    def _look_for_dead_workers(self) -> None:
        for index, job in list(self.running.items()):
            code = self.processes[index].exitcode
            if code is not None:
                why = f"its process ended with code {code}" + (" (killed; out of memory?)" if code == -9 else "")
                self.failures.append(Failure(job.name, why, known=True))
                self.running.pop(index)
        if not self.running:
            self.failures += [Failure(job.name, "not started: all processes ended", known=True) for job in self.pending]
            self.pending.clear()

    def _stop(self) -> None:
        """Checkpoints are whole at every moment, so workers are simply ended."""
        for process in self.processes:
            if process.is_alive():
                process.terminate()
        for process in self.processes:
            if process.pid is not None:
                process.join(timeout=5)


def _work(index: int, inbox: Any, events: Any, parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()
    while True:
        job: Job = inbox.get()
        failure = _attempt(job, lambda event: events.put((index, event)))
        events.put((index, failure or job.name))


def _die_with(parent: int) -> None:
    """End this process when its parent is gone: a killed run must not go on writing behind a new one."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)
