"""``budbreak runs [FOLDER]``: what lies in a folder of runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from budbreak.cli.console import say
from budbreak.errors import spelt
from budbreak.reporting import NARROW, Stacked
from budbreak.studies import StoredRun, list_runs


def add(commands: Any) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_parser("runs", help="list the runs in a folder: recipe, arms, seeds, state, size")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("runs"), help="(default: runs)")
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Print a table, or a few lines a run."""
    listing = list_runs(options.folder)
    if listing.runs:
        fields = ("folder", "recipe", "state", "arms", "seeds", "size")
        records = tuple(map(_record, listing.runs))
        say(Stacked(fields, records, stacks=NARROW, justify="left", folding=(1, 2, 3), whole=True))
    else:
        say(f"no runs in {options.folder}")
    if listing.orphans:
        say(f"{len(listing.orphans)} tasks of no run here, {_bytes(listing.orphans_size)}, e.g.:")
        say(f"  {listing.orphans[0]}")
    return 0


def _record(stored: StoredRun) -> tuple[str, ...]:
    cells = (str(stored.folder), stored.name, stored.state, ", ".join(stored.arms), str(stored.seeds or ""))
    return (*map(spelt, cells), _bytes(stored.size))


def _bytes(size: int) -> str:
    """Text such as 12 MB.

    >>> _bytes(12_345_678)
    '12.3 MB'
    """
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
