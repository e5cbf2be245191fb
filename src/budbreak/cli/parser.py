"""The argument parser of every subcommand: whole flags only, help that fits 80 columns."""

from __future__ import annotations

import argparse
import functools
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from budbreak.checks import as_number
from budbreak.cli.console import WIDTH, complain
from budbreak.errors import did_you_mean, printable

HELP_COLUMN = 24  # where explanations begin


class Parser(argparse.ArgumentParser):
    """An `argparse.ArgumentParser` without abbreviations: ``--seed 3`` is not taken for ``--seeds 3``.

    What is wrong is said in three lines, without the usage, which for `run` fills a screen. Subparsers are of the
    same class.

    Attributes:
        instead: an option that does not exist -> what to write instead, where the nearest name is not what was meant.
    """

    instead: Mapping[str, str]

    def __init__(self, **options: Any) -> None:
        formatter = functools.partial(
            argparse.RawDescriptionHelpFormatter, width=WIDTH - 1, max_help_position=HELP_COLUMN
        )
        super().__init__(allow_abbrev=False, formatter_class=formatter, **options)
        self.instead = {}

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Refuse an unknown option here, where the nearest known one can be named."""
        options, unknown = super().parse_known_args(args, namespace)
        if unknown:
            flags = [flag for action in self._actions for flag in action.option_strings]
            flag = unknown[0].partition("=")[0]
            near = did_you_mean(flag, [*flags, *self.instead])
            fixes = [fix for known, fix in self.instead.items() if known == flag or repr(known) in near]
            self._refuse(f"{' '.join(unknown)}: not understood", fixes[0] if fixes else near)
        return options, unknown

    def error(self, message: str) -> NoReturn:
        """Exit with 2; what was typed is quoted at a readable length."""
        self._refuse(message)

    def _refuse(self, value: str, fix: str = "") -> NoReturn:
        complain("error", printable(value), f"what can be given is listed by: {self.prog} --help", fix)
        self.exit(2)


def number(text: str) -> float:
    """The type of a flag that takes a number."""
    try:
        return float(text)
    except ValueError:
        meant, percent = as_number(text)
        fix = f"; write {meant / 100:g}" if percent and math.isfinite(meant) else ""
        raise argparse.ArgumentTypeError(f"{text!r} is no number{fix}") from None


def whole(text: str) -> int:
    """The type of a flag that takes a whole number."""
    try:
        return int(text)
    except ValueError:
        meant, _ = as_number(text)
        fix = f"; write {int(meant)}" if math.isfinite(meant) else ""
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number{fix}") from None


def import_from_here() -> None:
    """Let ``package.module:callable`` lie in the current folder: last in the path, so that it hides no library.

    Only for names that stand in the command line, or in the recipe that a run is started with.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
