"""Several jobs at once: one process per core, each with one thread; they die with their parent.

Each worker has a pipe of its own, and nothing is shared: a worker that is killed takes no lock with it and leaves no
semaphore behind.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from budbreak.checks import check_count
from budbreak.errors import BudbreakError
from budbreak.studies.job import Event, Job, Report, run_job

_LOG = logging.getLogger(__name__)
_PATIENCE = 2.0  # seconds that a worker has to end by itself; its files are whole at every moment

Finished = Callable[[Job], object]


@dataclass(frozen=True)
class Failure:
    """A job that stopped with an error; ``known`` errors explain themselves, others come with their traceback."""

    job: str
    text: str
    known: bool


@dataclass(frozen=True)
class Done:
    """A job that ended well."""

    job: str


Message = Event | Failure | Done


def run_jobs(jobs: Sequence[Job], *, workers: int, report: Report, finished: Finished) -> list[Failure]:
    """Run all jobs; one that fails does not stop the others, one whose process is killed is tried once more.

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
    return _Pool(jobs, report, finished).run(min(workers, len(jobs)))


def _run_here(job: Job, report: Report, finished: Finished) -> Failure | None:
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


@dataclass(frozen=True)
class _Worker:
    """A process, our end of its pipe, and the job that it has."""

    process: SpawnProcess
    pipe: Connection[Job, Message]
    job: Job


class _Pool:
    """Workers that take one job after the other; one that dies is replaced, and its job tried once more."""

    def __init__(self, jobs: Sequence[Job], report: Report, finished: Finished) -> None:
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read by the workers when they import torch
        os.environ.setdefault("PYTHONSAFEPATH", "1")  # they start in the current folder, and import nothing from it
        self.report, self.finished = report, finished
        self.pending = deque(jobs)
        self.workers: list[_Worker] = []
        self.processes: list[SpawnProcess] = []
        self.failures: list[Failure] = []
        self.retried: set[str] = set()

    def run(self, workers: int) -> list[Failure]:
        try:
            for _ in range(workers):
                self._start()
            while self.workers:
                self._listen()
        finally:
            _end(self.processes)
        return self.failures

    def _start(self) -> None:
        """A fresh worker with the next job, if there is one."""
        if self.pending:
            context = multiprocessing.get_context("spawn")
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, os.getpid()), daemon=True)
            with _without_interrupts():
                process.start()
            self.processes.append(process)
            theirs.close()  # so that reading ours ends when the worker does
            worker = _Worker(process, ours, self.pending.popleft())
            self.workers.append(worker)
            self._give(worker)

    def _give(self, worker: _Worker) -> None:
        with contextlib.suppress(OSError):  # it is dead: reading will say so
            worker.pipe.send(worker.job)

    def _listen(self) -> None:
        """Take in what the workers say; a pipe ends with its process, so that nothing else need be watched."""
        ready = wait([worker.pipe for worker in self.workers])
        for worker in [worker for worker in self.workers if worker.pipe in ready]:
            try:
                message = worker.pipe.recv()
            except (EOFError, OSError):
                self._bury(worker)
            else:
                self._take(worker, message)

    def _take(self, worker: _Worker, message: Message) -> None:
        if isinstance(message, Event):
            self.report(message)
            return
        if isinstance(message, Failure):
            self.failures.append(message)
        else:
            self.finished(worker.job)
        self.workers.remove(worker)
        if self.pending:
            next_job = _Worker(worker.process, worker.pipe, self.pending.popleft())
            self.workers.append(next_job)
            self._give(next_job)
        else:
            worker.pipe.close()  # it ends by itself

    def _bury(self, worker: _Worker) -> None:
        self.workers.remove(worker)
        _end([worker.process])
        code = worker.process.exitcode
        why = f"its process ended with code {code}" + (" (killed; out of memory?)" if code == -signal.SIGKILL else "")
        if worker.job.name in self.retried:
            self.failures.append(Failure(worker.job.name, f"{why}, twice", known=True))
        else:  # last in the queue: what took the memory may be over by then
            _LOG.warning("%s: %s; it goes on from its last checkpoint", worker.job.name, why)
            self.retried.add(worker.job.name)
            self.pending.append(worker.job)
        self._start()


@contextlib.contextmanager
def _without_interrupts() -> Generator[None, None, None]:
    """Ctrl-C goes to the whole group: a process started meanwhile never sees it, and this one does afterwards."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end(processes: Sequence[SpawnProcess]) -> None:
    """Checkpoints are whole at every moment, so workers are simply ended."""
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(timeout=_PATIENCE)
        if process.exitcode is None:
            process.kill()
            process.join(timeout=_PATIENCE)


def _work(pipe: Any, parent: int) -> None:
    """Take jobs and send what happens, until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()
    gc.freeze()  # what is imported stays: looking for schedulers passes over all other objects, 20 ms without this
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            job: Job = pipe.recv()
            failure = _attempt(job, pipe.send)
            pipe.send(failure or Done(job.name))


def _die_with(parent: int) -> None:
    """End this process when its parent is gone: a killed run must not go on writing behind a new one."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)
