"""JSON files that say what they are, where they belong, and that they are whole; read through one strict check."""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from types import GenericAlias
from typing import Any, TypeVar, cast

from budbreak.errors import BudbreakError, InvalidValue
from budbreak.files.storage import RESTORE, check_marks, corrupt, digest, parse, read_bytes, write_text

T = TypeVar("T")

_LARGEST = 128 << 20  # bytes; the results of some thousand levels with their curves
_MARKS = ("kind", "store", "sha256")


def write_json(path: Path, payload: Mapping[str, object], kind: str, *, store: str | None = None) -> None:
    """Write a JSON object that says what it is and where it belongs, with its own checksum.

    Args:
        path: where it goes.
        payload: what it holds, under names other than ``kind``, ``store`` and ``sha256``.
        kind: what it is, with the number of its schema, e.g. "records 1".
        store: the identity of the store or run that it belongs to, if it belongs to one.
    """
    taken = [key for key in _MARKS if key in payload]
    if taken:
        raise InvalidValue(f"the payload has a key {taken[0]!r}", "it is a mark of the file", "name it otherwise")
    # keys become strings as they will be when read: the digest sorts them
    plain = json.loads(json.dumps({"kind": kind, "store": store, **payload}))
    write_text(path, _in_lines({**plain, "sha256": digest(plain)}) + "\n")


def _in_lines(plain: Mapping[str, object]) -> str:
    """A line for each entry, and for each item in it: `json` itself breaks lines in Python, at a third of the speed."""
    return "{\n" + ",\n".join(f" {_line(key)}: {_broken(value)}" for key, value in plain.items()) + "\n}"


def _broken(value: object) -> str:
    if isinstance(value, dict) and value:
        table = cast("dict[str, object]", value)
        return "{\n  " + ",\n  ".join(f"{_line(key)}: {_line(item)}" for key, item in table.items()) + "\n }"
    if isinstance(value, list) and value:
        return "[\n  " + ",\n  ".join(map(_line, cast("list[object]", value))) + "\n ]"
    return _line(value)


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def read_json(
    path: Path, kind: str, schema: type[T], *, stores: Collection[str | None] | None = None, remedy: str = RESTORE
) -> T:
    """Read what `write_json` wrote.

    Args:
        path: the file.
        kind: what it must be.
        schema: the type that its content must have, checked strictly: usually a frozen dataclass.
        stores: the identities that it may have; any if None.
        remedy: what to do about a file that is refused.

    Raises:
        CorruptFile: if it is not JSON, does not match its checksum, is of another kind or of another structure.
        StoreMismatch: if it belongs to another store.
        FileNotFoundError, CannotRead: see `check_readable`.
    """
    data = read_bytes(path, largest=_LARGEST)
    try:
        body = parse(data.decode())
        matches = isinstance(body, dict) and body.pop("sha256", None) == digest(body)
    except ValueError as error:
        raise corrupt(path, f"it is not one of our JSON files ({error})", remedy) from None
    if not matches:
        raise corrupt(path, "its content does not match its checksum", remedy)
    check_marks(path, (kind, stores), (body.pop("kind", None), body.pop("store", None)), remedy)
    return conform(schema, body, path, remedy)


def conform(schema: type[T], plain: object, path: Path, remedy: str = RESTORE) -> T:
    """A value of type ``schema`` from its JSON form.

    Strict: no field more, none less, no number for a text; a list serves as a tuple, a whole number as a float.

    Args:
        schema: a frozen dataclass, or any other annotated type.
        plain: dicts, lists, texts, numbers and None.
        path: the file it came from, for the message.
        remedy: what to do about it.

    Raises:
        CorruptFile: with the place at which it does not conform.
    """
    from pydantic import ValidationError

    try:
        (value,) = _adapter(schema).validate_json(json.dumps([plain]))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or "the whole"
        raise corrupt(path, f"its structure is wrong at {where}: {first['msg']}", remedy) from None
    except (BudbreakError, ValueError, TypeError, RecursionError) as error:  # a dataclass that checks its own fields
        raise corrupt(path, f"its structure is wrong: {error}", remedy) from None
    return value


@functools.cache
def _adapter(schema: Any) -> Any:
    from pydantic import ConfigDict, TypeAdapter

    # in a tuple: the configuration is taken for a dataclass of the standard library only where it is nested
    whole: Any = GenericAlias(tuple, (schema,))
    return TypeAdapter(whole, config=ConfigDict(extra="forbid", strict=True))
