"""What all executors share: how a lost process is told, and the surroundings that workers are started in."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import BrokenExecutor, Future
from typing import TypeVar

T = TypeVar("T")


class ProcessEnded(BrokenExecutor):
    """The process that computed something has gone; its text says how, and the executor goes on working."""


def retold(inner: Future[T], retell: Callable[[BaseException], BaseException]) -> Future[T]:
    """A future that ends as ``inner`` does, but for its exception, which goes through ``retell``.

    It counts as running from the beginning, so that it cannot be cancelled.
    """
    outer: Future[T] = Future()
    outer.set_running_or_notify_cancel()

    def pass_on(done: Future[T]) -> None:
        error = done.exception()
        if error is None:
            outer.set_result(done.result())
        else:
            outer.set_exception(retell(error))

    inner.add_done_callback(pass_on)
    return outer


@contextlib.contextmanager
def environment_defaults(defaults: Mapping[str, str]) -> Generator[None, None, None]:
    """Set variables that the user has not set, for the processes that are started inside, and take them back."""
    absent = {name: value for name, value in defaults.items() if name not in os.environ}
    os.environ.update(absent)
    try:
        yield
    finally:
        for name in absent:
            os.environ.pop(name, None)
