"""The processes of a Ray cluster, on one machine or many.

All nodes need budbreak and what a recipe imports, in the same versions, and the folder of the results under the same
path (a shared file system): Ray carries functions and tasks, not packages and files. Modules are looked for where the
node finds them, then in the folders in which this process does.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any, NoReturn, ParamSpec, TypeVar, cast

from budbreak.errors import InvalidValue
from budbreak.executors.executing import ProcessEnded, environment_defaults, retold

_PATIENCE = 10.0  # seconds that a cluster has to answer
_QUIET: Mapping[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
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
        self._remote: Any = ray.remote(num_cpus=1, max_retries=_RETRIES)(_carrier())
        self._references: dict[Future[Any], Any] = {}

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Give a call to the cluster, by cloudpickle.

        The future ends with `ProcessEnded` if process after process is killed, or node after node.
        """
        call = self._ray.cloudpickle.dumps(functools.partial(fn, *args, **kwargs))
        reference = self._remote.remote(_search_path(), call)
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
        if isinstance(error, lost.RayTaskError):
            cause: BaseException = cast(Any, error).cause
            cause.add_note(re.sub(r"\x1b\[\d*m", "", str(error)))  # the traceback of the worker, without its colours
            return cause
        return error


def _carrier() -> Callable[[Sequence[str], bytes], Any]:
    """What a worker does with a call; made in a function, so that it travels itself and not as the name of a module."""

    def carry(path: Sequence[str], call: bytes) -> Any:
        import pickle
        import sys

        sys.path.extend(folder for folder in path if folder not in sys.path)
        try:
            return pickle.loads(call)()
        except SystemExit as stop:  # Ray would take it for the end of the process, and run the task again
            raise RuntimeError(f"SystemExit: {stop}") from stop

    return carry


def _search_path() -> list[str]:
    """Where this process finds modules: a user's own may lie beside her recipe."""
    return [os.path.abspath(folder) for folder in sys.path]


def _join(ray: Any, workers: int | None) -> None:
    address = os.environ.get("RAY_ADDRESS") or (None if _is_started_here() else "local")
    new: Mapping[str, Any] = {"num_cpus": workers, "include_dashboard": False} if address == "local" else {}
    if address not in (None, "auto", "local"):
        _check_reachable(address)
    with environment_defaults({"RAY_USAGE_STATS_ENABLED": "0"}), _signal_handler_kept():
        try:
            ray.init(address=address, **new, **_QUIET)
        except ConnectionError as error:
            _refuse(address, "Ray does not join it", error)


def _is_started_here() -> bool:
    """Whether ``ray start`` has begun a cluster on this machine that answers: the one that Ray then joins by itself.

    Ray's ``auto`` would join any cluster whose process it finds, also one that another program keeps for itself.
    """
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR" if sys.platform == "linux" else "") or "/tmp"
    try:
        _check_reachable(Path(folder, "ray", "ray_current_cluster").read_text(encoding="utf-8").strip())
    except (OSError, InvalidValue):  # none was started, or it was killed
        return False
    return True


def _check_reachable(address: str) -> None:
    """Refuse an address at which nothing listens; Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()
    except (OSError, ValueError) as error:
        _refuse(address, str(error), error)


def _refuse(address: str | None, why: str, error: Exception) -> NoReturn:
    rule = "it is host:port of a running Ray cluster, with RAY_AUTH_MODE=token where that asks for a token"
    fix = "start one there (ray start --head), or unset RAY_ADDRESS"
    if address is None:
        which, fix = "ray start has begun a cluster here", "end it (ray stop), or set RAY_ADDRESS"
    else:
        which = f"RAY_ADDRESS is {address!r}"
    raise InvalidValue(f"{which}: {why}", rule, fix) from error


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
