"""What tells a value from all others, and stays the same as long as its results would."""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, is_dataclass
from fractions import Fraction
from types import BuiltinFunctionType, FunctionType
from typing import Any, cast

from budbreak.errors import BudbreakError, InvalidValue
from budbreak.values.annotations import coerce
from budbreak.values.classes import default_of, full_name, hints_of, init_fields, is_finite, show
from budbreak.values.sources import sources_of


def identity(value: object) -> str:
    """The SHA-256 of what `telling` says of a value: 64 hexadecimal digits.

    Raises:
        InvalidValue: as `telling`.
    """
    return hashlib.sha256(_canonical(telling(value)).encode()).hexdigest()


def telling(value: object) -> Any:
    """A JSON value that tells a value from every other, and stays the same as long as its results would.

    A dataclass: its class as "module:name" under ``is``, and the fields of it that `telling_fields` gives. Whole
    numbers in a field for floats are floats, and -0.0 is 0.0. Functions and classes go by their names. What is not of
    this library also tells, under ``source code``, the SHA-256 of the file that defines it, and under ``imported source
    code`` those of the user's own files which that one imports (see `sources_of`): whoever edits her ``mine.py``, or
    what it imports, gets new results and never old ones. Installed packages and this library are not looked into.

    Args:
        value: None, a string, number, fraction, list, tuple, mapping with strings as keys, function, class,
            dataclass; and what is made of these.

    Raises:
        InvalidValue: for what has no name of its own (a lambda, something local), or cannot be looked into.
    """
    try:
        return _told(value, "the value")
    except RecursionError:
        value_said = "the value is nested too deep, or contains itself"
        raise InvalidValue(value_said, "an identity is made of all its parts", "flatten it") from None


def telling_fields(value: Any) -> dict[str, object]:
    """The fields of a dataclass that its constructor takes, without those at the default they were introduced with.

    Args:
        value: a dataclass's instance.

    Returns:
        Field name -> what the field holds; floats where its annotation says so.
    """
    return fields_without(value, lambda field: field.metadata.get("introduced", default_of(field)))


def fields_without(value: Any, usual: Callable[[Field[Any]], object]) -> dict[str, object]:
    """The fields of a dataclass that its constructor takes, without those that hold what is ``usual`` for them."""
    hints, unusual = hints_of(type(value)), dict[str, object]()
    for name, field in init_fields(type(value)).items():
        part, common = (_as_annotated(item, hints[name]) for item in (getattr(value, name), usual(field)))
        if common is MISSING or not _is_same(part, common):
            unusual[name] = part
    return unusual


def _as_annotated(value: object, hint: Any) -> object:
    """1 for a float is 1.0; what fits no annotation stays as it is."""
    try:
        return coerce(value, hint, "")
    except (BudbreakError, OverflowError):
        return value


def _is_same(value: object, common: object) -> bool:
    if value is common:
        return True
    try:  # == first: for most it says no, and quickly. But 1 == 1.0 == True
        return bool(value == common) and _canonical(telling(value)) == _canonical(telling(common))
    except Exception:  # of a foreign ==, or of what cannot be told: it will be refused where it is told
        return False


def _told(value: object, where: str) -> Any:
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int | float | Fraction):
        return _told_number(value, where)
    if isinstance(value, list | tuple):
        return [_told(item, f"{where}[{index}]") for index, item in enumerate(cast("list[object]", value))]
    if isinstance(value, Mapping):
        return _told_mapping(cast(Mapping[object, object], value), where)
    if isinstance(value, FunctionType | BuiltinFunctionType | type):
        kind = "class" if isinstance(value, type) else "function"  # a value's class has a colon in its name
        return {"is": kind, "of": full_name(value, where), **_source(value, where)}
    if is_dataclass(value):
        fields = {name: _told(part, f"{where}.{name}") for name, part in telling_fields(value).items()}
        return {"is": full_name(type(value), where), **_source(type(value), where), **fields}
    rule = "its identity is made of strings, numbers, lists, mappings, functions and dataclasses"
    raise InvalidValue(f"{where} is {show(value)}", rule, "use these")


def _told_number(value: float | Fraction, where: str) -> Any:
    if isinstance(value, Fraction):
        return {"is": "fraction", "of": str(value)}
    if isinstance(value, int):
        if not is_finite(value):
            raise InvalidValue(f"{where} is {show(value)}", "it must be a finite number", "write a finite number")
        return int(value)
    return float(value) + 0.0 if math.isfinite(value) else {"is": "float", "of": str(float(value))}  # no -0.0


def _told_mapping(value: Mapping[object, object], where: str) -> Any:
    for key in value:
        if not isinstance(key, str):
            raise InvalidValue(f"{where} has the key {show(key)}", "a key is a string", f"write {str(key)!r}")
    told = {str(key): _told(item, f"{where}.{key}") for key, item in value.items()}
    return {"is": "mapping", "of": told} if "is" in told else told  # no mapping can pass for something else


def _source(definition: Any, where: str) -> dict[str, Any]:
    """The digests of the file that defines what is not ours, and of those that it imports. No field has such a key."""
    module = definition.__module__
    if module.partition(".")[0] == __name__.partition(".")[0]:
        return {}
    file = getattr(sys.modules[module], "__file__", None)
    if file is None and module in sys.builtin_module_names:
        return {}
    try:
        digests = {name: source.digest for name, source in sources_of(module).items()}
    except OSError as error:
        rule = "what its results depend on is read from the file that defines it"
        value = f"the source of {where}, {definition!r}, cannot be read"
        raise InvalidValue(value, rule, "write it into a file") from error
    told: dict[str, Any] = {"source code": digests.pop(module)}
    return {**told, "imported source code": digests} if digests else told


def _canonical(told: object) -> str:
    return json.dumps(told, sort_keys=True, separators=(",", ":"))
