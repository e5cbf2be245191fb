"""Errors of code that is not ours - a user's factory, sink or forward - in one line: what, and where in her files."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from budbreak.errors import BudbreakError, InvalidValue, UnknownName, did_you_mean, one_of

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


def find_callable(name: str, *, what: str) -> Callable[..., object]:
    """Import what ``package.module:attribute`` names.

    Args:
        name: as the user wrote it.
        what: what it should be, e.g. "a factory".

    Raises:
        UnknownName: if there is no such module or attribute.
        InvalidValue: if the name is of another form, the module raises, or what is found cannot be called.
    """
    module_name, colon, attribute = name.partition(":")
    if not (module_name and colon and attribute) or module_name.startswith("."):
        raise InvalidValue(
            f"{what} is {name!r}", "it is package.module:name", "name the module in full, a colon, and what is in it"
        )
    rule = "a module that is named can be imported"
    module = call_foreign(f"importing {module_name!r}", lambda: _import(module_name), rule=rule, fix="mend it")
    target = getattr(module, attribute, None)
    if target is None:
        known = [key for key in vars(module) if not key.startswith("_")]
        value = f"module {module_name!r} has no attribute {attribute!r}"
        raise UnknownName(value, f"{what} in it is meant: {one_of(known)}", did_you_mean(attribute, known))
    if not callable(target):
        raise InvalidValue(f"{name!r} is of type {type(target).__name__}", f"{what} can be called", "name a function")
    return target


def _import(module_name: str) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except ImportError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise UnknownName(
                f"cannot import {module_name!r}: {error}",
                "it is a module as in an import statement: package.module, without .py",
                f"did you mean {module_name[:-3].replace('/', '.')!r}?"
                if module_name.endswith(".py")
                else "install it, or add its folder to PYTHONPATH",
            ) from error
        raise


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
    steps = [step for step in traceback.extract_tb(error.__traceback__) if is_users_own(step.filename)]
    return f"{steps[-1].filename}, line {steps[-1].lineno}" if steps else ""


def is_users_own(filename: str) -> bool:
    """Whether a file belongs neither to us, nor to Python, nor to an installed package."""
    path = Path(filename)
    installed = {"site-packages", "dist-packages"} & set(path.parts) or Path(traceback.__file__).parent in path.parents
    return not (filename.startswith("<") or installed or _OURS in path.parents)
