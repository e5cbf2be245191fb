"""Tasks for the tests of executors: they count in a file, go on from what is there, and meet all kinds of ends."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Count:
    """Write the numbers below ``steps`` into a file, one a line; the first attempt meets its ``end`` half way."""

    folder: Path
    name: str
    steps: int = 4
    pause: float = 0.0
    end: str = ""
    again: bool = False
    needs: tuple[Count, ...] = ()

    @property
    def identity(self) -> str:
        return self.name

    @property
    def file(self) -> Path:
        return self.folder / self.name

    def lines(self) -> list[str]:
        return self.file.read_text().split() if self.file.exists() else []


class Unpicklable(Exception):
    def __init__(self) -> None:
        super().__init__("it holds a lock")
        self.lock = threading.Lock()


class Unreadable(Exception):
    """Pickled well, but not made again from what was pickled."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} and {other}")


def count(task: Count) -> None:
    with (task.folder / f"{task.name}.attempts").open("a") as log:
        fcntl.flock(log, fcntl.LOCK_EX)  # as real tasks do: the process of an earlier attempt may not be gone yet
        log.write(f"{os.getpid()}\n")
        log.flush()
        for step in range(len(task.lines()), task.steps):
            with task.file.open("a") as file:
                file.write(f"{step}\n")
            if step == task.steps // 2 - 1 or task.again:
                meet(task.end)
            time.sleep(task.pause)


def attempts(task: Count) -> list[int]:
    """The process of each attempt, in order."""
    log = task.folder / f"{task.name}.attempts"
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def expected(task: Count) -> list[str]:
    return [str(step) for step in range(task.steps)]


def meet(end: str) -> None:
    if end:
        ENDS[end]()


def raise_error(error: BaseException) -> None:
    raise error


ENDS = {
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "leaves": lambda: os._exit(3),
    "exits": lambda: sys.exit("so long"),
    "interrupted": lambda: raise_error(KeyboardInterrupt()),
    "raises": lambda: raise_error(RuntimeError("no luck")),
    "unpicklable": lambda: raise_error(Unpicklable()),
    "unreadable": lambda: raise_error(Unreadable("one", "other")),
    "stops": lambda: os.kill(os.getpid(), signal.SIGSTOP),
}
