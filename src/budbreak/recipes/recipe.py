"""A recipe: sections that say what is trained and pruned, and arms that override some of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from budbreak.checks import check_count
from budbreak.errors import InvalidValue, UnknownName, did_you_mean, one_of
from budbreak.files import digest
from budbreak.recipes.arms import NO_REFERENCE, Arm, NamedArm, arm_tables, made_arms, named_arms, picked, table_of
from budbreak.recipes.effects import check_effects
from budbreak.recipes.overrides import check_path, flattened, overridden, reaches
from budbreak.recipes.sections import SECTIONS, check_fields
from budbreak.recipes.spelling import in_recipe_words
from budbreak.values import shown_plain

Plain = Mapping[str, Any]

MOST_SEEDS = 1000  # more is a slip of the pen
_MOST_CELLS = 100_000
_LONGEST_NAME = 100  # bytes: file systems allow 255, and the folder's name and temporary names add to it
_OWN = ("name", "seeds", "arms", "grid")


@dataclass(frozen=True)
class Recipe:
    """A whole experiment.

    Args:
        name: of the run, and the beginning of its folder's name.
        seeds: replicates: seeds 0 .. N-1, paired over the arms.
        base: section -> field -> plain value, as given, before any arm's overrides.
        arms: what is compared; without those that were not asked for, and do not go together with the rest.
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
        return picked(self.arms, names)


def make_recipe(plain: Plain, *, sets: Plain | None = None, only: Sequence[str] | None = None) -> Recipe:
    """A recipe from its plain form.

    Args:
        plain: name, seeds, sections, arms and grid, as TOML gives them.
        sets: dotted path -> plain value: what the command line overrides in the sections.
        only: names of the arms that are run: they alone have to go together with what is set, and to feel it; None:
            all.

    Raises:
        InvalidValue: for a wrong value, one without effect, arms that refer to each other in a circle.
        UnknownName: for a section, field, arm or name that does not exist, with the nearest that does.
    """
    with in_recipe_words([plain, sets]):
        return _made(plain, sets or {}, only)


def _made(plain: Plain, sets: Plain, only: Sequence[str] | None) -> Recipe:
    name, seeds = plain.get("name", "run"), plain.get("seeds", 5)
    _check_name(name)
    check_count("seeds", seeds)
    if seeds > MOST_SEEDS:
        raise InvalidValue(f"seeds is {seeds:,}", f"it is at most {MOST_SEEDS:,}", "give fewer")
    given = {key: value for key, value in plain.items() if key not in _OWN}
    _check_sections(given)
    base = overridden(given, sets)
    check_fields(base)
    tables = arm_tables(plain.get("arms", {}))
    grid = _grid(plain.get("grid", {}))
    named = tuple(named_arms(tables, grid))
    _check_references(named, tables)
    run = named if only is None else picked(named, only)
    _check_sets(sets, run, grid)
    arms = tuple(made_arms(base, named, run))
    felt = sets if only is not None else [f"{section}.{field}" for section in base for field in base[section]]
    check_effects(base, picked(arms, [arm.name for arm in run]), felt)
    return Recipe(name, seeds, base, arms, {arm: dict(table) for arm, table in tables.items()}, grid)


def _grid(plain: object) -> dict[str, list[Any]]:
    grid: dict[str, list[Any]] = {}
    for path, options in flattened(table_of(plain, "grid"), "the grid").items():
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


def _check_sections(given: Plain) -> None:
    for name, section in given.items():
        if name not in SECTIONS:
            check_path(name)
        table_of(section, name)


def _check_sets(sets: Plain, run: Sequence[NamedArm], grid: Plain) -> None:
    """Refuse what the command line sets, and every arm that is run sets otherwise."""
    for path in sets:
        if all(any(reaches(path, other) for other in arm.overrides) for arm in run):
            everyone = "every arm" if len(run) > 1 else f"arm {run[0].name!r}"
            where = "the grid" if any(reaches(path, other) for other in grid) else everyone
            rule = f"{where} sets it, and so what is set for all has no effect"
            raise InvalidValue(f"--set {path}", rule, "take it out, or change the recipe")


def _check_references(arms: Sequence[NamedArm], tables: Mapping[str, Plain]) -> None:
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
