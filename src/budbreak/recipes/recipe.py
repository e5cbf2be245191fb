"""A recipe: sections that say what is trained and pruned, and arms that override some of it."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from budbreak.checks import check_count
from budbreak.errors import InvalidValue, UnknownName, did_you_mean, one_of
from budbreak.files import digest
from budbreak.recipes.effects import check_effects
from budbreak.recipes.overrides import check_path, flattened, overridden, reaches
from budbreak.recipes.sections import SECTIONS, Setup, check_fields, make_setup
from budbreak.recipes.spelling import in_recipe_words
from budbreak.values import inline_key, shown_plain

Plain = Mapping[str, Any]

MOST_SEEDS = 1000  # more is a slip of the pen
_MOST_CELLS = 100_000
_LONGEST_NAME = 100  # bytes: file systems allow 255, and the folder's name and temporary names add to it
_OWN = ("name", "seeds", "arms", "grid")
NO_REFERENCE = "none"


@dataclass(frozen=True)
class Arm:
    """One row of a comparison: named overrides of a recipe's sections.

    Args:
        name: as in the recipe; with a grid, followed by the cell: "host@epochs=5".
        family: the name without the cell.
        reference: the name of the arm that this one is compared with; None: with none.
        overrides: dotted path -> plain value, the grid's included.
        setup: what it is made of.
    """

    name: str
    family: str
    reference: str | None
    overrides: Plain
    setup: Setup = field(repr=False)


@dataclass(frozen=True)
class Recipe:
    """A whole experiment.

    Args:
        name: of the run, and the beginning of its folder's name.
        seeds: replicates: seeds 0 .. N-1, paired over the arms.
        base: section -> field -> plain value, as given, before any arm's overrides.
        arms: what is compared.
        given_arms, grid: as given, to write the recipe down again.
    """

    name: str
    seeds: int
    base: Plain
    arms: tuple[Arm, ...]
    given_arms: Plain
    grid: Plain

    @property
    def folder_name(self) -> str:
        """The name of the run's folder: the same for other arms and more seeds, another one for other sections."""
        return f"{self.name}-{digest(dict(self.base))[:8]}"

    @property
    def identity(self) -> str:
        """Digest of what the folder belongs to: 64 hexadecimal digits."""
        return digest(dict(self.base))

    @property
    def plain(self) -> dict[str, Any]:
        """The form that `make_recipe` reads."""
        extra = {"arms": dict(self.given_arms)} if self.given_arms else {}
        cells = {"grid": dict(self.grid)} if self.grid else {}
        return {"name": self.name, "seeds": self.seeds, **self.base, **extra, **cells}

    def only(self, names: Sequence[str]) -> tuple[Arm, ...]:
        """The arms of these names, in the recipe's order; a name without a cell means all its cells.

        Raises:
            UnknownName: with the nearest arm.
        """
        known = list(dict.fromkeys([arm.family for arm in self.arms] + [arm.name for arm in self.arms]))
        for name in names:
            if name not in known:
                raise UnknownName(f"the recipe has no arm {name!r}", one_of(known), did_you_mean(name, known))
        return tuple(arm for arm in self.arms if arm.name in names or arm.family in names)


def make_recipe(plain: Plain, *, sets: Plain | None = None) -> Recipe:
    """A recipe from its plain form.

    Args:
        plain: name, seeds, sections, arms and grid, as TOML gives them.
        sets: dotted path -> plain value: what the command line overrides in the sections.

    Raises:
        InvalidValue: for a wrong value, one without effect, arms that refer to each other in a circle.
        UnknownName: for a section, field, arm or name that does not exist, with the nearest that does.
    """
    with in_recipe_words([plain, sets]):
        return _made(plain, sets or {})


def _made(plain: Plain, sets: Plain) -> Recipe:
    name, seeds = plain.get("name", "run"), plain.get("seeds", 5)
    _check_name(name)
    check_count("seeds", seeds)
    if seeds > MOST_SEEDS:
        raise InvalidValue(f"seeds is {seeds:,}", f"it is at most {MOST_SEEDS:,}", "give fewer")
    given = {key: value for key, value in plain.items() if key not in _OWN}
    _check_sections(given)
    base = overridden(given, sets)
    check_fields(base)
    tables = _tables(plain.get("arms", {}), "arms")
    grid = _grid(plain.get("grid", {}))
    _check_sets(sets, tables, grid)
    arms = tuple(_arms(base, tables, grid))
    _check_references(arms, tables)
    check_effects(base, arms)
    return Recipe(name, seeds, base, arms, {arm: dict(table) for arm, table in tables.items()}, grid)


def _arms(base: Plain, tables: Mapping[str, Plain], grid: Mapping[str, Sequence[Any]]) -> Iterator[Arm]:
    """Each arm in each cell of the grid."""
    families = tables or {"host": {}}
    first = next(iter(families))
    cells = list(_cells(grid))
    for family, table in families.items():
        own = _overrides(family, table)
        for path in own:
            if path in grid:
                rule = "one of them would have no effect"
                raise InvalidValue(f"arm {family!r} sets {path}, and so does the grid", rule, "take one of them out")
        for cell, values in cells:
            overrides = {**own, **values}
            reference = _reference(family, table.get("reference"), first, cell, cells[0][0])
            yield Arm(f"{family}{cell}", family, reference, overrides, _setup(f"{family}{cell}", base, overrides))


def _overrides(family: str, table: Plain) -> Plain:
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


def _grid(plain: object) -> dict[str, list[Any]]:
    grid: dict[str, list[Any]] = {}
    for path, options in flattened(_table(plain, "grid"), "the grid").items():
        check_path(path)
        if not isinstance(options, list) or not options:
            raise InvalidValue(
                f"grid {path} is {shown_plain(options)}", "it is a list of the values to try", "write [1, 2]"
            )
        values = cast("list[Any]", options)
        if any(value in values[:index] for index, value in enumerate(values)):
            raise InvalidValue(
                f"grid {path} is {shown_plain(values)}", "each value is in the list once", "take one out"
            )
        grid[path] = values
    count = math.prod(len(options) for options in grid.values())
    if count > _MOST_CELLS:
        raise InvalidValue(f"the grid has {count:,} cells", f"it has at most {_MOST_CELLS:,}", "give fewer values")
    return grid


def _table(plain: object, where: str) -> Mapping[str, Any]:
    if not isinstance(plain, Mapping):
        raise InvalidValue(f"{where} is {shown_plain(plain)}", "it is a table", f"write [{where}]")
    return cast(Mapping[str, Any], plain)


def _tables(plain: object, where: str) -> Mapping[str, Plain]:
    """The arms: name -> table."""
    tables = {name: _table(table, f"{where}.{name}") for name, table in _table(plain, where).items()}
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


def _check_sections(given: Plain) -> None:
    for name, section in given.items():
        if name not in SECTIONS:
            check_path(name)
        _table(section, name)


def _check_sets(sets: Plain, tables: Mapping[str, Plain], grid: Plain) -> None:
    """Refuse what the command line sets, and every arm sets otherwise."""
    families = [_overrides(family, table) for family, table in tables.items()] or [{}]
    for path in sets:
        deciding = [{**own, **grid} for own in families]
        if all(any(reaches(path, other) for other in own) for own in deciding):
            where = "the grid" if any(reaches(path, other) for other in grid) else "every arm"
            rule = f"{where} sets it, and so what is set for all has no effect"
            raise InvalidValue(f"--set {path}", rule, "take it out, or change the recipe")


def _check_references(arms: Sequence[Arm], tables: Mapping[str, Plain]) -> None:
    """Refuse references to arms that do not exist, to themselves, and in circles."""
    for name, table in tables.items():
        given = table.get("reference", NO_REFERENCE)
        if given != NO_REFERENCE and given not in list(tables):  # a list: what is given may be anything
            known = [other for other in tables if other != name]
            raise UnknownName(
                f"arm {name!r} has the reference {given!r}",
                f"the reference is another arm: {one_of([*known, NO_REFERENCE])}",
                did_you_mean(str(given), known),
            )
    references = {arm.name: arm.reference for arm in arms}
    for arm in arms:
        path, at = [arm.name], arm.reference
        while at is not None:
            if at in path:
                circle = " -> ".join([*path[path.index(at) :], at])
                fix = f'write reference = "{NO_REFERENCE}" in one of them'
                raise InvalidValue(f"arms refer to each other in a circle: {circle}", "a reference has an end", fix)
            path.append(at)
            at = references[at]


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not name or not all(c.isalnum() or c in "-_." for c in name) or name[0] == ".":
        raise InvalidValue(f"name is {name!r}", "it names a folder: letters, digits, '-', '_' and '.'")
    if len(name.encode()) > _LONGEST_NAME:
        raise InvalidValue(f"name is {name[:40]}... of {len(name.encode())} bytes", f"at most {_LONGEST_NAME} fit")
