"""Text that fits a terminal of 80 columns."""

from __future__ import annotations

import textwrap

WIDTH = 80  # columns of the narrowest terminal that is usual


def folded(text: str) -> str:
    """Each line of a text, broken between words where it is wider than `WIDTH`; a longer word (a path) stays whole.

    >>> print(folded("x " * 45))
    x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x
      x x x x x
    """
    return "\n".join(line if len(line) <= WIDTH else _broken(line) for line in text.split("\n"))


def _broken(line: str) -> str:
    return textwrap.fill(line, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
