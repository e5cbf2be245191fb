"""Plain form -> value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING
from functools import partial
from typing import Any, TypeVar, cast

from budbreak.errors import InvalidValue, UnknownName, did_you_mean, one_of
from budbreak.foreign import call_foreign
from budbreak.values.annotations import Inner, coerce, wanted
from budbreak.values.classes import default_of, hints_of, init_fields, is_finite, naming, show
from budbreak.values.family import Family
from budbreak.values.toml import inline, shown_plain

T = TypeVar("T")

_DEEPEST = 50  # lists and tables within each other; a recipe has about 4


def decode(plain: object, family: Family[T], *, field: str) -> T:
    """The value that a plain form describes.

    Constructor arguments come from the form's own table and from nowhere else. They are taken strictly, by the
    annotations of the class's fields: a whole number serves as a float, a list as a tuple, nothing else bends.

    Args:
        plain: a short name, "package.module:Class", or a mapping with one of these as ``is`` and the arguments.
        family: what is meant.
        field: where the form stands, as messages name it, e.g. "prune.criterion".

    Raises:
        UnknownName: for a name, module or argument that does not exist, with the nearest one that does.
        InvalidValue: for anything else; an error of a user's own code names her file and line.

    >>> from budbreak import schedules
    >>> family = Family.of("schedule", schedules.ALL, needs=("levels",))
    >>> decode({"is": "one-shot", "sparsity": 0.9}, family, field="prune.schedule")
    OneShot(sparsity=0.9)
    """
    _check_plain(plain, field)
    return _decode(family, plain, field)


def _check_plain(plain: object, field: str) -> None:
    """Refuse what TOML and JSON cannot hold, before anything recurses into it or prints it."""
    rest: list[tuple[object, str, int]] = [(plain, field, 0)]
    while rest:  # a list and not recursion: nested input may be deeper than the stack, or contain itself
        item, where, depth = rest.pop()
        if depth > _DEEPEST:
            raise InvalidValue(f"{field} is nested {depth} deep or more", f"{_DEEPEST} is the most", "flatten it")
        if isinstance(item, Mapping):
            table = cast(Mapping[object, object], item)
            _check_keys(table, where)
            rest += [(value, f"{where}.{key}", depth + 1) for key, value in table.items()]
        elif isinstance(item, list | tuple):
            rest += [(value, f"{where}[{index}]", depth + 1) for index, value in enumerate(cast("list[object]", item))]
        else:
            _check_leaf(item, where)


def _check_keys(table: Mapping[object, object], where: str) -> None:
    for key in table:
        if not isinstance(key, str):
            raise InvalidValue(f"{where} has the key {show(key)}", "a key is a string", "write the argument's name")


def _check_leaf(item: object, where: str) -> None:
    if isinstance(item, int | float) and not is_finite(item):
        raise InvalidValue(f"{where} is {show(item)}", "it must be a finite number", "write a finite number")
    if not isinstance(item, str | int | float | None):
        raise InvalidValue(
            f"{where} is {show(item)}",
            "a plain form is made of strings, numbers, lists and tables",
            "budbreak.values.encode gives that of a value",
        )


def _decode(family: Family[T], plain: object, where: str) -> T:
    name, given = _split(plain, family, where)
    kind = family.find(name, where)
    with naming(where):
        _check_names(kind, given, name)
        hints = hints_of(kind)
    inner = {key: _inner(init_fields(kind)[key].metadata.get("family")) for key in given}
    arguments = {key: coerce(part, hints[key], f"{where}.{key}", inner[key]) for key, part in given.items()}
    with naming(where):
        rule = "a value can be made from its arguments"
        value = call_foreign(f"{kind.__name__}(...)", lambda: kind(**arguments), rule=rule, fix="mend one of them")
        family.check_instance(value)
    return value


def _split(plain: object, family: Family[Any], where: str) -> tuple[str, dict[str, object]]:
    """The name and the arguments of a plain form."""
    table = cast(object, {"is": plain} if isinstance(plain, str) else plain)
    rule, fix = f"{family.one} is a name, or a table that holds its name as `is`", f"write {family.example}"
    if not isinstance(table, Mapping):
        raise InvalidValue(f"{where} is {shown_plain(plain)}", rule, fix)
    given = dict(cast(Mapping[str, object], table))
    if "is" not in given:
        raise InvalidValue(f"{where} is {shown_plain(plain)}, without `is`", rule, fix)
    name = given.pop("is")
    if not isinstance(name, str):
        raise InvalidValue(f"{where}.is is {shown_plain(name)}", rule, fix)
    return name, given


def _check_names(kind: type, given: Mapping[str, object], name: str) -> None:
    """Refuse arguments that the class does not take, and the lack of one that it wants."""
    known = init_fields(kind)
    for argument in given:
        if argument not in known:
            rule = one_of(known) if known else f"{name!r} takes no arguments"
            raise UnknownName(f"{name!r} has no argument {argument!r}", rule, did_you_mean(argument, known))
    missing = [key for key, field in known.items() if key not in given and default_of(field) is MISSING]
    if missing:
        rule = f"{name!r} has no default for {'it' if len(missing) == 1 else 'them'}"
        raise InvalidValue(f"{' and '.join(missing)} not given", rule, f"write {_shape(kind, given, name)}")


def _shape(kind: type, given: Mapping[str, object], name: str) -> str:
    """How to write it: what was given as it is, what is missing as what it must be."""
    hints = hints_of(kind)
    needed = [key for key, field in init_fields(kind).items() if key in given or default_of(field) is MISSING]
    parts = [f"{key} = {_toml(given[key])}" if key in given else f"{key} = <{wanted(hints[key])}>" for key in needed]
    return f"{{{', '.join([f'is = {_toml(name)}', *parts])}}}"


def _toml(plain: object) -> str:
    text = inline(plain)
    return text if len(text) <= 60 and not isinstance(plain, Mapping) else "..."


def _inner(family: Callable[[], Family[Any]] | None) -> Inner:
    return None if family is None else partial(_decode, family())
