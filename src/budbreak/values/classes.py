"""What is asked of classes and functions: their fields, their names, and how they look in a message."""

from __future__ import annotations

import math
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import MISSING, Field, fields
from operator import attrgetter
from typing import Any, get_type_hints

from budbreak.checks import shown
from budbreak.errors import BudbreakError, InvalidValue, UnknownName
from budbreak.foreign import call_foreign


def init_fields(kind: type) -> dict[str, Field[Any]]:
    """The fields that the constructor of a dataclass takes, by name."""
    return {field.name: field for field in fields(kind) if field.init}


def default_of(field: Field[Any]) -> object:
    """The default of a field; `dataclasses.MISSING` if it has none."""
    return field.default if field.default_factory is MISSING else field.default_factory()


def hints_of(kind: type) -> dict[str, Any]:
    """Field name -> annotation, as a type.

    Raises:
        InvalidValue: if an annotation names what is not there at run time.
    """
    return call_foreign(
        f"reading the annotations of {kind.__name__}",
        lambda: get_type_hints(kind),
        rule="the types of fields are known when the program runs",
        fix="import them outside TYPE_CHECKING",
    )


def full_name(definition: Any, where: str) -> str:
    """``module:name`` of a function or class, by which exactly this one is found.

    Raises:
        InvalidValue: if it has no such name: lambdas, local ones, those that a decorator hid.
    """
    module = "__main__" if definition.__module__ == "__mp_main__" else definition.__module__
    try:
        known = attrgetter(definition.__qualname__)(sys.modules[definition.__module__])
    except (AttributeError, KeyError):
        known = None
    if known is not definition:
        rule = "it is found by a name in its module: lambdas and what is local cannot be"
        raise InvalidValue(f"{where} is {definition!r}", rule, "write it at the top of a module, with def or class")
    return f"{module}:{definition.__qualname__}"


def is_finite(number: float) -> bool:
    """Whether it is neither NaN nor infinite, nor a whole number beyond all floats."""
    try:
        return math.isfinite(number)
    except OverflowError:
        return False


def show(value: object) -> str:
    """`checks.shown`, for values of any origin."""
    try:
        return shown(value)
    except Exception:  # the repr of what is nested too deep, of a number of 10,000 digits, of a foreign class
        return f"a {type(value).__name__} that cannot be printed"


@contextmanager
def naming(where: str) -> Generator[None, None, None]:
    """Put the field's name in front of an error that arises within."""
    try:
        yield
    except BudbreakError as error:
        kind = UnknownName if isinstance(error, UnknownName) else InvalidValue
        raise kind(f"{where}: {error.value}", error.rule, error.fix) from error
