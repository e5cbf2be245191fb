"""Carry out tasks by any executor: in order, each after what it needs, and no failure stops the others."""

from __future__ import annotations

import graphlib
import logging
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from budbreak.checks import check_count
from budbreak.errors import BudbreakError, InvalidValue
from budbreak.executors.executing import ProcessEnded

_LOG = logging.getLogger(__name__)
_TICK = 0.2  # seconds


class Task(Protocol):
    """Something to compute: a small value that can be pickled; its result lies in files, not in what is returned."""

    @property
    def identity(self) -> str:
        """The digest of what decides the result; equal for no two tasks of a list."""
        ...

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    @property
    def needs(self) -> Sequence[Task]:
        """The tasks whose results it reads."""
        ...


T = TypeVar("T", bound=Task)


@dataclass(frozen=True)
class Failure:
    """A task that was not carried out; ``known`` errors explain themselves, others come with their traceback."""

    task: str
    text: str
    known: bool


def carry_out(
    tasks: Sequence[T],
    compute: Callable[[T], object],
    *,
    executor: Executor,
    workers: int,
    tick: Callable[[], object],
    finished: Callable[[T], object],
    working: Callable[[Sequence[T]], object] = lambda tasks: None,
) -> list[Failure]:
    """Compute all tasks; one that fails stops only those that need it.

    A task is given to the executor once all that it needs is done, the first of the list first. One whose process
    ended (`ProcessEnded`) is tried once more, after all others that wait; ``compute`` goes on from what the first
    attempt left, and must wait for a lock that the dying process may still hold.

    Args:
        tasks: what to compute. A need that is not among them is complete already.
        compute: carries out one task, anywhere; it and the tasks can be pickled. What it returns is not looked at.
        executor: who computes. An exception leaves its running calls to it: close it, as `open_executor` does.
        workers: how many tasks it is given at a time, >= 1.
        tick: called in this process five times a second, and after each task.
        finished: called in this process with each task that ended well, before any task that needs it begins.
        working: called before each tick, with the tasks that the executor is computing.

    Returns:
        The failures, as they came.

    Raises:
        InvalidValue: if two tasks have one identity, or tasks need each other in a circle.
    """
    check_count("workers", workers)
    _check_tasks(tasks)
    driver = _Driver(tasks, compute, executor)
    while driver.waiting or driver.running:
        driver.start(workers)
        for task in driver.settle():
            finished(task)
        working(tuple(driver.running.values()))
        tick()
    return driver.failures


def _check_tasks(tasks: Sequence[Task]) -> None:
    by_identity = {task.identity: task for task in tasks}
    for task in tasks:
        if by_identity[task.identity] is not task:
            rule = "each task is in the list once: tasks of one identity have one result"
            raise InvalidValue(f"two tasks have the identity {task.identity!r}: {task.name!r}", rule, "leave one out")
    graph = {task.identity: [need.identity for need in task.needs] for task in tasks}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        names = [repr(by_identity[identity].name) for identity in error.args[1]]
        value = f"tasks need each other in a circle: {' - '.join(names)}"
        raise InvalidValue(value, "what a task needs can be computed before it", "break the circle") from None


def _attempt(compute: Callable[[T], object], task: T) -> Failure | None:
    """Compute, where the executor does it; errors travel as text, since not every exception can be pickled."""
    try:
        compute(task)
    except Exception as error:
        return _failure(task, error)
    return None


def _failure(task: Task, error: BaseException) -> Failure:
    if isinstance(error, BudbreakError):
        return Failure(task.name, str(error), known=True)
    return Failure(task.name, "".join(traceback.format_exception(error)), known=False)


class _Driver(Generic[T]):
    """Which tasks wait, which run, and which have failed."""

    def __init__(self, tasks: Sequence[T], compute: Callable[[T], object], executor: Executor) -> None:
        self.compute, self.executor = compute, executor
        self.waiting = {task.identity: task for task in tasks}
        self.running: dict[Future[Failure | None], T] = {}
        self.failures: list[Failure] = []
        self.culprits: dict[str, str] = {}  # identity of what was not computed -> name of the task that failed
        self.retried: set[str] = set()

    def start(self, workers: int) -> None:
        """Give the executor what is ready, as far as workers are free, and give up what can never be."""
        busy = {task.identity for task in self.running.values()}
        for task in list(self.waiting.values()):
            if len(self.running) == workers:
                return
            needs = {need.identity for need in task.needs}
            culprit = next((self.culprits[need] for need in needs if need in self.culprits), None)
            if culprit is not None:
                self._give_up(task, culprit)
            elif not needs & (busy | self.waiting.keys()):
                busy.add(task.identity)
                self._submit(task)

    def settle(self) -> list[T]:
        """Wait a little for running tasks to end, and return those that ended well."""
        done, _ = wait(self.running, timeout=_TICK, return_when=FIRST_COMPLETED)
        ended = [(future, self.running.pop(future)) for future in list(self.running) if future in done]
        return [task for future, task in ended if self._ended_well(future, task)]

    def _submit(self, task: T) -> None:
        future = self.executor.submit(_attempt, self.compute, task)
        self.running[future] = self.waiting.pop(task.identity)

    def _ended_well(self, future: Future[Failure | None], task: T) -> bool:
        error = future.exception()
        if isinstance(error, ProcessEnded):
            self._retry(task, str(error))
            return False
        failure = future.result() if error is None else _failure(task, error)
        if failure is not None:
            self._fail(task, failure)
        return failure is None

    def _retry(self, task: T, how: str) -> None:
        if task.identity in self.retried:
            self._fail(task, Failure(task.name, f"{how}, twice", known=True))
            return
        _LOG.warning("%s: %s; it goes on from its last checkpoint", task.name, how)
        self.retried.add(task.identity)
        self.waiting[task.identity] = task  # last: what took the memory may be over by then

    def _fail(self, task: T, failure: Failure) -> None:
        self.failures.append(failure)
        self.culprits[task.identity] = task.name

    def _give_up(self, task: T, culprit: str) -> None:
        self.failures.append(Failure(task.name, f"it was not begun: it needs {culprit!r}, which failed", known=True))
        self.culprits[task.identity] = culprit
        del self.waiting[task.identity]
