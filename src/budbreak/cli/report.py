"""``budbreak report RUN...``: the page, tables and figures of one or more runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from budbreak.cli.console import say
from budbreak.report import conclusion, terminal_table, write_report
from budbreak.studies import load_result


def add(commands: Any) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_parser("report", help="write the page, tables and figures of one or more runs")
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="the folder of a run, finished or not")
    parser.add_argument("--to", type=Path, help="folder to write to (default: that of the only run, else 'comparison')")
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Write it, and print the short form."""
    runs = [load_result(folder) for folder in options.runs]
    folder = options.to or (options.runs[0] if len(runs) == 1 else Path("comparison"))
    page = write_report(runs, folder)
    for run in runs:
        say(terminal_table(run), f"\n{conclusion(run)}")
    say(f"report: {page}")
    return 0
