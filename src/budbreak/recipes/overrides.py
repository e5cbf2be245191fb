"""Dotted paths into a recipe: ``prune.criterion``, ``prune.schedule.levels``, and the plain tables that they change."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, cast

from budbreak.errors import InvalidValue
from budbreak.recipes.refusals import unknown_field
from budbreak.recipes.sections import SECTIONS, plain_value
from budbreak.values import shown_plain

Plain = dict[str, Any]

_TABLES = ("tune.space",)  # fields whose values are tables without a name
LONGEST_LINE = 2000  # letters; 65,000 in one dotted key take the parser half a minute


def parse_set(text: str) -> tuple[str, Any]:
    """The path and the value of ``--set PATH=VALUE``; the value is read as TOML, and as text where it is none.

    >>> parse_set("train.epochs=20"), parse_set("prune.criterion=taylor")
    (('train.epochs', 20), ('prune.criterion', 'taylor'))

    Raises:
        InvalidValue: if it is not of this form.
    """
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise InvalidValue(f"--set is {text!r}", "it is PATH=VALUE", "write --set train.epochs=20")
    _check_not_of_an_arm(path.strip(), value.strip())
    return path.strip(), _read(path.strip(), value.strip())


def _check_not_of_an_arm(path: str, value: str) -> None:
    first, arm, field = (*path.split(".", 2), "", "")[:3]
    if first == "arms":
        rule = "it overrides a field of the sections, in all arms that are run"
        fix = f"write --arms {arm} --set {field}={value}, or change the recipe" if field else "change the recipe"
        raise InvalidValue(f"--set {path}", rule, fix)


def _read(path: str, text: str) -> Any:
    if len(text) > LONGEST_LINE or "\n" in text:
        value = f"--set {path} has {len(text):,} letters in {text.count(chr(10)) + 1:,} lines"
        raise InvalidValue(value, f"it is one line of at most {LONGEST_LINE:,} letters", "write it into the recipe")
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError) as error:  # not TOML, numbers or nesting beyond what Python reads
        if not text or text[0] in "[{\"'":
            rule = "a list, a table or a quoted text is written as in TOML"
            raise InvalidValue(f"--set {path}={text}: {error}", rule, "mend it; mind the quotes of the shell") from None
        return text


def flattened(table: Mapping[str, Any], where: str) -> Plain:
    """The overrides of an arm, or a grid, by dotted path: with quotes and without, a path is the same.

    Args:
        table: as TOML gives it.
        where: its name, for messages.

    Raises:
        InvalidValue: if two spellings give one path.

    >>> flattened({"prune.then": ["ap"], "train": {"epochs": 3}, "prune": {"schedule": {"levels": 2}}}, "arms.ap")
    {'prune.then': ['ap'], 'train.epochs': 3, 'prune.schedule.levels': 2}
    """
    paths: Plain = {}
    for path, value in _leaves(table, ""):
        if path in paths:
            raise InvalidValue(
                f"{where} gives {path} twice", "a path has one value, however it is spelt", "take one out"
            )
        paths[path] = value
    return paths


def _leaves(table: Mapping[str, Any], before: str) -> Iterator[tuple[str, Any]]:
    """A table that names a value, by ``is``, is a leaf; one that does not goes on a path: section, field, argument.

    So is a table that is a value itself.
    """
    for key, value in table.items():
        path = f"{before}{key}"
        further = "is" not in value if isinstance(value, Mapping) else False
        if isinstance(value, Mapping) and value and further and path.count(".") < 2 and path not in _TABLES:
            yield from _leaves(cast(Mapping[str, Any], value), f"{path}.")
        else:
            yield path, value


def check_path(path: str) -> None:
    """Refuse a path to no field.

    Raises:
        UnknownName: with the nearest section or field.
        InvalidValue: if it names a section only.
    """
    section, *rest = path.split(".")
    if section not in SECTIONS:
        raise unknown_field((section,), SECTIONS)
    if not rest or not rest[0]:
        known = list(SECTIONS[section].model_fields)
        raise InvalidValue(f"{path!r} names a section", "an override names a field", f"write {section}.{known[0]}")
    if rest[0] not in SECTIONS[section].model_fields:
        raise unknown_field((section, rest[0]), SECTIONS)


def overridden(plain: Mapping[str, Any], overrides: Mapping[str, Any]) -> Plain:
    """The sections of a recipe with the values at these paths put in; a copy.

    A path may go on into a value's own table: ``prune.schedule.levels`` changes this argument and leaves the others,
    also those of a ``prune.schedule`` that is put in by the same overrides, in whichever order.

    Raises:
        UnknownName, InvalidValue: for a path to nothing.
    """
    changed = copy.deepcopy(dict(plain))
    for path, value in sorted(overrides.items(), key=lambda item: item[0].count(".")):
        check_path(path)
        section, field, *inner = path.split(".")
        table = changed.setdefault(section, {})
        if not isinstance(table, dict):
            raise InvalidValue(f"{section} is {shown_plain(table)}", "a section is a table", f"write [{section}]")
        if inner:
            table[field] = _argument_set(path, table.get(field, _default(section, field)), inner, value)
        else:
            table[field] = copy.deepcopy(value)
    return changed


def _default(section: str, field: str) -> Any:
    """The plain form of a field's default; None if it has none."""
    info = SECTIONS[section].model_fields[field]
    return None if info.is_required() else plain_value(section, field, info.default)


def _argument_set(path: str, value: Any, inner: list[str], new: Any) -> Plain:
    table: Plain = {"is": value} if isinstance(value, str) else dict(value) if isinstance(value, Mapping) else {}
    if "is" not in table or len(inner) > 1:
        field = ".".join(path.split(".")[:2])
        rule = "a path goes on only into the arguments of a value, such as prune.schedule.levels"
        raise InvalidValue(f"{path!r} leads into {field}, which is {shown_plain(value)}", rule, f"write {field} = ...")
    return {**table, inner[0]: copy.deepcopy(new)}


def reaches(path: str, other: str) -> bool:
    """Whether setting ``other`` decides all of what is at ``path``."""
    return path == other or path.startswith(f"{other}.")
