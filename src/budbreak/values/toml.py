"""A plain form as TOML writes it, within a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from budbreak.values.classes import show

_LONGEST = 60  # letters of a value in a message


def inline(plain: object) -> str:
    """The text of a value; nothing, which TOML lacks, is "none" in messages.

    >>> inline({"is": "nm", "n": 2, "of": [4, 0.5], "fc.*": True})
    '{is = "nm", n = 2, of = [4, 0.5], "fc.*" = true}'
    """
    if isinstance(plain, Mapping):
        table = cast("Mapping[str, Any]", plain)
        return "{" + ", ".join(f"{inline_key(name)} = {inline(value)}" for name, value in table.items()) + "}"
    if isinstance(plain, list | tuple):
        return "[" + ", ".join(inline(item) for item in cast("list[Any]", plain)) + "]"
    if isinstance(plain, str):
        return _quoted(plain)
    if plain is None or isinstance(plain, bool):
        return str(plain).lower()
    return repr(plain) if isinstance(plain, float) else str(plain)


def shown_plain(plain: object) -> str:
    """A plain form in an error message: tables, lists, true and false as in TOML, all else by `show`.

    >>> shown_plain([[]]), shown_plain(0.5)
    ('[[]]', '0.5')
    """
    if not isinstance(plain, Mapping | list | tuple | bool):
        return show(plain)
    try:
        text = inline(cast(object, plain))
    except RecursionError:  # nested as deeply as a reader of TOML just takes
        return "nested too deeply"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def inline_key(name: str) -> str:
    """A key, in quotes where it needs them."""
    plain = name.replace("-", "").replace("_", "")
    return name if plain.isalnum() and plain.isascii() else _quoted(name)


def _quoted(text: str) -> str:
    """A basic string of TOML: one of JSON, but for the last control character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
