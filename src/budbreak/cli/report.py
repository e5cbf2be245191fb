"""``budbreak report RUN...``: the page, tables and figures of one or more runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from budbreak.cli.console import say
from budbreak.reporting import DEFAULT, FORMATS, conclusion, lacking, terminal_table, with_comparison, write_report
from budbreak.results import RunResult, load_result, run_of_histories


def add(commands: Any) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_parser("report", help="write the page, tables and figures of one or more runs")
    parser.add_argument(
        "runs",
        type=Path,
        nargs="+",
        metavar="RUN",
        help="the folder of a run, finished or not, or of stores of bb.iterate",
    )
    parser.add_argument("--to", type=Path, help="folder to write to (default: that of the only run, else 'comparison')")
    parser.add_argument(
        "--format", metavar="NAME,...", dest="formats",
        help=f"what to write, of {', '.join(FORMATS)} (default: {','.join(DEFAULT)})",
    )  # fmt: skip
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Write it, and print the short form."""
    runs = [_run(folder) for folder in options.runs]
    folder = options.to or (options.runs[0] if len(runs) == 1 else Path("comparison"))
    asked = None if options.formats is None else [name.strip() for name in options.formats.split(",") if name.strip()]
    page = write_report(runs, folder, formats=asked)
    for run in with_comparison(runs):
        say("", terminal_table(run), f"\n{conclusion(run)}")
    say(f"report: {page}{lacking()}")
    return 0


def _run(folder: Path) -> RunResult:
    """A run of the command, or own loops."""
    own = not any(folder.glob("**/results.json")) and any(folder.glob("**/identity.json"))
    return run_of_histories(folder, name=folder.name) if own else load_result(folder)
