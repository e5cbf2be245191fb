"""Plain forms taken strictly, as the annotations of fields want them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin

from budbreak.checks import as_number
from budbreak.errors import BudbreakError, InvalidValue, did_you_mean
from budbreak.foreign import find_callable
from budbreak.values.classes import naming
from budbreak.values.toml import inline, shown_plain

Inner = Callable[[object, str], object] | None
"""What makes the pluggable parts of a field: (plain form, where it stands) -> value; None: it has no such parts."""

_WORDS: Mapping[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    str: "a string",
    NoneType: "'none'",
}


def coerce(plain: object, hint: Any, where: str, inner: Inner = None) -> object:
    """A plain form as an annotation wants it.

    A whole number serves as a float and a list as a tuple; "none" is None where a field may hold None and no string, as
    TOML has no null. Nothing else bends, and true is no number.

    Args:
        plain: strings, finite numbers, None; lists and mappings of these.
        hint: the annotation.
        where: where the plain form stands, for messages.
        inner: makes the parts that are pluggable values.

    Raises:
        InvalidValue: with what is wanted, and the nearest thing to write.
    """
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return _coerce_union(plain, hint, where, inner)
    if _is_list(hint):
        return _coerce_tuple(plain, hint, where, inner)
    if inner is not None:
        return inner(plain, where)
    if origin is Callable and isinstance(plain, str):
        with naming(where):
            return find_callable(plain, what="a function")
    if hint in (Any, object) and isinstance(plain, list | tuple):
        return tuple(coerce(item, Any, where) for item in plain)
    if hint is float and _fits(plain, int) and float(cast(int, plain)) == plain:  # beyond 2^53, few are floats
        return float(cast(int, plain))
    if _fits(plain, hint):
        return plain
    raise _unfit(plain, hint, where)


def _fits(plain: object, hint: Any) -> bool:
    if hint in (Any, object):
        return not isinstance(plain, Mapping)
    if get_origin(hint) is Literal:
        return any(plain == choice and type(plain) is type(choice) for choice in get_args(hint))
    return hint in _WORDS and isinstance(plain, hint) and isinstance(plain, bool) is (hint is bool)


def _is_list(hint: Any) -> bool:
    return hint in (tuple, Sequence) or get_origin(hint) in (tuple, Sequence)


def _coerce_union(plain: object, hint: Any, where: str, inner: Inner) -> object:
    parts = get_args(hint)
    if NoneType in parts and (plain is None or (plain == "none" and not any(_fits("none", part) for part in parts))):
        return None
    members = [member for member in parts if member is not NoneType]
    if len(members) == 1:
        return coerce(plain, members[0], where, inner)
    for member in members:
        try:
            return coerce(plain, member, where, inner)
        except BudbreakError:
            continue
    raise _unfit(plain, hint, where)


def _coerce_tuple(plain: object, hint: Any, where: str, inner: Inner) -> tuple[object, ...]:
    parts = get_args(hint)
    endless = get_origin(hint) is not tuple or not parts or Ellipsis in parts
    if not isinstance(plain, list | tuple) or not (endless or len(plain) == len(parts)):
        raise _unfit(plain, hint, where)
    kinds = [parts[0] if parts else Any] * len(plain) if endless else parts
    return tuple(coerce(plain[index], kind, f"{where}[{index}]", inner) for index, kind in enumerate(kinds))


def _unfit(plain: object, hint: Any, where: str) -> InvalidValue:
    """What is wrong with a plain form that does not fit the annotation, and what fits nearly."""
    return InvalidValue(f"{where} is {shown_plain(plain)}", f"it must be {wanted(hint)}", _nearest(plain, hint))


def _nearest(plain: object, hint: Any) -> str:
    number, percent = as_number(plain)
    if hint is float and math.isfinite(number):
        return f"a percentage? write {number / 100:g}" if percent else f"write {number!r}"
    if hint is int and math.isfinite(number):
        return f"write {round(number)}"
    if hint is bool and str(plain).lower() in ("true", "false"):
        return f"write {str(plain).lower()}"
    if hint is str and not isinstance(plain, list | tuple | Mapping):
        return f'write "{plain}"'
    if get_origin(hint) is Literal and isinstance(plain, str):
        return did_you_mean(plain, [choice for choice in get_args(hint) if isinstance(choice, str)])
    return _in_list(plain, hint) if _is_list(hint) and not isinstance(plain, list | tuple) else ""


def _in_list(plain: object, hint: Any) -> str:
    """How to write one item where a list is wanted."""
    parts = get_args(hint)
    if get_origin(hint) is tuple and Ellipsis not in parts:
        return "write [...]"
    try:
        return f"write [{inline(coerce(plain, parts[0], ''))}]"
    except (BudbreakError, IndexError):
        return "write [...]"


def wanted(hint: Any) -> str:
    """What an annotation asks for, in words.

    >>> wanted(float | None), wanted(tuple[int, ...]), wanted(Literal["lite", "pro"])
    ("a finite number or 'none'", 'a list, each a whole number', "'lite' or 'pro'")
    """
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(wanted(part) for part in parts)
    if origin is Literal:
        return " or ".join(map(repr, parts))
    if _is_list(hint):
        inside = [wanted(part) for part in parts if part is not Ellipsis]
        fixed = origin is tuple and Ellipsis not in parts
        return f"a list of {len(parts)}: {', '.join(inside)}" if fixed else ", each ".join(["a list", *inside])
    if origin is Callable:
        return "a function, as 'package.module:name'"
    if hint in (Any, object):
        return "a string, a number or a list"
    return _WORDS.get(hint) or f"of the kind {getattr(hint, '__name__', hint)}, which no plain form can describe"
