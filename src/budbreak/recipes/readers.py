"""How fields of a recipe are read: values of a family, lists of them, checked texts, floors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from pydantic import PlainValidator

from budbreak.errors import InvalidValue
from budbreak.masks import check_floor
from budbreak.values import Family, decode, inline, shown_plain


def read_one(family: Family[Any], where: str) -> PlainValidator:
    """A field that holds one value of a family."""
    return PlainValidator(lambda plain: decode(plain, family, field=where))


def read_optional(family: Family[Any], where: str) -> PlainValidator:
    """A field that holds one value of a family, or None, "none" in a recipe."""
    return PlainValidator(lambda plain: None if plain in (None, "none") else decode(plain, family, field=where))


def read_many(family: Family[Any], where: str, *, twice: bool = False) -> PlainValidator:
    """A field that holds a list of them, none twice unless that is said."""
    return PlainValidator(lambda plain: items_of(plain, family, where, twice=twice))


def items_of(plain: object, family: Family[Any], where: str, *, twice: bool = False) -> tuple[Any, ...]:
    """The values of a list of a family, none twice unless that is said.

    Raises:
        InvalidValue, UnknownName: for what is no such list.
    """
    if not isinstance(plain, list | tuple):
        raise InvalidValue(f"{where} is {shown_plain(plain)}", "it must be a list", f"write [{family.example}], or []")
    items = enumerate(cast("list[object]", plain))
    values = tuple(decode(item, family, field=f"{where}[{index}]") for index, item in items)
    if not twice and len(set(values)) < len(values):
        raise InvalidValue(f"{where} has {family.one} twice", "each is in the list once", "take one out")
    return values


def read_text(check: Callable[[str], object], where: str) -> PlainValidator:
    """A text that a function of ours checks."""

    def read(plain: object) -> str:
        if not isinstance(plain, str):
            raise InvalidValue(f"{where} is {shown_plain(plain)}", "it must be text in quotes")
        check(plain)
        return plain

    return PlainValidator(read)


def read_floor(where: str) -> PlainValidator:
    """A count or a share."""

    def read(plain: object) -> int | float:
        if isinstance(plain, bool):
            raise InvalidValue(f"{where} is {inline(plain)}", "it is a number of weights, or a share", "write 1, say")
        check_floor(plain, where)
        return cast("int | float", plain)

    return PlainValidator(read)
