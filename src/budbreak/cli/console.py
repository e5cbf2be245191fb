"""What the command says: texts, tables, errors and warnings, on a terminal or where there is none, by rich."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, TextIO

from budbreak.errors import spelt

if TYPE_CHECKING:  # rich takes a tenth of a second, and `--help` needs none of it
    from rich.console import Console, RenderableType

WIDTH = 80  # columns of the narrowest terminal that is usual, and where there is no terminal
_TEXT = 100  # columns of a text that is read, however wide the terminal is
_STYLES = {"error": "bold red", "warning": "bold yellow"}


def console_on(stream: TextIO) -> Console:
    """A console as wide as the terminal; names of recipes are shown as they are, never taken for markup."""
    from rich.console import Console

    width = None if stream.isatty() or "COLUMNS" in os.environ else WIDTH
    return Console(file=stream, width=width, markup=False, highlight=False, emoji=False)


def is_watched(console: Console) -> bool:
    """Whether lines that change can be shown on it: it is a terminal, and no "dumb" one."""
    return console.file.isatty() and not console.is_dumb_terminal


def say(*parts: RenderableType) -> None:
    """Print texts and tables on the standard output.

    A line of a text is broken between words; not at all where a word is wider than the terminal: it is a path, which
    is copied whole.
    """
    console = console_on(sys.stdout)
    width = min(console.width, _TEXT)
    for part in parts:
        if not isinstance(part, str):
            console.print(part, crop=False)
            continue
        for line in spelt(part).split("\n"):
            console.print(line, width=width, soft_wrap=any(len(word) > width for word in line.split()))


def complain(kind: str, value: str, *more: str) -> None:
    """Print an "error" or a "warning" on the standard error: the value, and a line each for rule and fix.

    No line is broken: a fix is copied whole.
    """
    from rich.text import Text

    text = Text.assemble((f"{kind}: ", _STYLES[kind]), (value, "bold"), *(f"\n{line}" for line in more if line))
    console = console_on(sys.stderr)
    with console.capture() as rendered:
        console.print(text, soft_wrap=True)
    sys.stderr.write(rendered.get())  # not by the console itself: a display may have put its own stream there
    sys.stderr.flush()
