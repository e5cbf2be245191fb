"""The command ``budbreak``: one file per subcommand; `COMMANDS` enrols it."""

from __future__ import annotations

from collections.abc import Sequence

from budbreak._version import __version__
from budbreak.cli import data, export, probe, ranks, report, run, runs
from budbreak.cli.guard import guarded
from budbreak.cli.parser import Parser

COMMANDS = (run, runs, probe, ranks, report, export, data)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand.

    Returns:
        The exit code: 0; 1 for an error that the message explains; 2 for a wrong command line; 130 after Ctrl-C and
        143 after SIGTERM, when everything up to the last checkpoint is stored.
    """
    return guarded(lambda: _execute(arguments))


def _execute(arguments: Sequence[str] | None) -> int:
    parser = Parser(prog="budbreak", description="Activation-aware pruning of neural networks.")
    parser.add_argument("--version", action="version", version=f"budbreak {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    options = parser.parse_args(arguments)
    return options.execute(options)
