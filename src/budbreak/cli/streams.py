"""What is printed never decides over the work: a full device, a closed pipe or a poor encoding costs its text only."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Generator
from typing import TextIO


class SteadyStream(io.TextIOBase):
    """A text stream that never raises; `lost` says why something could not be written, and is empty otherwise.

    A reader that left (``| head``) is no loss: it had what it wanted. What the encoding lacks is spelt as an escape.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.lost = ""
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        """Write what can be written."""
        self._attempt(lambda stream: stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Flush what is behind it."""
        self._attempt(lambda stream: stream.flush())

    def isatty(self) -> bool:
        """Whether a person reads along."""
        return self._stream is not None and not self._stream.closed and self._stream.isatty()

    @property
    def encoding(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Of the stream behind it."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def fileno(self) -> int:
        """Of the stream behind it.

        Raises:
            OSError: if there is none.
        """
        if self._stream is None:
            raise io.UnsupportedOperation("fileno")
        return self._stream.fileno()

    def _attempt(self, act: Callable[[TextIO], object]) -> None:
        if self._stream is None:
            return
        try:
            act(self._stream)
        except (OSError, ValueError) as error:  # ValueError: it was closed
            if not isinstance(error, BrokenPipeError):
                self.lost = str(getattr(error, "strerror", None) or error)
            _let_go(self._stream)
            self._stream = None


def _let_go(stream: TextIO) -> None:
    """Send what is still buffered nowhere: the interpreter flushes once more at its end."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


@contextlib.contextmanager
def steady_streams() -> Generator[tuple[SteadyStream, SteadyStream], None, None]:
    """Print to steady streams meanwhile; yields those of the output and of the errors."""
    _open_missing()
    before = sys.stdout, sys.stderr
    out, err = SteadyStream(before[0]), SteadyStream(before[1])
    sys.stdout, sys.stderr = out, err
    try:
        yield out, err
    finally:
        out.flush()
        err.flush()
        sys.stdout, sys.stderr = before


def _open_missing() -> None:
    """Where a shell closed 0, 1 or 2 (``2>&-``), the next file or pipe would take the number, and be written into."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
