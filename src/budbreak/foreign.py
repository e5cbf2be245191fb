"""Errors of code that is not ours - a user's factory, sink or forward - in one line: what, and where in her files."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from budbreak.errors import BudbreakError, InvalidValue

_LONGEST = 300  # letters of a foreign message that are quoted
_OURS = Path(__file__).parent

T = TypeVar("T")


def call_foreign(what: str, call: Callable[[], T], *, rule: str, fix: str = "") -> T:
    """Call other people's code; whatever it raises, SystemExit included, is one clear error.

    Args:
        what: what is called, as the message begins.
        call: without arguments.
        rule: what it should have done.
        fix: what to do about it.

    Raises:
        InvalidValue: naming the error, and the file and line of theirs in which it arose.
        BudbreakError: if ours is raised, as it is.
    """
    try:
        return call()
    except BudbreakError:
        raise
    except (Exception, SystemExit) as error:
        raise InvalidValue(f"{what} raised {described(error)}", rule, fix) from error


def described(error: BaseException) -> str:
    """The type and first words of an error, and where it arose.

    >>> described(ValueError("no"))
    'ValueError: no'
    """
    text = " ".join(str(error).split())
    short = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    place = _place(error)
    return f"{type(error).__name__}{f': {short}' if short else ''}{f' ({place})' if place else ''}"


def _place(error: BaseException) -> str:
    """File and line of the last step through a file that belongs neither to us nor to an installed package."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    steps = [step for step in traceback.extract_tb(error.__traceback__) if _is_theirs(step.filename)]
    return f"{steps[-1].filename}, line {steps[-1].lineno}" if steps else ""


def _is_theirs(filename: str) -> bool:
    path = Path(filename)
    installed = {"site-packages", "dist-packages"} & set(path.parts) or Path(traceback.__file__).parent in path.parents
    return not (filename.startswith("<") or installed or _OURS in path.parents)
