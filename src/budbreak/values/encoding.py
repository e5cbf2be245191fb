"""Value -> plain form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import is_dataclass
from types import BuiltinFunctionType, FunctionType
from typing import Any, cast

from budbreak.errors import InvalidValue
from budbreak.values.classes import default_of, full_name, init_fields, naming, show
from budbreak.values.decoding import decode
from budbreak.values.family import Family
from budbreak.values.identities import fields_without


def encode(value: object, family: Family[Any]) -> str | dict[str, Any]:
    """The plain form of a value, so that ``decode(encode(value, family), family, field=...) == value``.

    A name where all fields are at their defaults, else a table: ``is`` first, then the other fields; tuples as lists.

    Raises:
        InvalidValue, UnknownName: for a value that no plain form describes: it or a part of it is of a local class
            or of the script that runs, is a lambda, is infinite, is not of the family.
    """
    plain = _spelt(value, family, family.what)
    back = decode(plain, family, field=family.what)
    if back != value:
        rule = "a value is made of its fields, and equal to another one with the same"
        raise InvalidValue(f"{show(value)}, would be read back as {show(back)}", rule, "mend the class")
    return plain


def _spelt(value: object, family: Family[Any], where: str) -> str | dict[str, Any]:
    kind = type(value)
    if not is_dataclass(value) or isinstance(value, type):
        raise InvalidValue(f"{where} is {show(value)}", family.rule, f"give a value such as {family.example}")
    with naming(where):
        family.check_class(kind)
    short = {known: name for name, known in family.names.items()}
    families = {name: field.metadata.get("family") for name, field in init_fields(kind).items()}
    arguments = {
        name: _plain(part, families[name], f"{where}.{name}")
        for name, part in fields_without(value, default_of).items()
    }
    name = short.get(kind) or _importable(kind, where)
    return {"is": name, **arguments} if arguments else name


def _plain(value: object, family: Callable[[], Family[Any]] | None, where: str) -> Any:
    """The plain form of what a field holds."""
    if isinstance(value, list | tuple):
        return [_plain(item, family, f"{where}[{index}]") for index, item in enumerate(cast("list[object]", value))]
    if isinstance(value, float):
        return float(value)  # of numpy's, which is a float too
    if value is None and family is not None:
        return "none"  # TOML has no null
    if isinstance(value, str | int | None):
        return value
    if isinstance(value, FunctionType | BuiltinFunctionType | type):
        return _importable(value, where)
    if family is not None:
        return _spelt(value, family(), where)
    raise InvalidValue(
        f"{where} is {show(value)}",
        "a plain form is made of strings, numbers, lists and pluggable values",
        "use these, or name the family of the field: field(metadata={'family': ...})",
    )


def _importable(definition: Any, where: str) -> str:
    """``module:name`` of what another process can import."""
    name = full_name(definition, where)
    if name.startswith("__main__:") or "." in name.partition(":")[2]:
        inside = "the script that runs" if name.startswith("__main__:") else "another class"
        rule = "a worker process imports it by its name, from the top of a module that is no script"
        raise InvalidValue(f"{where} is {name!r}, in {inside}", rule, "move it to a file of its own, and import it")
    return name
