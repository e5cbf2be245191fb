"""``budbreak data get NAME``: download the official files of a data set."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from budbreak.cli.console import console_on, is_watched, say
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
    with _bars() as show:
        download(options.name, options.data_dir, base_urls=mirrors, link=Link(report=show))
    say(f"{options.name} is complete in {options.data_dir}")
    return 0


@contextlib.contextmanager
def _bars() -> Generator[Callable[[str, int, int | None], None], None, None]:
    """A bar for each file, where somebody watches; yields what is told (file, bytes here, bytes in all if known)."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = console_on(sys.stderr)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    tasks: dict[str, Any] = {}

    def show(file: str, received: int, total: int | None) -> None:
        if file not in tasks:
            tasks[file] = progress.add_task(file, total=total)
        progress.update(tasks[file], completed=received, total=total)

    with Progress(*columns, console=console, disable=not is_watched(console)) as progress:
        console.show_cursor()  # a process that is killed could not show it again
        yield show
