"""The part of ``budbreak run --help`` that explains recipes."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping

from budbreak.cli.console import WIDTH
from budbreak.cli.parser import HELP_COLUMN
from budbreak.recipes import Explained, recipe_fields, recipe_values

_TOP = (
    Explained("name", ("default: that of the file",), "of the run"),
    Explained("seeds", ("default: 5",), "replicates: seeds 0 to N-1, the same for all arms"),
    Explained("[arms.NAME]", (), 'an arm: overrides of any fields, e.g. "prune.criterion" = "taylor"'),
    Explained("  reference", ("default: the first",), 'the arm that it is compared with; "none": with none'),
    Explained("[grid]", (), 'each arm in each cell, e.g. "train.batch_size" = [64, 128]'),
)
_SENTENCE_END = re.compile(r"\. (?=[A-Z])")  # and not that of "e.g. ..."
_LISTS = ("prune.then", "measure.diagnostics")  # no path leads into what they hold


def recipe_help() -> str:
    """Every field of a recipe with its default, and every value that has a short name with its arguments."""
    return "\n".join(_lines())


def set_instead() -> Mapping[str, str]:
    """Flags that do not exist, mostly since ``--set`` does their work -> what to write: ``--epochs``, ``--levels``."""
    paths: dict[str, list[str]] = {}
    for section, explanations in recipe_fields().items():
        for field in explanations:
            paths.setdefault(field.name, []).append(f"{section}.{field.name}=...")
    for path, explanations in recipe_values().items():
        inside = "=[...]" if path in _LISTS else ".{}=..."
        for argument in {text.partition(" = ")[0]: None for value in explanations for text in value.takes}:
            paths.setdefault(argument, []).append(path + inside.format(argument))
    del paths["seed"]  # of a criterion: who types --seed means --seeds
    sets = {f"--{name.replace('_', '-')}": f"write --set {', or --set '.join(known)}" for name, known in paths.items()}
    return {**sets, **dict.fromkeys(("--runs-dir", "--out-dir", "--output-dir"), "write --out DIR")}


def _lines() -> Iterator[str]:
    yield "a recipe:"
    yield from (_entry(explained) for explained in _TOP)
    for section, explanations in recipe_fields().items():
        yield f"\n[{section}]"
        yield from (_entry(explained) for explained in explanations)
    yield '\nvalues, written as "NAME" or {is = "NAME", ARGUMENT = ...};'
    yield 'a class of your own, in a file beside the recipe, as "file:Class":'
    for path, explanations in recipe_values().items():
        yield f"\n{path}"
        yield from (_entry(explained) for explained in explanations)


def _entry(explained: Explained) -> str:
    """The name, and beside it what it means and takes."""
    takes = f" ({', '.join(explained.takes)})" if explained.takes else ""
    indent = " " * HELP_COLUMN
    meaning = _SENTENCE_END.split(explained.meaning)[0].rstrip(".").replace("``", "")
    name = f"  {explained.name}".ljust(HELP_COLUMN)
    return textwrap.fill(
        meaning + takes, WIDTH - 1, initial_indent=name, subsequent_indent=indent, break_on_hyphens=False
    )
