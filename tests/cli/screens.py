"""What a person sees: a pseudo-terminal, and a small emulator of the sequences that are written to it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import termios
import threading
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess

import forking

_PIECE = re.compile(r"\x1b\[(\??)([\d;]*)([A-Za-z])|(\r)|(\n)|([^\x1b])")


def shown(written: str, columns: int) -> list[str]:
    """The lines on the screen and above it, without the spaces at their ends."""
    rows: list[list[str]] = [[]]
    row = column = 0
    for private, numbers, code, back, down, letter in _PIECE.findall(written):
        if back:
            column = 0
        elif down:
            row += 1
        elif code == "A":
            row -= int(numbers or 1)
        elif code == "K":
            assert numbers == "2"
            rows[row] = []
        elif letter:
            if column == columns:
                row, column = row + 1, 0
            while len(rows) <= row:
                rows.append([])
            rows[row] += [" "] * (column + 1 - len(rows[row]))
            rows[row][column] = letter
            column += 1
        else:
            assert code == "m" or (private, numbers) == ("?", "25"), f"unknown: {code}"
        while len(rows) <= row:
            rows.append([])
    return ["".join(line).rstrip() for line in rows]


_MARK = b"\x00"


class Terminal:
    """A pseudo-terminal; `slave` is the end of the program, and `written` what it wrote so far."""

    def __init__(self, columns: int, lines: int = 30) -> None:
        self.columns = columns
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self._read = b""
        self._reader = threading.Thread(target=self._follow, daemon=True)
        self._reader.start()

    def _follow(self) -> None:
        while True:
            try:
                self._read += os.read(self.master, 65536)
            except OSError:  # nobody has the other end open any more
                return

    @property
    def written(self) -> str:
        """All that was written until now."""
        before = self._read.count(_MARK)
        os.write(self.slave, _MARK)
        end = time.monotonic() + 60
        while self._read.count(_MARK) == before:
            assert time.monotonic() < end
            time.sleep(0.001)
        return self._read.replace(_MARK, b"").decode(errors="replace").replace("\r\n", "\n\r")

    def close(self) -> None:
        os.close(self.slave)
        self._reader.join(60)
        os.close(self.master)

    def start(self, work: Callable[..., int], *arguments: object) -> BaseProcess:
        """Start a function in a process as if it had been typed here: Ctrl-C reaches it."""
        return forking.start(work, *arguments, terminal=os.ttyname(self.slave))

    def type(self, text: bytes) -> None:
        os.write(self.master, text)

    def lines(self) -> list[str]:
        """What is on the screen and above it."""
        return shown(self.written, self.columns)
