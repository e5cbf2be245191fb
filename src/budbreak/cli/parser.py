"""The argument parser of every subcommand: whole flags only, help that fits 80 columns."""

from __future__ import annotations

import argparse
import functools
import sys
from pathlib import Path
from typing import Any, NoReturn

from budbreak.cli.folding import WIDTH
from budbreak.errors import printable


class Parser(argparse.ArgumentParser):
    """An `argparse.ArgumentParser` without abbreviations: ``--seed 3`` is not taken for ``--seeds 3``.

    Subparsers are of the same class.
    """

    def __init__(self, **options: Any) -> None:
        formatter = functools.partial(argparse.HelpFormatter, width=WIDTH - 1, max_help_position=26)
        defaults: dict[str, Any] = {"allow_abbrev": False, "formatter_class": formatter}
        super().__init__(**{**defaults, **options})

    def error(self, message: str) -> NoReturn:
        """Exit with 2; what was typed is quoted at a readable length."""
        super().error(printable(message))


def import_from_here() -> None:
    """Let ``package.module:callable`` lie in the current folder: last in the path, so that it hides no library.

    Only for names that stand in the command line, or in the recipe that a run is started with.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
