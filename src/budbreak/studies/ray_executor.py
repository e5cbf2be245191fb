"""The processes of a Ray cluster, on one machine or many.

All nodes need the same installation of budbreak and of what a recipe imports, and the folder of the results under the
same path (a shared file system): Ray carries functions and tasks, not packages and files.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import signal
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, TypeVar

from budbreak.errors import InvalidValue
from budbreak.studies.executing import ProcessEnded, environment_defaults, retold

_RETRIES = 3  # of a task whose node or process has gone, by Ray itself, on a node that is left

P = ParamSpec("P")
T = TypeVar("T")


class RayExecutor(Executor):
    """Calls as Ray tasks of one CPU each; a task whose node dies is run again on another one.

    It joins the cluster that the environment variable ``RAY_ADDRESS`` names, or the one that ``ray start`` has begun on
    this machine; without either it starts one here, for itself. Where the program uses Ray already, it uses that.

    Args:
        workers: calls at a time, >= 1; None: as many as the cluster has CPUs.

    Attributes:
        workers: calls that it carries out at a time: never more than CPUs.

    Raises:
        ModuleNotFoundError: if Ray is not installed.
        InvalidValue: if ``RAY_ADDRESS`` cannot be reached, or the cluster has no CPU.
    """

    def __init__(self, workers: int | None = None) -> None:
        import ray

        self._ray: Any = ray
        self._joined = not ray.is_initialized()
        if self._joined:
            _join(ray, workers)
        self.workers = _count(ray, workers)
        self._remote: Any = ray.remote(num_cpus=1, max_retries=_RETRIES)(_call)
        self._references: dict[Future[Any], Any] = {}

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Give a call to the cluster, by cloudpickle.

        The future ends with `ProcessEnded` if process after process is killed, or node after node.
        """
        reference = self._remote.remote(functools.partial(fn, *args, **kwargs))
        future = retold(reference.future(), self._retell)
        self._references = {done: ref for done, ref in self._references.items() if not done.done()}
        self._references[future] = reference
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leave the cluster: when all calls are done, or at once with ``cancel_futures``, which ends them."""
        unfinished = [reference for future, reference in self._references.items() if not future.done()]
        if cancel_futures:
            for reference in unfinished:
                self._ray.cancel(reference, force=True)
        elif wait and unfinished:
            self._ray.wait(unfinished, num_returns=len(unfinished))
        if self._joined:
            self._ray.shutdown()

    def _retell(self, error: BaseException) -> BaseException:
        lost = self._ray.exceptions
        if isinstance(
            error, lost.WorkerCrashedError | lost.NodeDiedError | lost.OutOfMemoryError | lost.ObjectLostError
        ):
            return ProcessEnded(f"its process ended ({type(error).__name__}: {str(error).strip().splitlines()[0]})")
        return error


def _call(call: Callable[[], T]) -> T:
    """What a worker does; Ray would take SystemExit for the end of its process, and run the task again."""
    try:
        return call()
    except SystemExit as stop:
        raise RuntimeError(f"SystemExit: {stop}") from stop


def _join(ray: Any, workers: int | None) -> None:
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
    address = os.environ.get("RAY_ADDRESS")
    with environment_defaults({"RAY_USAGE_STATS_ENABLED": "0"}), _signal_handler_kept():
        try:
            ray.init(address="auto", log_to_driver=False, logging_level=logging.ERROR)
        except ConnectionError as error:
            if address:
                rule = "it names a running Ray cluster: host:port"
                fix = "start one there (ray start --head), or unset RAY_ADDRESS"
                raise InvalidValue(f"RAY_ADDRESS is {address!r}: no answer", rule, fix) from error
            ray.init(address="local", num_cpus=workers, **quiet)


@contextlib.contextmanager
def _signal_handler_kept() -> Generator[None, None, None]:
    """Ray puts its own handler of SIGTERM in the place of the program's."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _count(ray: Any, workers: int | None) -> int:
    cpus = int(ray.cluster_resources().get("CPU", 0))
    if cpus < 1:
        raise InvalidValue("the Ray cluster has no CPU", "each task takes one", "start nodes with --num-cpus=1 or more")
    return min(workers or cpus, cpus)
