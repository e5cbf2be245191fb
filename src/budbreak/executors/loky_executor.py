"""Several processes of this machine, by loky: they die with their parent, and never leave one behind."""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import BrokenExecutor, Executor, Future
from multiprocessing import resource_tracker
from types import FrameType
from typing import Any, ParamSpec, TypeVar

from loky.process_executor import ProcessPoolExecutor, TerminatedWorkerError

from budbreak.executors.executing import ProcessEnded, environment_defaults, retold

_PATIENCE = 2.0  # seconds that killed processes have to be gone
_ENVIRONMENT = {
    "OMP_WAIT_POLICY": "passive",  # read by the workers when they import torch
    # read by glibc: it keeps what is freed for the next step, else a fifth of a step of LeNet-5 is page faults
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),  # bytes; older versions take no more
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "PYTHONSAFEPATH": "1",  # they start in the current folder, and import nothing from it
    "LOKY_MAX_MEMORY_LEAK_SIZE": "1e18",  # bytes: tasks differ in size, none is a leak for which to change the process
}
_SIGNALS = (signal.SIGINT, signal.SIGTERM)

P = ParamSpec("P")
T = TypeVar("T")


class LokyExecutor(Executor):
    """Worker processes, started when they are needed; one that dies takes its own task with it and nothing else.

    Each has a loky pool of its own, since loky ends a whole pool, and all that is being computed in it, when one of
    its processes dies. Functions and arguments are sent by cloudpickle.

    Args:
        workers: processes at most, >= 1. With more calls than that, some wait for the process of another one, and
            share its end.
    """

    def __init__(self, workers: int) -> None:
        self._slots = [_Slot() for _ in range(workers)]

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Give a call to the process that has the least to do.

        The future ends with `ProcessEnded` if that process is killed or ends by itself.
        """
        return min(self._slots, key=_Slot.load).submit(functools.partial(fn, *args, **kwargs))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes: when they have done what they were given, or at once with ``cancel_futures``."""
        ends = [threading.Thread(target=slot.end, args=(wait, cancel_futures), daemon=True) for slot in self._slots]
        for end in ends:
            end.start()
        for end in ends:
            end.join(_PATIENCE if cancel_futures else None)


class _Slot:
    """The place of one process, and its unfinished calls."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._futures: list[Future[Any]] = []

    def load(self) -> int:
        self._futures = [future for future in self._futures if not future.done()]
        return len(self._futures)

    def submit(self, call: Callable[[], T]) -> Future[T]:
        with environment_defaults(_ENVIRONMENT), _signals_held():
            future = retold(self._give(call), _retell)
        self._futures.append(future)
        return future

    def _give(self, call: Callable[[], T]) -> Future[T]:
        try:
            self._pool = self._pool or _open_pool()
            return self._pool.submit(_carrier(), call)
        except BrokenExecutor:  # its process has gone
            self._pool = _open_pool()
            return self._pool.submit(_carrier(), call)

    def end(self, wait: bool, kill: bool) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait, kill_workers=kill)


def _open_pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(max_workers=1, initializer=_beginner(), initargs=(os.getpid(),))


def _retell(error: BaseException) -> BaseException:
    if not isinstance(error, TerminatedWorkerError):
        return error
    code = re.search(r"\((-?\d+)\)}", str(error))  # of "{SIGKILL(-9)}"
    killed = " (killed; out of memory?)" if code and int(code[1]) == -signal.SIGKILL else ""
    return ProcessEnded(f"its process ended{f' with code {code[1]}' if code else ''}{killed}")


@contextlib.contextmanager
def _signals_held() -> Generator[None, None, None]:
    """Signals that arrive while a process starts act afterwards, and only on this one: Ctrl-C goes to the whole group.

    The mask is for the new process, which inherits it. The handlers are for this one: another thread may take the
    signal, and the exception would leave a process that nobody knows.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    arrived: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        arrived.append(number)

    handlers = {number: signal.signal(number, note) for number in _SIGNALS}
    resource_tracker.ensure_running()  # the start of this helper unblocks signals, so it comes before
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in handlers.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        for number in arrived:
            signal.raise_signal(number)


def _beginner() -> Callable[[int], None]:
    """What prepares a worker: Ctrl-C is its parent's affair, and it ends with it.

    Made in a function, so that it travels itself and not as the name of a module: a worker heeds its parent before it
    spends seconds on importing torch.
    """

    def begin(parent: int) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))
        threading.Thread(target=die_with, args=(parent,), daemon=True).start()

    def die_with(parent: int) -> None:
        """End this process when its parent is gone: a killed run must not go on writing behind a new one."""
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    return begin


def _carrier() -> Callable[[Callable[[], T]], T]:
    """What a worker does with a call, which travels as `_beginner` does."""

    def carry(call: Callable[[], T]) -> T:
        if not gc.get_freeze_count():
            gc.freeze()  # what is imported stays: looking for schedulers passes over all other objects, 20 ms without
        return call()

    return carry
