"""``budbreak runs [FOLDER]``: what lies in a folder of runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from budbreak.cli.folding import folded
from budbreak.studies import StoredRun, list_runs


def add(commands: Any) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_parser("runs", help="list the runs in a folder: recipe, arms, seeds, state, size")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("runs"), help="(default: runs)")
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Print a few lines a run."""
    listing = list_runs(options.folder)
    for stored in listing.runs:
        print(folded(_lines(stored)))
    if not listing.runs:
        print(f"no runs in {options.folder}")
    if listing.orphans:
        print(folded(f"{len(listing.orphans)} tasks of no run here, {_bytes(listing.orphans_size)}, e.g.:"))
        print(f"  {listing.orphans[0]}")
    return 0


def _lines(stored: StoredRun) -> str:
    arms = f"{len(stored.arms)} arms x {stored.seeds} seeds ({', '.join(stored.arms)})" if stored.arms else ""
    lines = [str(stored.folder), f"  {stored.name}: {stored.state}, {_bytes(stored.size)}", f"  {arms}" if arms else ""]
    return "\n".join(line for line in lines if line)


def _bytes(size: int) -> str:
    """Text such as 12 MB.

    >>> _bytes(12_345_678)
    '12.3 MB'
    """
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
