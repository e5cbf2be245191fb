"""Read a recipe from a TOML file, with what the command line overrides in it; and write one."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Mapping, Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from budbreak.errors import BudbreakError, InvalidValue, MissingData, did_you_mean, one_of
from budbreak.recipes.overrides import LONGEST_LINE
from budbreak.recipes.recipe import Recipe, make_recipe
from budbreak.recipes.spelling import code_names
from budbreak.values import check_unchanged, inline, inline_key

_LARGEST_FILE = 65536  # bytes; the longest recipe we ship has 1,500


def load_recipe(
    path: Path,
    sets: Mapping[str, Any] | None = None,
    *,
    seeds: int | None = None,
    only: Sequence[str] | None = None,
) -> Recipe:
    """Read a TOML recipe; classes that it names ("mine:Mine") may lie in its own folder or the current one.

    Args:
        path: of the file.
        sets: dotted path -> plain value, which take precedence in the sections.
        seeds: instead of the file's.
        only: names of the arms that are run, see `make_recipe`.

    Raises:
        MissingData: if there is no such file.
        InvalidValue: if it is not TOML, a field is missing, of the wrong type, out of range, or without effect; if
            this process has imported a module that it names from elsewhere, or before it was edited.
        UnknownName: for what does not exist, with the nearest that does.
    """
    plain = read_plain(path)
    for folder in import_folders(path, [plain, sets]):
        if folder not in sys.path:
            sys.path.append(folder)  # last, so that it hides no library
    recipe = make_recipe(plain if seeds is None else {**plain, "seeds": seeds}, sets=sets, only=only)
    for module in dict.fromkeys(text.partition(":")[0] for text in code_names([plain, sets])):
        if module in sys.modules:
            _check_place(module, path.resolve().parent)
            check_unchanged(module)
    return recipe


def _check_place(module: str, folder: Path) -> None:
    """Refuse a module of the name of one beside the recipe, which is another one."""
    top = module.partition(".")[0]
    spec, file = PathFinder.find_spec(top, [str(folder)]), getattr(sys.modules[top], "__file__", None)
    if spec is not None and spec.origin and file and Path(spec.origin).resolve() != Path(file).resolve():
        raise InvalidValue(
            f"the module {top!r} is {file}, and beside the recipe lies {spec.origin}",
            "a recipe names the modules beside it, and in a process a name is that of one module",
            "rename one of them, or run each recipe in a process of its own",
        )


def import_folders(path: Path, given: object) -> tuple[str, ...]:
    """Where a recipe's own classes and factories are looked for, after everything that is installed.

    Args:
        path: of the recipe.
        given: all that it says, and what overrides it; if nothing there has a colon, nothing is looked for.
    """
    if next(code_names(given), None) is None:
        return ()
    return tuple(dict.fromkeys(str(folder) for folder in (path.resolve().parent, Path.cwd())))


def read_plain(path: Path) -> dict[str, Any]:
    """What a TOML recipe says, unchecked; its name is that of the file unless it says another.

    Raises:
        MissingData, InvalidValue: see `load_recipe`.
    """
    if not path.is_file():
        raise _no_recipe(path)
    size = path.stat().st_size
    if size > _LARGEST_FILE:
        raise InvalidValue(f"{path} has {size:,} bytes", f"a recipe has at most {_LARGEST_FILE:,}", "give a recipe")
    try:
        text = path.read_text(encoding="utf-8")
        _check_lines(path, text)
        plain = tomllib.loads(text)
    except BudbreakError:
        raise
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, numbers or nesting beyond what Python reads
        raise InvalidValue(f"{path} is not TOML: {error}", "a recipe is a TOML file of plain fields") from None
    return {"name": path.stem, **plain}


def _no_recipe(path: Path) -> MissingData:
    folders = [path, path.parent, path.parent / "recipes"]
    recipes = {other for folder in folders for other in folder.glob("*.toml") if other.name != "pyproject.toml"}
    known = sorted(str(other) for other in recipes)
    same = [name for name in known if path.name and Path(name).stem == path.stem]
    return MissingData(
        f"{path} is a folder" if path.is_dir() else f"no recipe at {path}",
        f"a recipe is a TOML file{f': {one_of(known)}' if path.is_dir() and known else ''}",
        f"did you mean {same[0]!r}?" if same else did_you_mean(str(path), known) or "give the path of one",
    )


def _check_lines(path: Path, text: str) -> None:
    for number, line in enumerate(text.splitlines(), start=1):
        if len(line) > LONGEST_LINE:
            value = f"line {number} of {path} has {len(line):,} letters"
            raise InvalidValue(value, f"a line of a recipe has at most {LONGEST_LINE:,}", "break the line")


def to_toml(plain: Mapping[str, Any]) -> str:
    """The TOML text of a recipe's plain form: sections as tables, values within a line."""
    top = [f"{key} = {inline(value)}" for key, value in plain.items() if not isinstance(value, Mapping)]
    tables = {key: value for key, value in plain.items() if isinstance(value, Mapping)}
    arms = {f"arms.{inline_key(name)}": table for name, table in tables.pop("arms", {}).items()}
    blocks = ["\n".join([f"[{name}]", *_lines(table)]) for name, table in {**tables, **arms}.items()]
    return "\n\n".join(["\n".join(top), *blocks]) + "\n"


def _lines(table: Mapping[str, Any]) -> list[str]:
    return [f"{inline_key(key)} = {inline(value)}" for key, value in table.items()]
