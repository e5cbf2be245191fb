"""Read a recipe from a TOML file, with what the command line overrides in it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from budbreak.errors import BudbreakError, InvalidValue, MissingData, did_you_mean, one_of
from budbreak.studies.idle import set_aside
from budbreak.studies.recipe import Recipe, converted, defaults, make_recipe

_LARGEST_FILE = 65536  # bytes; the longest recipe we ship has 1,200
_LONGEST_LINE = 2000  # letters; 65,000 in one dotted key take the parser half a minute


def load_recipe(path: Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read a TOML recipe; ``overrides`` (field -> value) take precedence.

    A field of the file that an override leaves without effect is set aside; see `overridden`.

    Raises:
        MissingData: if there is no such file.
        InvalidValue: if it is not TOML, a field is missing, of the wrong type, out of range, or without effect.
        UnknownName: for a field that does not exist, with the nearest that does.
    """
    flags = overrides or {}
    body = _read_toml(path)
    aside = overridden(path, flags)
    return make_recipe({**{key: value for key, value in body.items() if key not in aside}, **flags})


def overridden(path: Path, overrides: Mapping[str, Any]) -> dict[str, str]:
    """The fields of a recipe's file that overrides leave without effect -> the override that does it.

    Raises:
        InvalidValue, UnknownName: see `load_recipe`.
    """
    body = _read_toml(path)
    given = converted({**body, **overrides})
    return {key: rule.because for key, rule in set_aside(body, overrides, {**defaults(), **given}).items()}


def _read_toml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        folders = [path, path.parent, path.parent / "recipes"]
        found = {other for folder in folders for other in folder.glob("*.toml") if other.name != "pyproject.toml"}
        known = sorted(str(other) for other in found)
        same = [name for name in known if path.name and Path(name).stem == path.stem]
        value = f"{path} is a folder" if path.is_dir() else f"no recipe at {path}"
        raise MissingData(
            value,
            f"a recipe is a TOML file{f': {one_of(known)}' if path.is_dir() and known else ''}",
            f"did you mean {same[0]!r}?" if same else did_you_mean(str(path), known) or "give the path of one",
        )
    size = path.stat().st_size
    if size > _LARGEST_FILE:
        raise InvalidValue(f"{path} has {size:,} bytes", f"a recipe has at most {_LARGEST_FILE:,}", "give a recipe")
    try:
        text = path.read_text(encoding="utf-8")
        _check_lines(path, text)
        body = tomllib.loads(text)
    except BudbreakError:
        raise
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, numbers or nesting beyond what Python reads
        raise InvalidValue(f"{path} is not TOML: {error}", "a recipe is a TOML file of plain fields") from None
    body.setdefault("name", path.stem)
    return body


def _check_lines(path: Path, text: str) -> None:
    for number, line in enumerate(text.splitlines(), start=1):
        if len(line) > _LONGEST_LINE:
            value = f"line {number} of {path} has {len(line):,} letters"
            raise InvalidValue(value, f"a line of a recipe has at most {_LONGEST_LINE:,}", "break the line")
