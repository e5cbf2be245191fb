"""``budbreak data get NAME``: download the official files of a data set."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from budbreak.data import CATALOGUE, Link, download


def add(commands: Any) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_parser("data", help="get data sets")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    get = actions.add_parser("get", help="download the official files, with resume and checksum")
    get.add_argument("name", help=", ".join(sorted(CATALOGUE)))
    get.add_argument("--data-dir", type=Path, required=True, help="where the files go")
    get.add_argument("--url", help="a mirror that has the same files (default: the official address)")
    get.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Download what is not there yet."""
    mirrors = {options.name: options.url} if options.url else None
    download(options.name, options.data_dir, base_urls=mirrors, link=Link(report=_show))
    print(f"{options.name} is complete in {options.data_dir}")
    return 0


def _show(file: str, received: int, total: int | None) -> None:
    if sys.stderr.isatty():
        share = f" of {total / 1e6:.1f}" if total else ""
        print(f"\r{file}: {received / 1e6:.1f}{share} MB", end="" if received != total else "\n", file=sys.stderr)
