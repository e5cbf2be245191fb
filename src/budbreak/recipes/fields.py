"""What a recipe can say, explained: every field of every section, and every value that has a short name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any

from pydantic.fields import FieldInfo

from budbreak.recipes.section import usual
from budbreak.recipes.sections import FAMILIES, SECTIONS, plain_value
from budbreak.recipes.spelling import respelt
from budbreak.values import encode, inline


@dataclass(frozen=True)
class Explained:
    """One thing that a recipe can say.

    Args:
        name: of a field, or the short name of a value.
        takes: the default of a field, as "default: 5"; the arguments of a value, each as "rate" or "levels = 12".
        meaning: in a line.
    """

    name: str
    takes: tuple[str, ...]
    meaning: str


def recipe_fields() -> Mapping[str, tuple[Explained, ...]]:
    """Section -> its fields, in order."""
    return {
        section: tuple(
            Explained(name, (_default(section, name, info),), info.description or "")
            for name, info in kind.model_fields.items()
        )
        for section, kind in SECTIONS.items()
    }


def recipe_values() -> Mapping[str, tuple[Explained, ...]]:
    """Path of a field that takes values by short names -> these, each with its arguments."""
    return {
        f"{section}.{field}": tuple(
            Explained(name, _arguments(kind), _first_line(kind)) for name, kind in family.names.items()
        )
        for (section, field), family in FAMILIES.items()
    }


def _default(section: str, field: str, info: FieldInfo) -> str:
    return "required" if info.is_required() else f"default: {inline(plain_value(section, field, usual(info)))}"


def _arguments(kind: type) -> tuple[str, ...]:
    return tuple(_argument(field) for field in fields(kind) if field.init)


def _argument(field: Field[Any]) -> str:
    default = field.default if field.default_factory is MISSING else field.default_factory()
    family = field.metadata.get("family")
    if default is MISSING:
        return field.name
    plain = default if default is None or family is None else encode(default, family())
    return f"{field.name} = {inline(plain)}"


def _first_line(kind: type) -> str:
    return respelt((kind.__doc__ or "").partition("\n")[0])
