"""What surrounds every subcommand: signals, streams, and errors and warnings as a few lines."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Generator
from types import FrameType
from typing import TextIO

from budbreak.cli.console import complain
from budbreak.cli.streams import steady_streams
from budbreak.errors import BudbreakError, printable

_REMEDIES = {
    errno.EACCES: "give yourself the right to it, or choose another place",
    errno.EPERM: "give yourself the right to it, or choose another place",
    errno.EROFS: "choose another place",
    errno.ENOSPC: "free some space, then run the same command again",
    errno.EDQUOT: "free some space, then run the same command again",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EISDIR: "give a file, not a folder",
    errno.ENOTDIR: "give a folder, not a file",
    errno.ENOENT: "go to a folder that exists, and give a path that exists",
}


class _Stopped(BaseException):
    """A signal arrived: unwind, and end with its code."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def guarded(command: Callable[[], int]) -> int:
    """Run a subcommand.

    Returns:
        Its exit code; 1 for an error, which is printed, and where the output could not be written; 128 + the signal
        after Ctrl-C (130) or SIGTERM (143).
    """
    with steady_streams() as (out, _):
        code = _run(command)
        out.flush()
        if out.lost:
            complain(
                "error",
                f"standard output: {out.lost}",
                "what was asked is done, but not all of its text could be written",
                "print it elsewhere",
            )
            code = code or 1
    return code


def _run(command: Callable[[], int]) -> int:
    try:
        with _warnings_told(), _stopped_by_signals():
            return command()
    except BudbreakError as error:
        complain("error", error.value, error.rule, error.fix)
    except OSError as error:
        complain("error", *_explained(error))
    except MemoryError:
        complain(
            "error", "there is not enough memory", "a data set is held in memory as a whole", "use fewer --workers"
        )
    except (KeyboardInterrupt, _Stopped) as stop:
        _complain_of_stop()
        return 128 + (stop.number if isinstance(stop, _Stopped) else signal.SIGINT)
    return 1


class _Told(logging.Handler):
    """Says what is logged as a warning."""

    def emit(self, record: logging.LogRecord) -> None:
        complain("warning", printable(record.getMessage()))


@contextlib.contextmanager
def _warnings_told() -> Generator[None, None, None]:
    """Say what is warned of as errors are said, with the place in the code that caused it."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        complain("warning", printable(str(message)), f"({category.__name__}, {filename}, line {lineno})")

    told, log = _Told(logging.WARNING), logging.getLogger("budbreak")
    log.addHandler(told)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = show
            yield
    finally:
        log.removeHandler(told)


def _complain_of_stop() -> None:
    print("\nstopped; the same command goes on from the last checkpoint", file=sys.stderr)


def _explained(error: OSError) -> tuple[str, str, str]:
    """The three lines of an error of the operating system."""
    place = " ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    value = printable(f"{place or 'the system'}: {error.strerror or error}")
    remedy = _REMEDIES.get(error.errno or 0, "mend it, then run the same command again")
    return value, "files and folders that the command names can be read and written", remedy


@contextlib.contextmanager
def _stopped_by_signals() -> Generator[None, None, None]:
    """Unwind at the first SIGINT or SIGTERM; end at once at the second: all files are whole at every moment."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if arrived:
            os._exit(128 + number)
        arrived.append(number)
        raise _Stopped(number)

    # where SIGINT is ignored (a job in the background of a script) it stays so
    numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
