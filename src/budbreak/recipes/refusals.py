"""What pydantic finds wrong with a recipe, in our words: the value, the rule, the nearest fix."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from budbreak.errors import BudbreakError, InvalidValue, UnknownName, did_you_mean, one_of
from budbreak.values import inline, shown_plain

Sections = Mapping[str, type[BaseModel]]

_LARGEST_BITS = 60  # of a whole number; TOML's hexadecimal ones may be longer than Python prints
_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "string": "text in quotes",
    "bool": "true or false",
    "tuple": "a list",
    "model": "a table",
}


def in_our_words(problem: ErrorDetails, sections: Sections) -> BudbreakError:
    """One thing that pydantic problem.

    Args:
        problem: in a model whose fields are ``sections``.
        sections: name -> model.
    """
    where = tuple(str(part) for part in problem["loc"])
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, BudbreakError):
        return cause
    if problem["type"] == "extra_forbidden":
        return unknown_field(where, sections)
    if problem["type"] == "missing":
        return _missing(where, sections)
    return _wrong(".".join(where), problem)


def unknown_field(where: tuple[str, ...], sections: Sections) -> UnknownName:
    """A section or a field that does not exist, with the nearest that does."""
    name = where[-1]
    homes = [section for section, kind in sections.items() if name in kind.model_fields]
    elsewhere = f"did you mean {name} in [{homes[0]}]?" if homes else ""
    if len(where) == 1:
        rule, near = one_of(sections), elsewhere or did_you_mean(name, sections)
        return UnknownName(f"a recipe has no section [{name}]", rule, near)
    known = list(sections[where[0]].model_fields)
    near = elsewhere or did_you_mean(name, known)
    return UnknownName(f"[{where[0]}] has no field {name!r}", one_of(known, most=len(known)), near)


def _missing(where: tuple[str, ...], sections: Sections) -> InvalidValue:
    section = where[0]
    required = [name for name, field in sections[section].model_fields.items() if field.is_required()]
    name = where[1] if len(where) > 1 else required[0]
    return InvalidValue(
        f"the recipe lacks {section}.{name}", "this field has no default", f"add {name} = ... below [{section}]"
    )


def _wrong(path: str, problem: ErrorDetails) -> InvalidValue:
    """A value of the wrong type, or out of its range."""
    value, kind, context = problem["input"], str(problem["type"]), problem.get("ctx", {})
    if kind == "too_long":
        return InvalidValue(f"{path} has {len(value):,} items", f"it has at most {context['max_length']}", "give fewer")
    if isinstance(value, int) and value.bit_length() > _LARGEST_BITS:
        return InvalidValue(f"{path} is a number of {value.bit_length()} bits", f"it has at most {_LARGEST_BITS}")
    if kind == "literal_error":
        known = str(context["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
        return InvalidValue(f"{path} is {shown_plain(value)}", one_of(known), did_you_mean(str(value), known))
    rule = f"it must be {_TYPES.get(kind.split('_')[0], str(problem['msg']))}"
    if kind == "greater_than_equal":
        rule = f"it must be at least {context['ge']}"
    if kind == "less_than_equal":
        rule = f"it must be at most {context['le']:,}"
    return InvalidValue(f"{path} is {shown_plain(value)}", rule, _meant(path.rpartition(".")[2], kind, value))


def _meant(field: str, kind: str, value: object) -> str:
    """What was meant, where that can be seen."""
    if kind.startswith("tuple") and isinstance(value, str):
        return f"write {field} = [{inline(value)}]"
    if kind.startswith("bool") and type(value) is int and value in (0, 1):
        return f"write {field} = {'true' if value else 'false'}"
    if kind.startswith(("int", "float")) and isinstance(value, str) and _is_number(value):
        return f"write {field} = {value.strip()}"
    return ""


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
