"""Who computes: this process, several processes of this machine, or a Ray cluster; all are executors."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from importlib.util import find_spec
from typing import ParamSpec, TypeVar

from budbreak.checks import check_count
from budbreak.errors import InvalidValue, UnknownName, did_you_mean, one_of

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Opened:
    """An executor that is at work.

    Attributes:
        executor: a call on it that loses its process ends with `ProcessEnded`, and the next one finds a fresh process.
        workers: how many calls it carries out at a time, >= 1.
    """

    executor: Executor
    workers: int


class HereExecutor(Executor):
    """Computes at once, in this process: the future that `submit` returns is done."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call the function; its exception is kept in the future, but Ctrl-C and SystemExit stop the caller."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def usual_executor(workers: int) -> str:
    """The name of the executor for so many workers, where the user names none."""
    return "here" if workers == 1 else "processes"


@contextlib.contextmanager
def open_executor(name: str, workers: int | None = None) -> Generator[Opened, None, None]:
    """Open an executor; however the block is left, what is still being computed is ended, and no process stays.

    Args:
        name: one of `EXECUTORS`.
        workers: how many at a time, >= 1; None: one here, otherwise as many as there are CPUs.

    Raises:
        UnknownName: if there is no such executor.
        InvalidValue: if it is not installed or not reachable, or cannot have so many workers.
    """
    check_executor(name, workers)
    opened = EXECUTORS[name](workers)
    try:
        yield opened
    finally:
        opened.executor.shutdown(cancel_futures=True)


def check_executor(name: str, workers: int | None = None) -> None:
    """Refuse, before anything is started, what `open_executor` would refuse.

    Raises:
        UnknownName: if there is no such executor.
        InvalidValue: if it is not installed, or cannot have so many workers.
    """
    if workers is not None:
        check_count("workers", workers)
    if name not in EXECUTORS:
        raise UnknownName(f"no executor named {name!r}", one_of(EXECUTORS), did_you_mean(name, EXECUTORS))
    if name == "here" and workers not in (None, 1):
        rule = "the executor 'here' computes one task after the other, in this process"
        raise InvalidValue(f"workers is {workers}", rule, "name the executor 'processes', or ask for 1 worker")
    if name == "ray" and find_spec("ray") is None:
        raise _without_ray()


def _here(workers: int | None) -> Opened:
    return Opened(HereExecutor(), workers or 1)


def _processes(workers: int | None) -> Opened:
    from loky import cpu_count

    from budbreak.executors.loky_executor import LokyExecutor

    count = workers or cpu_count()
    return Opened(LokyExecutor(count), count)


def _ray(workers: int | None) -> Opened:
    from budbreak.executors.ray_executor import RayExecutor

    try:
        executor = RayExecutor(workers)
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise _without_ray() from None
    return Opened(executor, executor.workers)


def _without_ray() -> InvalidValue:
    rule = "Ray carries out tasks on several machines; it is an extra"
    return InvalidValue("executor is 'ray', and ray is not installed", rule, "pip install 'budbreak[ray]'")


EXECUTORS: Mapping[str, Callable[[int | None], Opened]] = {"here": _here, "processes": _processes, "ray": _ray}
"""Name -> what opens it, given the number of workers or None."""
