"""The argument parser of every subcommand: whole flags only, help that fits 80 columns."""

from __future__ import annotations

import argparse
import functools
from typing import Any

WIDTH = 80  # columns of the narrowest terminal that is usual


class Parser(argparse.ArgumentParser):
    """An `argparse.ArgumentParser` without abbreviations: ``--seed 3`` is not taken for ``--seeds 3``.

    Subparsers are of the same class.
    """

    def __init__(self, **options: Any) -> None:
        formatter = functools.partial(argparse.HelpFormatter, width=WIDTH - 1, max_help_position=26)
        defaults: dict[str, Any] = {"allow_abbrev": False, "formatter_class": formatter}
        super().__init__(**{**defaults, **options})
