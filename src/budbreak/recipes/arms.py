"""The arms of a recipe: named overrides, crossed with the cells of a grid."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from budbreak.errors import InvalidValue, UnknownName, did_you_mean, one_of
from budbreak.recipes.overrides import flattened, overridden
from budbreak.recipes.sections import Setup, make_setup
from budbreak.values import inline_key, shown_plain

Plain = Mapping[str, Any]

AnyArm = TypeVar("AnyArm", bound="NamedArm")

NO_REFERENCE = "none"


@dataclass(frozen=True)
class NamedArm:
    """An arm as a recipe says it.

    Args:
        name: as in the recipe; with a grid, followed by the cell: "host@epochs=5".
        family: the name without the cell.
        reference: the name of the arm that this one is compared with; None: with none.
        overrides: dotted path -> plain value, the grid's included.
    """

    name: str
    family: str
    reference: str | None
    overrides: Plain


@dataclass(frozen=True)
class Arm(NamedArm):
    """One row of a comparison: named overrides of a recipe's sections.

    Args:
        setup: what it is made of; the others: see `NamedArm`.
    """

    setup: Setup = field(repr=False)


def picked(arms: Sequence[AnyArm], names: Sequence[str]) -> tuple[AnyArm, ...]:
    """The arms of these names, in their own order; a name without a cell means all its cells.

    Raises:
        UnknownName: with the nearest arm.
    """
    known = list(dict.fromkeys([arm.family for arm in arms] + [arm.name for arm in arms]))
    for name in names:
        if name not in known:
            raise UnknownName(f"the recipe has no arm {name!r}", one_of(known), did_you_mean(name, known))
    return tuple(arm for arm in arms if arm.name in names or arm.family in names)


def named_arms(tables: Mapping[str, Plain], grid: Mapping[str, Sequence[Any]]) -> Iterator[NamedArm]:
    """Each arm in each cell of the grid."""
    families = tables or {"host": {}}
    first = next(iter(families))
    cells = list(_cells(grid))
    for family, table in families.items():
        own = own_overrides(family, table)
        for path in own:
            if path in grid:
                rule = "one of them would have no effect"
                raise InvalidValue(f"arm {family!r} sets {path}, and so does the grid", rule, "take one of them out")
        for cell, values in cells:
            reference = _reference(family, table.get("reference"), first, cell, cells[0][0])
            yield NamedArm(f"{family}{cell}", family, reference, {**own, **values})


def made_arms(base: Plain, named: Sequence[NamedArm], run: Sequence[NamedArm]) -> Iterator[Arm]:
    """The arms, made; those that are not run are left out if they do not go together with the rest."""
    for arm in named:
        try:
            yield Arm(arm.name, arm.family, arm.reference, arm.overrides, _setup(arm.name, base, arm.overrides))
        except (InvalidValue, UnknownName):
            if arm in run:
                raise


def own_overrides(family: str, table: Plain) -> Plain:
    """What an arm overrides, by dotted path."""
    return flattened({key: value for key, value in table.items() if key != "reference"}, f"arm {family!r}")


def _setup(arm: str, base: Plain, overrides: Plain) -> Setup:
    try:
        return make_setup(overridden(base, overrides))
    except (InvalidValue, UnknownName) as error:
        if not overrides:
            raise
        raise type(error)(f"arm {arm!r}: {error.value}", error.rule, error.fix) from error


def _reference(family: str, given: object, first: str, cell: str, first_cell: str) -> str | None:
    """The arm that one is compared with: the given one, else the first; the first one's cells with its first cell."""
    if given == NO_REFERENCE:
        return None
    if given is not None:
        return f"{given}{cell}"
    if family != first:
        return f"{first}{cell}"
    return None if cell == first_cell else f"{first}{first_cell}"


def _cells(grid: Mapping[str, Sequence[Any]]) -> Iterator[tuple[str, Plain]]:
    """(what is appended to an arm's name, overrides) of each cell; one without either where there is no grid."""
    if not grid:
        yield "", {}
        return
    shorts = {path: path.rpartition(".")[2] for path in grid}
    if len(set(shorts.values())) < len(shorts):
        shorts = {path: path for path in grid}
    named = [[(f"{shorts[path]}={name}", path, value) for name, value in _named(grid[path])] for path in grid]
    for parts in itertools.product(*named):
        yield f"@{'+'.join(name for name, _, _ in parts)}", {path: value for _, path, value in parts}


def _named(values: Sequence[Any]) -> list[tuple[str, Any]]:
    """The values of a grid with what stands for them in arms' names: themselves, or else their places in the list."""
    names = [_short(value) or f"#{index}" for index, value in enumerate(values)]
    if len(set(names)) < len(names):
        names = [f"#{index}" for index in range(len(values))]
    return list(zip(names, values, strict=True))


def _short(value: Any) -> str:
    """A value as it may stand in the name of an arm and of files; empty if it may not."""
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value) if isinstance(value, str | int | float) else ""
    return text if len(text) <= 24 and text.isprintable() and not set(text) & set("@+=#, /\\") else ""


def arm_tables(plain: object) -> Mapping[str, Plain]:
    """The arms: name -> table."""
    tables = {name: table_of(table, f"arms.{name}") for name, table in table_of(plain, "arms").items()}
    for name in tables:
        if not name or not all(c.isalnum() or c in "-_." for c in name) or len(name) > 40 or name == NO_REFERENCE:
            rule = f"an arm is named by up to 40 letters, digits, '-', '_' and '.', and not {NO_REFERENCE!r}"
            raise InvalidValue(f"an arm is named {name!r}", rule, f"write [arms.{inline_key(_allowed(name))}]")
    return tables


def _allowed(name: str) -> str:
    """The nearest name that an arm may have.

    >>> _allowed("a b/c"), _allowed("[red]"), _allowed("none"), _allowed("")
    ('a-b-c', 'red', 'none-', 'host')
    """
    near = re.sub(r"[^\w.-]+", "-", name).strip("-")[:40] or "host"
    return f"{near}-" if near == NO_REFERENCE else near


def table_of(plain: object, where: str) -> Plain:
    """What is given, if it is a table.

    Raises:
        InvalidValue: if it is not.
    """
    if not isinstance(plain, Mapping):
        raise InvalidValue(f"{where} is {shown_plain(plain)}", "it is a table", f"write [{where}]")
    return cast(Plain, plain)
